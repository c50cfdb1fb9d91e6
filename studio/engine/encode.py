"""Conversation -> token ids and labels: the only path by which text becomes what a model sees.

Preview, token checks, estimates, training, chat and evaluation all come through here. What is learnt is what the model
has to write itself (see `studio.engine.rendering`); the choices in `TemplateConfig` take parts of it out, or add to it.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import tokenizers

from studio.domain.chat import Conversation, Message
from studio.domain.config import Overlong, TemplateConfig
from studio.domain.encoded import IGNORED, Encoded, Hazard
from studio.domain.errors import StudioError
from studio.domain.finding import Finding
from studio.engine.hazards import hazard_findings
from studio.engine.rendering import Rendered, Renderer, Span, Turn
from studio.engine.sandbox import TookTooLong
from studio.engine.templates import Template, resolve
from studio.engine.tokenizer import Tokenizer

_FIRST_BATCH, _BATCH = 64, 1024
_AHEAD = 2
"""Batches that the tokenizer works on while the next one is rendered: with one it would idle between them."""
_SLOW = 3
"""Rows that a template may take too long for before the rest is not tried."""
_SHORT, _LEADS = 200, 512
"""Characters up to which a text before a turn is remembered, and how many such texts are."""
_PLAIN = "plain"
"""The shipped template that adds nothing but the end token."""
_IGNORED = array("i", [IGNORED])
_Ids = list[int] | tokenizers.Encoding | None
_THOUGHT = re.compile(r"</think>\s*")


@dataclass(frozen=True)
class EncodedData:
    """All rows of a dataset as they go into training, what was found on the way, and their fingerprint."""

    rows: tuple[Encoded, ...]
    findings: tuple[Finding, ...]
    sha256: str
    mixed_in: int = 0
    """How many of the rows, the last ones, come from another file; their numbers are those of that file."""

    @property
    def tokens(self) -> int:
        return sum(row.total for row in self.rows)

    @property
    def trained_tokens(self) -> int:
        return sum(row.trained for row in self.rows)


class Encoder:
    """Conversations to ids and labels, for one template, one tokenizer and one choice of what is learnt."""

    def __init__(
        self,
        template: Template,
        tokenizer: Tokenizer,
        masks: TemplateConfig | None = None,
        for_texts: Template | None = None,
    ) -> None:
        """`for_texts` writes rows that are plain texts; without it, the shipped template does."""
        self.template, self.tokenizer = template, tokenizer
        self._for_texts = for_texts
        self.masks = masks or TemplateConfig()
        self.renderer = Renderer(template, tokenizer)
        # Mostly the header alone, over and over; where it has no special token, a person's words before it as well.
        self._lead_ids = lru_cache(maxsize=_LEADS)(lambda lead: tokenizer.encode([lead])[0].ids)

    def encode(self, conversation: Conversation, max_length: int | None = None) -> Encoded:
        """One conversation, with the characters that each token stands for; see `shorten` for `max_length`."""
        if conversation.plain and self.template.name != _PLAIN:
            return self.texts.encode(conversation, max_length)
        rendered = self.renderer.render(conversation)
        encoding = self.tokenizer.encode([rendered.text])[0] if rendered.controls is None else None
        row = self._row(conversation.row, rendered, encoding, shown=True)
        return row if max_length is None else shorten(row, max_length)

    def encode_many(
        self, conversations: Sequence[Conversation], max_length: int | None = None
    ) -> list[Encoded]:
        """As `encode`, many at a time on all cores, without text and spans.

        Raises StudioError where the template takes too long for some of them.
        """
        if self.template.name != _PLAIN and any(row.plain for row in conversations):
            return self._with_texts(conversations, max_length)
        rows: list[Encoded] = []
        waiting: deque[tuple[Sequence[Conversation], list[Rendered], Future[list[_Ids]]]] = deque()
        # The tokenizer works on its own threads while the next batch is rendered on this one.
        with ThreadPoolExecutor(_AHEAD) as pool:
            for batch in _batches(conversations):
                rendered = self._rendered(batch)
                waiting.append((batch, rendered, pool.submit(self._encodings, rendered)))
                if len(waiting) > _AHEAD:
                    rows.extend(self._rows(*waiting.popleft()))
            while waiting:
                rows.extend(self._rows(*waiting.popleft()))
        return rows if max_length is None else [shorten(row, max_length) for row in rows]

    @cached_property
    def texts(self) -> Encoder:
        """For rows that are plain texts: they are learnt as they stand, with the end token, by any template."""
        masks = self.masks.model_copy(update={"name": _PLAIN, "source": None})
        template = self._for_texts or resolve(_PLAIN, self.tokenizer)
        return Encoder(replace(template, name=_PLAIN), self.tokenizer, masks)

    def _with_texts(self, conversations: Sequence[Conversation], max_length: int | None) -> list[Encoded]:
        """As `encode_many`, where plain texts are among the rows."""
        texts = iter(self.texts.encode_many([row for row in conversations if row.plain], max_length))
        talks = iter(self.encode_many([row for row in conversations if not row.plain], max_length))
        return [next(texts if row.plain else talks) for row in conversations]

    def prompt(self, messages: Sequence[Message], tools: Sequence[str] = ()) -> list[int]:
        """The ids that a model is given to answer: the messages so far and the opening of its turn.

        Raises StudioError where the template refuses them.
        """
        return self._prompt_ids(self.renderer.prompt(messages, tools))

    @cached_property
    def stop_ids(self) -> list[int]:
        """The tokens that end an answer: those this template ends a turn with, and the tokenizer's end token."""
        ids = {self.tokenizer.special[token] for token in self.renderer.shape.stops}
        return sorted(ids | ({self.tokenizer.eos_id} if self.tokenizer.eos_id is not None else set()))

    def _rendered(self, batch: Sequence[Conversation]) -> list[Rendered]:
        """Text and turns of each. Raises StudioError with the first rows that the template takes too long for.

        They are not left out like rows that it refuses: on a busy machine others would be, and the run another one.
        """
        rendered: list[Rendered] = []
        slow: dict[int, TookTooLong] = {}
        for conversation in batch:
            try:
                rendered.append(self.renderer.render(conversation))
            except TookTooLong as error:
                slow[conversation.row] = error
                if len(slow) == _SLOW:
                    break
        if slow:
            first = next(iter(slow.values()))
            raise StudioError(
                "The chat template {title} was stopped, line {line}, column {column}: "
                "it does not come to an end at these rows, and maybe at more: {rows}.",
                "Correct the template, or drop these rows; where the machine is busy, try again.",
                **first.text.values,
                rows=", ".join(map(str, slow)),
            )
        return rendered

    def _encodings(self, items: Sequence[Rendered]) -> list[_Ids]:
        """Of plain rows the ids alone, as what is learnt is found by them; of the others all."""
        ids = iter(self.tokenizer.ids([item.text for item in items if item.plain]))
        others = iter(self.tokenizer.encode([item.text for item in items if not item.plain]))
        return [next(ids) if item.plain else next(others) for item in items]

    def _rows(
        self, batch: Sequence[Conversation], rendered: list[Rendered], encodings: Future[list[_Ids]]
    ) -> Iterator[Encoded]:
        for conversation, item, encoding in zip(batch, rendered, encodings.result(), strict=True):
            if isinstance(encoding, list):
                learnt = self._plain_tokens(item, encoding)
                if learnt is not None:
                    ids = array("i", encoding)
                    labels = _IGNORED * len(ids)
                    for start, end in learnt:
                        labels[start:end] = ids[start:end]
                    yield self._finished(conversation.row, item, ids, labels, item.hazards, bool(learnt))
                    continue
                encoding = self.tokenizer.encode([item.text])[0]
            yield self._row(conversation.row, item, encoding if item.controls is None else None)

    def _plain_tokens(self, item: Rendered, ids: list[int]) -> list[Span] | None:
        """The tokens [start, end) that are learnt of a row whose special tokens are all the template's.

        They are found by the ids of headers and closings; None where they are not told by these: a token reaches over a
        header's end, or parts of a turn are left out.
        """
        header, ends = self._header_ids, self._closing_ids
        if (
            not header
            or self.masks.prompts
            or not self.masks.reasoning
            or item.text.count(self._header_text) != len(item.turns)
        ):
            return None
        learnt: list[Span] = []
        last = item.turns[-1] if item.turns else None
        length, position = len(header), 0
        try:
            for turn in item.turns:
                position = ids.index(header[0], position)
                while ids[position : position + length] != header:
                    position = ids.index(header[0], position + 1)
                start = position + length
                position = ids.index(ends[item.text[turn.words_end : turn.end]], start) + 1
                if item.messages[turn.message].trained and (self.masks.turns == "all" or turn is last):
                    learnt.append((start, position))
        except ValueError:
            return None
        return learnt

    @cached_property
    def _header_text(self) -> str:
        """What opens an assistant's turn, from its first special token on: no person can have written it."""
        header, pattern = self.renderer.shape.header, self.tokenizer.special_pattern
        first = pattern.search(header) if pattern else None
        return header[first.start() :] if first else ""

    @cached_property
    def _header_ids(self) -> list[int]:
        return list(self.tokenizer.encode([self._header_text])[0].ids) if self._header_text else []

    @cached_property
    def _closing_ids(self) -> dict[str, int]:
        """The last special token of each closing."""
        pattern = self.tokenizer.special_pattern
        if pattern is None:
            return {}
        last = {closer: pattern.findall(closer)[-1] for closer in self.renderer.shape.closers}
        return {closer: self.tokenizer.special[token] for closer, token in last.items()}

    def _row(
        self, row: int, item: Rendered, encoding: tokenizers.Encoding | None, *, shown: bool = False
    ) -> Encoded:
        """Ids and labels of one rendered conversation; without an encoding its special tokens are set by place.

        `shown`: with text and spans, as a view needs them.
        """
        if item.problem is not None:
            return Encoded(
                (),
                (),
                (),
                item.text if shown else "",
                row,
                end_token_trained=False,
                hazards=item.hazards,
                problem=item.problem,
            )
        learnt = learnt_places(item, self.masks)
        hazards: list[Hazard] = list(item.hazards)
        ids, places, split, alike = self._tokens(item, encoding)
        labels = None
        if places is None:
            assert encoding is not None
            labels = _labels(ids, encoding, learnt, len(item.text))
            places = encoding.offsets if shown or labels is None else []
        if labels is None:
            labels = _labels_by_place(ids, places, learnt)
        hazards += ["merged_border"] if split else []
        if not (alike and all(turn.like_chat for turn in item.turns)):
            hazards.append("unlike_chat")
        ended = self._learns_its_end(item, labels)
        finished = self._finished(row, item, array("i", ids), array("i", labels), hazards, ended)
        if not shown:
            return finished
        kept = places[len(places) - finished.total :]
        gone = kept[0][0] if 0 < len(kept) < len(places) else 0  # a second beginning of the text
        spans = tuple((start - gone, end - gone) for start, end in kept)
        return replace(finished, text=item.text[gone:], spans=spans)

    def _finished(
        self,
        row: int,
        item: Rendered,
        ids: array[int],
        labels: array[int],
        hazards: Sequence[Hazard],
        ended: bool,
    ) -> Encoded:
        """The row with what its ids and labels show; `ended`: the last learnt turn learns the token that ends it."""
        seen = list(hazards)
        bos = self._bos
        if bos is not None and len(ids) > 1 and ids[0] == ids[1] == bos:
            ids, labels = ids[1:], labels[1:]
            seen.append("doubled_bos")
        elif bos is not None and self.tokenizer.adds_bos and (not ids or ids[0] != bos):
            seen.append("missing_bos")
        if self.tokenizer.unknown_id is not None and self.tokenizer.unknown_id in ids:
            seen.append("unknown_token")
        if any(_is_empty(item.messages[turn.message]) for turn in _learnt_turns(item, self.masks)):
            seen.append("empty_answer")
        if labels[1:] == _IGNORED * (len(labels) - 1):
            seen.append("nothing_trained")
        elif not ended:
            seen.append("unended_text" if self.masks.prompts else "no_end_token")
        return Encoded(ids, labels, (), "", row, end_token_trained=ended, hazards=tuple(seen))

    def _learns_its_end(self, item: Rendered, labels: Sequence[int]) -> bool:
        """Whether the last learnt turn learns the token that ends it: as a token, not as the letters of its text."""
        turns, pattern = _learnt_turns(item, self.masks), self.tokenizer.special_pattern
        if pattern is None or not turns or not turns[-1].ended:
            return False
        closing = pattern.findall(item.text, turns[-1].words_end, turns[-1].end)
        return bool(closing) and self.tokenizer.special[closing[-1]] in labels

    @cached_property
    def _bos(self) -> int | None:
        return self.tokenizer.special.get(self.tokenizer.named.get("bos_token", ""))

    def _tokens(
        self, item: Rendered, encoding: tokenizers.Encoding | None
    ) -> tuple[list[int], list[Span] | None, bool, bool]:
        """Ids; their places, if not the encoding's; whether a token was split; whether turns follow a chat's tokens.

        Where the tokens before a turn are not those of the prompt that ends there, a border is put between the two.
        Only a template that marks turns itself is left as it is.
        """
        ids, places = (encoding.ids, None) if encoding else self._encode_apart(item, 0, len(item.text))
        unlike = [
            turn.start
            for turn in item.turns
            if turn.start
            and not self._follows(item, turn.start, ids, _token_at(turn.start, ids, encoding, places))
        ]
        if not unlike or item.marked:
            return ids, places, False, not unlike
        ids, places = self._encode_apart(item, 0, len(item.text), unlike)
        return ids, places, True, True

    def _encode_apart(
        self, item: Rendered, start: int, end: int, cuts: Sequence[int] = ()
    ) -> tuple[list[int], list[Span]]:
        """Ids and places of a part of the text, with special tokens only where the template wrote them."""
        inside = [(a - start, b - start) for a, b in self._controls(item) if start <= a and b <= end]
        return self.tokenizer.encode_apart(item.text[start:end], inside, cuts)

    def _controls(self, item: Rendered) -> Sequence[Span]:
        """Where the special tokens stand that the template wrote."""
        pattern = self.tokenizer.special_pattern
        if item.controls is not None or pattern is None:
            return item.controls or ()
        return [match.span() for match in pattern.finditer(item.text)]

    def _follows(self, item: Rendered, start: int, ids: list[int], first: int | None) -> bool:
        """Whether the tokens before the one at place `first` are those of a prompt that ends at `start`.

        A special token is a border that no tokenizer looks over, so only what follows the last one is compared.
        """
        if first is None:
            return False
        header = self._header_lead
        if header is not None and item.text.endswith(self.renderer.shape.header, 0, start):
            lead, control = header, True
        else:
            last = max((span for span in self._controls(item) if span[1] <= start), default=None)
            lead, control = item.text[last[0] if last else 0 : start], last is not None
        if item.controls is not None:
            wanted = self._encode_apart(item, start - len(lead), start)[0]
        elif len(lead) <= _SHORT:
            wanted = self._lead_ids(lead)
        else:
            wanted = self.tokenizer.encode([lead])[0].ids
        compared = wanted[control:]
        return first >= len(compared) and ids[first - len(compared) : first] == compared

    @cached_property
    def _header_lead(self) -> str | None:
        """The header from its last special token on, where there is one."""
        pattern, header = self.tokenizer.special_pattern, self.renderer.shape.header
        starts = [match.start() for match in pattern.finditer(header)] if pattern else []
        return header[starts[-1] :] if starts else None

    def _prompt_ids(self, item: Rendered) -> list[int]:
        encoding = self.tokenizer.encode([item.text])[0] if item.controls is None else None
        ids = self._tokens(item, encoding)[0]
        return ids[1:] if self._bos is not None and ids[:2] == [self._bos, self._bos] else list(ids)


