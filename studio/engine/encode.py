"""Conversation -> token ids and labels: the only path by which text becomes what a model sees.

Preview, token checks, estimates, training, chat and evaluation all come through here. A response's place in the
rendered text is found by marking it, so any template works, with or without generation markers of its own.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace

from studio.domain.chat import Conversation, Message
from studio.domain.config import Overlong
from studio.domain.encoded import IGNORED, Encoded
from studio.domain.errors import StudioError
from studio.domain.finding import Finding, finding
from studio.engine.templates import Template, render
from studio.engine.tokenizer import Tokenizer

_PRIVATE_USE = range(0xF0000, 0xF0100)
_BATCH = 256

Span = tuple[int, int]


@dataclass(frozen=True)
class Rendered:
    """The text of a conversation, where its responses stand, and where the tokens end that close them.

    `responses` are characters [start, end) of each assistant message's content. `trained`, without those that are not
    to be learnt, reach from there to the end of the turn's end token, where there is one; `ended` says for each of
    these whether there is.
    """

    text: str
    responses: tuple[Span, ...]
    trained: tuple[Span, ...]
    ended: tuple[bool, ...]


@dataclass(frozen=True)
class EncodedData:
    """All rows of a dataset as they go into training, what was found on the way, and their fingerprint."""

    rows: tuple[Encoded, ...]
    findings: tuple[Finding, ...]
    sha256: str

    @property
    def tokens(self) -> int:
        return sum(row.total for row in self.rows)

    @property
    def trained_tokens(self) -> int:
        return sum(row.trained for row in self.rows)


def encode(
    conversation: Conversation, template: Template, tokenizer: Tokenizer, max_length: int | None = None
) -> Encoded:
    """One conversation as ids and labels; what exceeds `max_length` tokens is in `cut_ids`."""
    return encode_many([conversation], template, tokenizer, max_length)[0]


def encode_many(
    conversations: Sequence[Conversation],
    template: Template,
    tokenizer: Tokenizer,
    max_length: int | None = None,
) -> list[Encoded]:
    """As `encode`, many at a time."""
    encoded: list[Encoded] = []
    for start in range(0, len(conversations), _BATCH):
        batch = conversations[start : start + _BATCH]
        rendered = [render_marked(conversation, template, tokenizer) for conversation in batch]
        encodings = tokenizer.encode([item.text for item in rendered])
        for conversation, item, encoding in zip(batch, rendered, encodings, strict=True):
            encoded.append(_label(conversation.row, item, encoding.ids, encoding.offsets))
    return encoded if max_length is None else [shorten(row, max_length) for row in encoded]


def shorten(row: Encoded, max_length: int) -> Encoded:
    """The row with its end cut off after `max_length` tokens; what fell off is kept in `cut_ids` to be shown."""
    if row.total <= max_length:
        return row
    lost = sum(label != IGNORED for label in row.labels[max_length:])
    return replace(
        row,
        input_ids=row.input_ids[:max_length],
        labels=row.labels[:max_length],
        cut_ids=row.input_ids[max_length:],
        cut_trained=lost,
        end_token_trained=row.end_token_trained and not lost,
    )


def select(rows: Sequence[Encoded], max_length: int, overlong: Overlong) -> EncodedData:
    """The rows that a run is fed, in order, without those that cannot be trained; each left-out row is in a finding."""
    shortened = [shorten(row, max_length) for row in rows]
    findings = token_findings(shortened, max_length, overlong)
    kept = tuple(row for row in shortened if row.trained > 0 and not (overlong == "drop" and row.truncated))
    return EncodedData(kept, tuple(findings), fingerprint(kept))


def encode_prompt(messages: Sequence[Message], template: Template, tokenizer: Tokenizer) -> list[int]:
    """The ids that a model is given to answer: the messages so far and the opening of its turn."""
    text = render(template, _shown(messages), tokenizer, add_generation_prompt=True)
    return list(tokenizer.encode([text])[0].ids)


def stop_ids(template: Template, tokenizer: Tokenizer) -> list[int]:
    """The tokens that end an answer: the one this template ends a turn with, and the tokenizer's end token."""
    probe = Conversation((Message("user", "a"), Message("assistant", "b")))
    item = render_marked(probe, template, tokenizer)
    ids = {tokenizer.eos_id} if tokenizer.eos_id is not None else set()
    (_, end), (_, content_end) = item.trained[-1], item.responses[-1]
    ids.update(tokenizer.special[text] for text in _specials_in(item.text[content_end:end], tokenizer))
    return sorted(ids)


def fingerprint(rows: Sequence[Encoded]) -> str:
    """SHA-256 over every row's length, ids and labels as little-endian 32-bit integers."""
    digest = hashlib.sha256()
    for row in rows:
        numbers = array("i", (row.total, *row.input_ids, *row.labels))
        digest.update(numbers.tobytes())
    return digest.hexdigest()


def render_marked(conversation: Conversation, template: Template, tokenizer: Tokenizer) -> Rendered:
    """The rendered text with the places of its responses.

    Raises StudioError where the template leaves a response out or changes it past recognition.
    """
    learnt = [message.trained for message in conversation.messages if message.role == "assistant"]
    messages = _shown(conversation.messages)
    try:
        text = render(template, messages, tokenizer)
    except StudioError as error:
        raise _in_row(error, conversation.row) from error
    responses = _find_responses(text, messages, template, tokenizer, conversation.row)
    trained, ended = [], []
    for index, (start, end) in enumerate(responses):
        if not learnt[index]:
            continue
        limit = responses[index + 1][0] if index + 1 < len(responses) else len(text)
        stop = _end_of_turn(text, end, limit, tokenizer)
        trained.append((start, end if stop is None else stop))
        ended.append(stop is not None)
    return Rendered(text, tuple(responses), tuple(trained), tuple(ended))


