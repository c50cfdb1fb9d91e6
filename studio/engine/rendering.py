"""A conversation as text, and where in it the model's own words stand.

What a model has to write itself is what follows the prompt that a chat gives it, up to and with the token that ends its
turn. So the text of each prompt (the messages before a turn, with the generation prompt) is laid over the text of the
whole conversation: that works for any template. A template with `{% generation %}` marks says it itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from threading import Lock
from time import monotonic
from typing import Any

from studio.domain.chat import Conversation, Message
from studio.domain.encoded import Hazard
from studio.domain.errors import StudioError
from studio.domain.text import Text
from studio.engine import sandbox
from studio.engine.controls import BLOCKS, is_free
from studio.engine.guards import Unguarding, guarded, rewritten
from studio.engine.marks import Field, Marks, fields_in_order
from studio.engine.sandbox import Refused
from studio.engine.template_shape import Probe, Reading, Shape, pieces, read_as, shared
from studio.engine.templates import Template, template_messages
from studio.engine.tokenizer import Tokenizer
from studio.engine.written import is_written, strips

Span = tuple[int, int]

_GENERATION = re.compile(r"\{%[-+]?\s*generation\b")
_THOUGHT = re.compile("</?think>")
_PLAIN = Reading()
_REPAIRS: tuple[tuple[Hazard, ...], ...] = (
    (),
    ("systems_joined",),
    ("system_merged",),
    ("turns_merged",),
    ("systems_joined", "turns_merged"),
    ("system_merged", "turns_merged"),
)
_MARKED: tuple[tuple[str, ...], ...] = (
    ("system", "user", "assistant", "tool"),
    ("system", "user", "assistant"),
    ("assistant",),
)
"""Whose words are marked to find them: fewer, where the template writes another text for the marks."""
_AGAIN = 30.0
"""Seconds after which a template that failed when it was tried is tried once more."""


# Not frozen, as one is made for every turn of a large set, and that takes four times as long.
@dataclass(slots=True)
class Turn:
    """An assistant's turn: characters [start, end) of the text that the model writes, its end token included."""

    message: int
    """Its index in the conversation, after repairs."""
    start: int
    end: int
    ended: bool
    """Whether an end token closes it."""
    words_end: int
    """Where its words end and what closes it begins."""
    like_chat: bool = True
    """Whether the text before it is the prompt that a chat would give."""
    blocks: tuple[Span, ...] = ()
    """The model's own stretches where they are not the whole: others speak in between, or the template marks them."""
    content: Span | None = None
    """Where its content stands, as far as that is known."""
    silent: bool = False
    """Whether it is a call of which the template writes nothing: learnt, it would teach to say nothing."""


@dataclass(slots=True)
class Rendered:
    """The text of a conversation and its assistant's turns."""

    text: str
    messages: tuple[Message, ...] = ()
    """As they were given to the template."""
    turns: tuple[Turn, ...] = ()
    controls: tuple[Span, ...] | None = None
    """Where the special tokens stand that the template wrote; None where all that look so are such."""
    hazards: tuple[Hazard, ...] = ()
    problem: Text | None = None
    marked: bool = False
    """Whether the template itself marks what is generated."""
    plain: bool = False
    """Whether all special tokens are the template's, and header, words and closing of each turn stand side by side."""