def _batches(conversations: Sequence[Conversation]) -> Iterator[Sequence[Conversation]]:
    """Small at first, so that the tokenizer soon has work, then larger, so that it seldom waits."""
    start, size = 0, _FIRST_BATCH
    while start < len(conversations):
        yield conversations[start : start + size]
        start, size = start + size, min(2 * size, _BATCH)


def encode(
    conversation: Conversation,
    template: Template,
    tokenizer: Tokenizer,
    max_length: int | None = None,
    masks: TemplateConfig | None = None,
) -> Encoded:
    """One conversation as ids and labels; for many, keep an `Encoder`."""
    return Encoder(template, tokenizer, masks).encode(conversation, max_length)


def encoder_for(config: TemplateConfig, tokenizer: Tokenizer) -> Encoder:
    """The encoder that a configuration asks for. StudioError where its template is unknown or cannot be read."""
    return Encoder(resolve(config.name, tokenizer, config.source), tokenizer, config)


def shorten(row: Encoded, max_length: int) -> Encoded:
    """The row with its end cut off after `max_length` tokens; what fell off is kept in `cut_ids` to be shown."""
    if row.total <= max_length:
        return row
    kept = row.labels[:max_length]
    lost = len(row.labels) - max_length - row.labels[max_length:].count(IGNORED)
    hazards = row.hazards
    if lost:
        empty = kept[1:].count(IGNORED) == len(kept) - 1
        hazards = (*hazards, "prompt_fills_length" if empty else "answer_cut")
    return replace(
        row,
        input_ids=row.input_ids[:max_length],
        labels=kept,
        cut_ids=row.input_ids[max_length:],
        cut_trained=lost,
        end_token_trained=row.end_token_trained and not lost,
        hazards=hazards,
    )