def _shown(messages: Sequence[Message]) -> list[Message]:
    """As a template gets them: roles and contents only, in training as in a chat."""
    return [replace(message, trained=True) for message in messages]


def _find_responses(
    text: str, messages: Sequence[Message], template: Template, tokenizer: Tokenizer, row: int
) -> list[Span]:
    """Characters of each assistant message in `text`.

    The contents are rendered again between two private-use characters. A template that strips contents would treat the
    marked ones differently, so the marks go inside the white space on the second try; and where neither gives the same
    text, the contents are looked for in order.
    """
    contents = [message.content for message in messages if message.role == "assistant"]
    if not contents:
        return []
    used = set(text)
    marks = [chr(code) for code in _PRIVATE_USE if chr(code) not in used][:2]
    if len(marks) == 2:
        for inside in (False, True):
            spans = _spans_by_marks(text, messages, template, tokenizer, marks[0], marks[1], inside)
            if spans is not None and len(spans) == len(contents):
                return spans
    spans, position = [], 0
    for content in contents:
        wanted = content if text.find(content, position) >= 0 else content.strip()
        start = text.find(wanted, position)
        if start < 0:
            raise StudioError(
                "Row {row}: the chat template {title} does not show the response as it stands in the row.",
                "Choose another template, or change the row.",
                row=row,
                title=template.title,
            )
        spans.append((start, start + len(wanted)))
        position = start + len(wanted)
    return spans


def _spans_by_marks(
    text: str,
    messages: Sequence[Message],
    template: Template,
    tokenizer: Tokenizer,
    opening: str,
    closing: str,
    inside: bool,
) -> list[Span] | None:
    marked = [
        replace(message, content=_mark(message.content, opening, closing, inside))
        if message.role == "assistant"
        else message
        for message in messages
    ]
    try:
        parts = render(template, marked, tokenizer).split(opening)
    except StudioError:
        return None
    clean, spans = parts[0], []
    for part in parts[1:]:
        content, found, rest = part.partition(closing)
        if not found:
            return None
        spans.append((len(clean), len(clean) + len(content)))
        clean += content + rest
    return spans if clean == text else None


def _mark(content: str, opening: str, closing: str, inside: bool) -> str:
    if not inside:
        return opening + content + closing
    body = content.strip()
    start = content.find(body)
    return content[:start] + opening + body + closing + content[start + len(body) :]


def _end_of_turn(text: str, start: int, limit: int, tokenizer: Tokenizer) -> int | None:
    """Where the first special token after a response ends, if only white space lies before it."""
    position = start
    while position < limit and text[position].isspace():
        position += 1
    return next(
        (
            position + len(token)
            for token in tokenizer.special
            if token and text.startswith(token, position, limit)
        ),
        None,
    )


def _specials_in(text: str, tokenizer: Tokenizer) -> list[str]:
    return [token for token in tokenizer.special if token and token in text]


def _label(row: int, item: Rendered, ids: list[int], offsets: list[Span]) -> Encoded:
    """Labels by span: a token is trained if it holds a character of a response or of the token that ends it."""
    labels = [IGNORED] * len(ids)
    spans = iter(item.trained)
    current = next(spans, None)
    for index, (start, end) in enumerate(offsets):
        while current is not None and start >= current[1]:
            current = next(spans, None)
        if current is None:
            break
        if end > current[0] and end > start:
            labels[index] = ids[index]
    return Encoded(
        input_ids=tuple(ids),
        labels=tuple(labels),
        spans=tuple(offsets),
        text=item.text,
        row=row,
        end_token_trained=bool(item.ended) and item.ended[-1],
    )


def token_findings(
    rows: Sequence[Encoded], max_length: int | None, overlong: Overlong = "cut"
) -> list[Finding]:
    """What the encoding itself shows: rows left out, cut, or without a trained end."""
    nothing = [row.row for row in rows if row.trained == 0]
    long = [row for row in rows if row.truncated and row.trained > 0]
    endless = [row.row for row in rows if row.trained > 0 and not row.truncated and not row.end_token_trained]
    found = []
    if nothing:
        found.append(
            finding(
                "nothing_trained",
                "tokens",
                "error",
                nothing,
                "Rows without a trained token, which are left out: {count}.",
                "Give them a response, shorten the prompt, or raise the maximum length.",
            )
        )
    if long and overlong == "drop":
        found.append(
            finding(
                "too_long",
                "tokens",
                "warning",
                (row.row for row in long),
                "Rows longer than {max_length} tokens, which are left out: {count}. The longest has {longest}.",
                "Raise the maximum length, or let them be cut.",
                max_length=max_length,
                longest=max(row.total + len(row.cut_ids) for row in long),
            )
        )
    elif long:
        found.append(
            finding(
                "too_long",
                "tokens",
                "warning",
                (row.row for row in long),
                "Rows longer than {max_length} tokens, which lose their end: {count} ({lost} response tokens in all). "
                "The longest has {longest}.",
                "Raise the maximum length, or leave such rows out.",
                max_length=max_length,
                lost=sum(row.cut_trained for row in long),
                longest=max(row.total + len(row.cut_ids) for row in long),
            )
        )
    if endless:
        found.append(
            finding(
                "no_end_token",
                "tokens",
                "error",
                endless,
                "Rows that train no end token, so that the model would not learn to stop: {count}.",
                "Choose a template that ends each turn with a special token.",
            )
        )
    return found


def _in_row(error: StudioError, row: int) -> StudioError:
    if not row:
        return error
    return StudioError(
        "Row {row}: {problem}",
        error.remedy_text.template,
        **{**error.text.values, "row": row, "problem": error.message},
    )