class Renderer:
    """Renders conversations with one template for one tokenizer."""

    def __init__(self, template: Template, tokenizer: Tokenizer) -> None:
        self.template, self.tokenizer = template, tokenizer
        self._probing = Lock()
        self._found: tuple[Reading, Shape] | None = None
        self._failed: tuple[float, StudioError] | None = None  # until when it counts

    @cached_property
    def marked(self) -> bool:
        """Whether the template marks what is generated itself."""
        return bool(_GENERATION.search(self.template.source))

    @property
    def shape(self) -> Shape:
        """Raises the template's own StudioError where it is no Jinja, takes too long or refuses every conversation."""
        return self._probed[1]

    @property
    def _reading(self) -> Reading:
        return self._probed[0]

    @property
    def _probed(self) -> tuple[Reading, Shape]:
        """What the template does, tried once; a failure is kept for `_AGAIN` seconds, as the machine may be busy.

        With a lock of its own: before Python 3.12, `cached_property` has one for all objects of a class.
        """
        with self._probing:
            if self._failed is not None and monotonic() < self._failed[0]:
                raise self._failed[1].with_traceback(None)
            if self._found is None:
                try:
                    self._found = self._probe()
                except StudioError as error:
                    self._failed = (monotonic() + _AGAIN, error)
                    raise
            return self._found

    def _probe(self) -> tuple[Reading, Shape]:
        kinds = [Reading(parts, text) for parts in (False, True) for text in (False, True)]
        reading = read_as({kind: partial(self._written, kind) for kind in kinds})
        return reading, Probe(partial(self._written, reading), self.tokenizer.special_pattern).shape()

    # From messages to text

    def text(self, messages: Sequence[Message], tools: Sequence[str] = (), *, prompt: bool = False) -> str:
        """What the template writes; with `prompt`, it opens the model's turn. StudioError where it refuses."""
        return self._written(self._reading, messages, tools, prompt=prompt)

    def _written(
        self,
        reading: Reading,
        messages: Sequence[Message],
        tools: Sequence[str] = (),
        *,
        prompt: bool = False,
    ) -> str:
        return self._spans(reading, messages, tools, prompt=prompt)[0]

    def _spans(
        self,
        reading: Reading,
        messages: Sequence[Message],
        tools: Sequence[str] = (),
        *,
        prompt: bool = False,
    ) -> tuple[str, list[Span]]:
        """The text and the spans of its generation blocks."""
        variables = {
            **self.tokenizer.named,
            "messages": _shown(messages, reading),
            "tools": [json.loads(tool) for tool in tools] or None,
            "documents": None,
            "add_generation_prompt": prompt,
        }
        return sandbox.render_spans(self.template.source, variables, title=self.template.title)

    def _opened(self, messages: Sequence[Message], tools: Sequence[str]) -> str:
        """Up to where the model goes on. StudioError where the template refuses it."""
        text = self.text(messages, tools, prompt=True)
        return text if self.shape.generation_prompt else text + self.shape.header

    def prompt(self, messages: Sequence[Message], tools: Sequence[str] = ()) -> Rendered:
        """What a chat gives the model to go on from, and its earlier turns. StudioError where the template refuses."""
        learnt = [replace(message, trained=True) for message in messages]
        safe = guarded(learnt, tools, self.tokenizer.special_pattern)
        shown, hazards, _ = self._repaired(safe.messages, safe.tools)
        text = self._opened(shown, safe.tools)
        turns = () if self.marked else self._turns(text, shown, safe.tools, prompt=True)
        return self._finished(text, turns, shown, hazards, safe.guard)

    def render(self, conversation: Conversation) -> Rendered:
        """Text and turns of a conversation; where the template refuses it, `problem` says why.

        Raises the template's own StudioError where it is no Jinja or takes too long.
        """
        messages = conversation.messages
        if self._is_plain(messages, conversation.tools):
            found = self._direct(messages)
            if found is not None:
                return found
        safe = guarded(messages, conversation.tools, self.tokenizer.special_pattern)
        tools = safe.tools
        try:
            shown, hazards, text = self._repaired(safe.messages, tools)
        except Refused as error:
            return Rendered("", messages, hazards=("refused",), problem=error.text)
        turns = self._turns(text, shown, tools)
        if self.marked:
            turns = self._as_marked(turns, text, shown, tools)
        if hazards and not self._is_chat(text, safe.messages, tools):
            turns = tuple(replace(turn, like_chat=False) for turn in turns)
        if self._leaves_out(text, shown, tools) or any(turn.silent for turn in turns):
            hazards = (*hazards, "not_shown")
        if any(strips(self._said(text, turn), shown[turn.message].content) for turn in turns):
            hazards = (*hazards, "stripped")
        if self._holds_marks(messages):
            hazards = (*hazards, "mark_in_words")
        return self._finished(text, turns, shown, hazards, safe.guard)

    def _said(self, text: str, turn: Turn) -> str:
        """What stands in the text as a turn; where no token ends it, with the white space that may be its own."""
        end = turn.end
        if not (turn.ended or self.marked):
            end += len(text) - end - len(text[end:].lstrip())
        return text[turn.start : end]

    def _is_chat(self, text: str, messages: Sequence[Message], tools: Sequence[str]) -> bool:
        """Whether a chat that mends these messages as far as they go would give the same prompts."""
        try:
            return all(
                text.startswith(self._opened(self._repaired(messages[:index], tools)[0], tools))
                for index, message in enumerate(messages)
                if message.role == "assistant"
            )
        except Refused:
            return False

    def _is_plain(self, messages: Sequence[Message], tools: Sequence[str]) -> bool:
        """Whether these are plain turns of user and assistant, in which nobody writes special tokens or reasoning."""
        if tools or self.marked or not self.shape.direct:
            return False
        special, marks = self.tokenizer.special_pattern, self.tokenizer.in_words
        first = messages[0].role == "system" if messages else False
        if (first and self.shape.system != "written") or len(
            messages
        ) - first + 1 > 2 * self.shape.direct + 1:
            return False
        for index, message in enumerate(messages):
            content = message.content
            if message.role != (
                "system" if first and not index else ("user", "assistant")[(index - first) % 2]
            ):
                return False
            if message.reasoning or message.tool_calls or "think>" in content:
                return False
            pattern = special if message.role == "assistant" else marks
            if pattern is not None and pattern.search(content):
                return False
        return True

    def _direct(self, messages: tuple[Message, ...]) -> Rendered | None:
        """Plain turns, walked through in order: no person can have written a header or what closes a turn."""
        try:
            text = self.text(messages)
        except Refused:
            return None
        header, closers = self.shape.header, self.shape.closers
        turns: list[Turn] = []
        position, stripped = 0, False
        for index, message in enumerate(messages):
            words = message.content.strip()
            if message.role != "assistant":
                position = text.find(words, position)
                if position < 0:
                    return None
                continue
            start = text.find(header, position)
            ends = [(place, -len(c)) for c in closers if (place := text.find(c, start)) >= 0]
            if start < 0 or not ends:
                return None
            start += len(header)
            place, length = min(ends)
            if text.find(words, start, place) < 0:
                return None
            stripped = stripped or strips(text[start:place], message.content)
            position = place - length
            turns.append(Turn(index, start, position, True, place))
        if text.count(header) != len(turns):
            return None
        hazards: tuple[Hazard, ...] = ("stripped",) if stripped else ()
        return Rendered(text, messages, tuple(turns), hazards=hazards, plain=True)

    # What a template refuses

    def _repaired(
        self, messages: Sequence[Message], tools: Sequence[str]
    ) -> tuple[list[Message], tuple[Hazard, ...], str]:
        """The messages as the template takes them, what was changed for it, and the text.

        Raises the template's own StudioError where nothing helps.
        """
        first: Refused | None = None
        for attempt in _REPAIRS:
            changed = list(messages)
            if "systems_joined" in attempt and self.shape.system == "written":
                changed = _systems_joined(changed)
            if "system_merged" in attempt:
                changed = _system_merged(changed)
            elif self.shape.system == "ignored":
                changed = _system_merged(changed)
                attempt = (*attempt, "system_merged") if changed != list(messages) else attempt
            if "turns_merged" in attempt:
                changed = _turns_merged(changed)
            if attempt and changed == list(messages):
                continue
            try:
                return changed, tuple(attempt), self.text(changed, tools)
            except Refused as error:
                first = first or error
        assert first is not None
        raise first

    def _holds_marks(self, messages: Sequence[Message]) -> bool:
        """Whether somebody but the model writes a mark of the vocabulary that is not special, such as <think>."""
        pattern, special = self.tokenizer.in_words, self.tokenizer.special
        return pattern is not None and any(
            found not in special
            for message in messages
            if message.role != "assistant"
            for found in pattern.findall(message.content)
        )

    def _leaves_out(self, text: str, messages: Sequence[Message], tools: Sequence[str]) -> bool:
        """Whether something that a person gave is nowhere in the text."""
        said = [part for message in messages for part in _words(message)]
        said += [message.reasoning for message in messages]
        said += [
            part
            for message in messages
            for call in message.tool_calls
            for part in (call.name, call.arguments)
        ]
        for tool in tools:
            data = json.loads(tool)
            said.append(str(data.get("function", data).get("name", "")))
        return not all(is_written(part, text) for part in said)

    # Where the turns stand

    def _turns(
        self, text: str, messages: Sequence[Message], tools: Sequence[str], *, prompt: bool = False
    ) -> tuple[Turn, ...]:
        """The assistant's turns in the text of these messages, or in the prompt that they make."""
        if not any(message.role == "assistant" for message in messages):
            return ()
        fields = self._fields(text, messages, tools, self._opened if prompt else self.text)
        turns: list[Turn] = []
        before = 0
        for index, message in enumerate(messages):
            if message.role != "assistant":
                continue
            start, like_chat = self._start(text, messages, index, tools, fields, before)
            turn = self._turn(text, messages, index, tools, fields, start, like_chat)
            turn.silent = _is_silent(message, text[turn.start : turn.end])
            turns.append(turn)
            before = turn.end
        return tuple(turns)

    def _fields(
        self, text: str, messages: Sequence[Message], tools: Sequence[str], write: Callable[..., str]
    ) -> list[Field]:
        """Where everybody's words stand, in the order of the text, which `write` made of the messages."""
        said = "".join(part for message in messages for part in (message.content, message.reasoning, text))
        block = next((block for block in BLOCKS if is_free(block, said)), None)
        if block is None:
            return fields_in_order(messages, text)
        for roles in _MARKED:
            marks = Marks(messages, block, roles, text_arguments=self._reading.text_arguments)
            try:
                found = marks.fields(write(marks.messages, tools), text)
            except Refused:
                continue
            if found is not None:
                return found
        return fields_in_order(messages, text)

    def _start(
        self,
        text: str,
        messages: Sequence[Message],
        index: int,
        tools: Sequence[str],
        fields: Sequence[Field],
        before: int,
    ) -> tuple[int, bool]:
        """Where the model's words of a turn begin, and whether a chat would see the same text before them.

        `before` is where the turn before it ends. Where the text does not begin with a chat's prompt, the words follow
        as much of the prompt's header as stands before them.
        """
        try:
            prompt = self._opened(messages[:index], tools)
            if len(prompt) >= before and text.startswith(prompt):
                return len(prompt), True
        except Refused:  # a template may refuse to be asked so early
            prompt = ""
        own = min((f.start for f in fields if f.message == index and f.start >= before), default=None)
        later = min((f.start for f in fields if f.message > index and f.start >= before), default=len(text))
        limit = later if own is None else own
        earlier = [f.end for f in fields if f.message < index and before <= f.end <= limit]
        position = max(earlier, default=before)
        alike = len(shared(text, prompt))
        header = self._header(messages[:index], tools, prompt)
        if index and len(prompt) - len(header) < alike <= limit and alike >= position:
            return alike, False
        parts = pieces(header or self.shape.header)
        for count in range(len(parts), 0, -1):
            lead = "".join(parts[:count])
            place = text.find(lead, position, limit)
            if place >= 0:
                return place + len(lead), False
        if position <= alike <= limit:
            return alike, False
        return position if own is None else own, False

    def _header(self, messages: Sequence[Message], tools: Sequence[str], prompt: str) -> str:
        """What a chat's prompt has more than the text of the messages before it."""
        if not self.shape.generation_prompt:
            return self.shape.header
        try:
            so_far = self.text(messages, tools)
        except Refused:
            return ""
        return prompt[len(shared(so_far, prompt)) :]

    def _turn(
        self,
        text: str,
        messages: Sequence[Message],
        index: int,
        tools: Sequence[str],
        fields: Sequence[Field],
        start: int,
        like_chat: bool,
    ) -> Turn:
        """From its start to the end of what closes it, without what others say in between."""
        stretches: list[
            tuple[int, int, int]
        ] = []  # first and last of its words, and where another's words begin
        opened: tuple[int, int] | None = (start, start)
        other = start
        limit = len(text)
        for field in fields:
            if field.start < start or (field.message < index and field.end <= start):
                continue
            if field.message == index:
                opened = (opened[0] if opened else self._after_controls(text, other, field.start), field.end)
                continue
            if opened:
                stretches.append((*opened, field.start))
                opened = None
            other = field.end
            if messages[field.message].role != "tool":
                limit = field.start
                break
        if opened:
            stretches.append((*opened, limit))
        try:
            so_far = self.text(messages[: index + 1], tools)
        except Refused:
            so_far = ""
        alike = len(so_far) if text.startswith(so_far) else 0
        ends = [self._end(text, words, until, alike) for _, words, until in stretches]
        content = [f for f in fields if f.message == index and f.kind == "content" and f.start >= start]
        return Turn(
            index,
            start,
            ends[-1][1],
            ends[-1][2],
            start + len(text[start : ends[-1][0]].rstrip()),
            like_chat,
            tuple((first, end[1]) for (first, _, _), end in zip(stretches, ends, strict=True))
            if stretches[1:]
            else (),
            (content[-1].start, content[-1].end) if content else None,
        )

    def _after_controls(self, text: str, start: int, end: int) -> int:
        """Where the last special token between two places ends; `end` where there is none."""
        pattern = self.tokenizer.special_pattern
        return (
            max((match.end() for match in pattern.finditer(text, start, end)), default=end)
            if pattern
            else end
        )

    def _end(self, text: str, words: int, limit: int, alike: int) -> tuple[int, int, bool]:
        """Where a turn is closed, where the token that does so ends, and whether there is one.

        `words` is where the last of its words ends, `limit` where another's begin. Up to `alike` the text is the same
        as if nothing followed the turn.
        """
        if alike >= words:
            own = min(alike, limit)
            place, closer = max(
                ((text.rfind(c, words, own), c) for c in self.shape.closers), default=(-1, "")
            )
            if place >= 0:
                return place, place + len(closer), True
            closer = next((c for c in self.shape.closers if text.startswith(c, own)), "")
            own = words + len(text[words:own].rstrip())
            return own, own + len(closer), bool(closer)
        found = [(place, -len(c)) for c in self.shape.closers if (place := text.find(c, words, limit)) >= 0]
        place, length = min(found, default=(words, 0))
        return place, place - length, bool(found)

    def _as_marked(
        self, turns: Sequence[Turn], text: str, messages: Sequence[Message], tools: Sequence[str]
    ) -> tuple[Turn, ...]:
        """The turns as the template's own marks say; each block belongs to the turn that it stands in."""
        _, spans = self._spans(self._reading, messages, tools)
        owners = [
            max((n for n, turn in enumerate(turns) if turn.start < span[1]), default=0) for span in spans
        ]
        marked = []
        for number, turn in enumerate(turns):
            own = tuple(span for span, owner in zip(spans, owners, strict=True) if owner == number)
            if not own:
                marked.append(replace(turn, end=turn.start, words_end=turn.start, ended=False, blocks=()))
                continue
            end = own[-1][1]
            # Its first block may be another's words before it; a start behind them all was found wrongly.
            start = turn.start if turn.start < end else own[-1][0]
            words_end, ended = self._closed(text, start, end)
            marked.append(replace(turn, start=start, end=end, words_end=words_end, ended=ended, blocks=own))
        return tuple(marked)

    def _closed(self, text: str, start: int, end: int) -> tuple[int, bool]:
        """Where the words of a marked turn end, and whether a special token closes it."""
        pattern = self.tokenizer.special_pattern
        last = start + len(text[start:end].rstrip())
        closing = (
            [match.start() for match in pattern.finditer(text, start, last) if match.end() == last]
            if pattern
            else []
        )
        return start + len(text[start : min(closing, default=last)].rstrip()), bool(closing)

    # Special tokens in a person's words

    def _finished(
        self,
        text: str,
        turns: tuple[Turn, ...],
        messages: Sequence[Message],
        hazards: tuple[Hazard, ...],
        guard: str,
    ) -> Rendered:
        """The text without its guards."""
        pattern = self.tokenizer.special_pattern
        if not guard or pattern is None:
            return Rendered(text, tuple(messages), turns, None, hazards, marked=self.marked)
        clean = Unguarding(text, guard, pattern)
        moved = tuple(
            replace(
                turn,
                start=clean.place(turn.start),
                end=clean.place(turn.end),
                words_end=clean.place(turn.words_end),
                blocks=tuple(map(clean.span, turn.blocks)),
                content=clean.span(turn.content) if turn.content else None,
            )
            for turn in turns
        )
        said = tuple(rewritten(message, lambda text: text.replace(guard, "")) for message in messages)
        return Rendered(
            clean.text, said, moved, clean.controls, (*hazards, "special_text"), marked=self.marked
        )