def select(
    encoder: Encoder,
    conversations: Sequence[Conversation],
    rows: Sequence[Encoded],
    max_length: int,
    overlong: Overlong,
    context: int | None = None,
) -> EncodedData:
    """The rows that a run is fed, in order, without those that cannot be trained; each left-out row is in a finding.

    `rows` are the conversations as `encode_many` gives them. `context` bounds what is kept whole.
    """
    parts = [
        part
        for conversation, row in zip(conversations, rows, strict=True)
        for part in made_of(encoder, conversation, row, max_length, overlong, context)
    ]
    findings = hazard_findings(parts, max_length, overlong, context)
    kept = tuple(part for part in parts if is_fed(part, overlong))
    return EncodedData(kept, tuple(findings), fingerprint(kept))


def made_of(
    encoder: Encoder,
    conversation: Conversation,
    row: Encoded,
    max_length: int | None,
    overlong: Overlong,
    context: int | None = None,
) -> list[Encoded]:
    """What a run makes of a conversation, encoded as `row`: whole, cut or split. `is_fed` says what it leaves out.

    `max_length` None: whole. `context` bounds what is kept whole.
    """
    if not conversation.learnable:
        row = _unlearnt(row)
    if max_length is None or (overlong == "keep" and context is None):
        return [row]
    if overlong == "split" and row.total > max_length and conversation.learnable:
        return split_turns(encoder, conversation, max_length)
    return [shorten(row, context if overlong == "keep" and context is not None else max_length)]


def is_fed(row: Encoded, overlong: Overlong) -> bool:
    """Whether a run is given this row."""
    return row.trained > 0 and not (overlong == "drop" and row.truncated)


def _unlearnt(row: Encoded) -> Encoded:
    """A row without a prompt or a response: what its template writes all the same is not learnt."""
    if row.problem is not None:
        return row
    about_labels = ("nothing_trained", "no_end_token", "unended_text", "empty_answer")
    others = (hazard for hazard in row.hazards if hazard not in about_labels)
    return replace(row, labels=_IGNORED * row.total, end_token_trained=False, hazards=("left_out", *others))


def split_turns(encoder: Encoder, conversation: Conversation, max_length: int) -> list[Encoded]:
    """A long conversation as several rows: runs of whole exchanges, as many as fit, each after the system messages.

    An exchange is a user's turn and all that answers it. One that does not fit alone is cut.
    """
    head = tuple(message for message in conversation.messages if message.role == "system")
    exchanges: list[tuple[Message, ...]] = []
    for message in conversation.messages:
        if message.role == "user" or (message.role != "system" and not exchanges):
            exchanges.append((message,))
        elif message.role != "system":
            exchanges[-1] = (*exchanges[-1], message)
    windows: list[Encoded] = []
    first = 0
    while first < len(exchanges):
        last, fitting = first + 1, None
        while last <= len(exchanges):
            said = (*head, *(message for exchange in exchanges[first:last] for message in exchange))
            row = encoder.encode(replace(conversation, messages=said))
            if row.total > max_length and fitting is not None:
                break
            fitting, last = row, last + 1
            if row.total > max_length:
                break
        assert fitting is not None
        windows.append(fitting)
        first = last - 1
    if len(windows) == 1:
        return [shorten(windows[0], max_length)]
    if encoder.masks.turns == "last":
        windows = windows[-1:]
    return [shorten(replace(row, hazards=(*row.hazards, "split")), max_length) for row in windows]