def _words(message: Message) -> list[str]:
    """The content, or where it has reasoning in it, what is said before, within and after, as templates part it."""
    if message.role != "assistant" or "</think>" not in message.content:
        return [message.content]
    return _THOUGHT.split(message.content)


def _shown(messages: Sequence[Message], reading: Reading) -> list[dict[str, Any]]:
    """Messages as this template reads them."""
    shown = template_messages(messages)
    if reading == _PLAIN:
        return shown
    for message, said in zip(messages, shown, strict=True):
        if reading.parts:
            said["content"] = [{"type": "text", "text": message.content}]
        if reading.text_arguments:
            for call, made in zip(message.tool_calls, said.get("tool_calls", ()), strict=True):
                made["function"]["arguments"] = call.arguments
    return shown


def _is_silent(message: Message, text: str) -> bool:
    """Whether a turn that does nothing but call shows none of its calls."""
    if not message.tool_calls or message.content.strip() or message.reasoning.strip():
        return False
    return not any(is_written(call.name, text) for call in message.tool_calls)


def _systems_joined(messages: Sequence[Message]) -> list[Message]:
    """All system messages as one, before everything else."""
    system = [message for message in messages if message.role == "system"]
    if not system:
        return list(messages)
    first = replace(system[0], content="\n\n".join(message.content for message in system))
    return [first, *(message for message in messages if message.role != "system")]


def _system_merged(messages: Sequence[Message]) -> list[Message]:
    """The system messages' text at the head of the first user turn."""
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    rest = [message for message in messages if message.role != "system"]
    first = next((index for index, message in enumerate(rest) if message.role == "user"), None)
    if not system.strip() or first is None:
        return rest if system or len(rest) != len(messages) else list(messages)
    rest[first] = replace(rest[first], content=f"{system}\n\n{rest[first].content}")
    return rest


def _turns_merged(messages: Sequence[Message]) -> list[Message]:
    """Neighbours of one role as one turn; an assistant's only where both are learnt or neither is."""
    merged: list[Message] = []
    for message in messages:
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.role == message.role
            and message.role in ("user", "assistant", "system")
            and last.trained == message.trained
            and not (last.tool_calls or message.tool_calls or message.reasoning)
        ):
            merged[-1] = replace(last, content=f"{last.content}\n\n{message.content}")
        else:
            merged.append(message)
    return merged