def fingerprint(rows: Sequence[Encoded]) -> str:
    """SHA-256 over every row's length, ids and labels as little-endian 32-bit integers."""
    digest = hashlib.sha256()
    for row in rows:
        for part in ((row.total,), row.input_ids, row.labels):
            digest.update(array("i", part))
    return digest.hexdigest()


def _learnt_turns(item: Rendered, masks: TemplateConfig) -> list[Turn]:
    turns = [turn for turn in item.turns if item.messages[turn.message].trained and not turn.silent]
    return [turn for turn in turns if turn is item.turns[-1]] if masks.turns == "last" else turns


def _is_empty(message: Message) -> bool:
    """Whether a turn says nothing and calls nothing: reasoning alone is said to nobody."""
    return not (message.tool_calls or message.content.rpartition("</think>")[2].strip())


def learnt_places(item: Rendered, masks: TemplateConfig) -> list[Span]:
    """Characters [start, end) that are learnt, in order."""
    places: list[Span] = []
    for turn in _learnt_turns(item, masks):
        places += _without(list(turn.blocks) or [(turn.start, turn.end)], _left_out(item, turn, masks))
    if masks.prompts:
        unlearnt = [
            (turn.start, turn.end)
            for turn in item.turns
            if turn.silent or not item.messages[turn.message].trained
        ]
        unlearnt += [place for turn in item.turns for place in _left_out(item, turn, masks)]
        places = _without([(0, len(item.text))], unlearnt)
    return [place for place in places if place[0] < place[1]]


def _left_out(item: Rendered, turn: Turn, masks: TemplateConfig) -> list[Span]:
    """The parts of a turn that are read but not learnt: its reasoning, its tool calls."""
    if masks.reasoning and masks.tool_calls:
        return []
    message, text = item.messages[turn.message], item.text
    content = message.content.strip()
    reasoned = turn.start  # where the reasoning, with its marks, is over
    if message.reasoning.strip():
        place = text.find(message.reasoning.strip(), turn.start, turn.end)
        reasoned = place + len(message.reasoning.strip()) if place >= 0 else turn.start
    closing = _THOUGHT.search(text, reasoned, turn.end)
    if closing is not None:
        reasoned = closing.end()
        content = content.rpartition("</think>")[2].strip()
    elif reasoned > turn.start and content:
        reasoned = max(text.find(content, reasoned, turn.end), reasoned)
    left_out = [] if masks.reasoning else [(turn.start, reasoned)]
    if not masks.tool_calls and message.tool_calls:
        start, end = turn.content or (reasoned, reasoned)
        called_first = text.find(message.tool_calls[0].name, reasoned, start) >= 0
        left_out.append((reasoned, start) if called_first else (max(end, reasoned), turn.words_end))
    return left_out


def _without(places: Sequence[Span], holes: Sequence[Span]) -> list[Span]:
    """
    >>> _without([(0, 10)], [(2, 4), (8, 12)])
    [(0, 2), (4, 8)]
    """
    for hole_start, hole_end in holes:
        places = (
            [
                part
                for start, end in places
                for part in ((start, min(end, hole_start)), (max(start, hole_end), end))
                if part[0] < part[1]
            ]
            if hole_start < hole_end
            else places
        )
    return list(places)


def _token_at(
    place: int, ids: Sequence[int], encoding: tokenizers.Encoding | None, places: Sequence[Span] | None
) -> int | None:
    """Which token begins at this character; None where one reaches over it."""
    if places is None:
        assert encoding is not None
        token = encoding.char_to_token(place)
        if token is None:  # the text's end, or white space that stands for no token
            token = bisect_left(encoding.offsets, (place, place))
            places = encoding.offsets
        else:
            return token if _begins(encoding, token) == place else None
    else:
        token = bisect_left(places, (place, place))
    return None if token and places[token - 1][1] > place else token


def _begins(encoding: tokenizers.Encoding, token: int) -> int:
    span = encoding.token_to_chars(token)
    return span[0] if span else -1


def _labels(
    ids: list[int], encoding: tokenizers.Encoding, learnt: Sequence[Span], length: int
) -> list[int] | None:
    """Labels by place, from the borders of each place alone; None where a border stands for no token."""
    labels: list[int] = []
    for start, end in learnt:
        first = encoding.char_to_token(start)
        after = encoding.char_to_token(end) if end < length else len(ids)
        if first is None or after is None:
            return None
        if end < length and _begins(encoding, after) < end:
            after += 1
        labels += [IGNORED] * (first - len(labels))
        labels += ids[len(labels) : after]
    return labels + [IGNORED] * (len(ids) - len(labels))


def _labels_by_place(ids: list[int], places: Sequence[Span], learnt: Sequence[Span]) -> list[int]:
    """A token is learnt if it holds a character that is."""
    labels = [IGNORED] * len(ids)
    spans = iter(learnt)
    current = next(spans, None)
    for index, (start, end) in enumerate(places):
        while current is not None and start >= current[1]:
            current = next(spans, None)
        if current is None:
            break
        if end > current[0] and end > start:
            labels[index] = ids[index]
    return labels
