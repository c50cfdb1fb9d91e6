"""A conversation as text, and where in it the model's own words stand.

What a model has to write itself is what follows the prompt that a chat gives it, up to and with the token that ends its
turn. So the text of each prompt (the messages before a turn, with the generation prompt) is laid over the text of the
whole conversation: that works for any template. A template with `{% generation %}` marks says it itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from studio.domain.chat import Conversation, Message
from studio.domain.encoded import Hazard
from studio.domain.errors import StudioError
from studio.domain.text import Text
from studio.engine.guards import Unguarding, guarded
from studio.engine.templates import Template, render, render_spans
from studio.engine.tokenizer import Tokenizer

Span = tuple[int, int]

_GENERATION = re.compile(r"\{%[-+]?\s*generation\b")
_REPAIRS: tuple[tuple[Hazard, ...], ...] = (
    (),
    ("system_merged",),
    ("turns_merged",),
    ("system_merged", "turns_merged"),
)
# Words that no template says of itself.
_SYSTEM, _QUESTION, _ANSWER = "Zq7 system", "Zq7 question", "Zq7 answer"


@dataclass(frozen=True, slots=True)
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
    """Where the template marks what is generated itself: these instead of the whole."""


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True)
class Shape:
    """What a template does, found out by trying it."""

    header: str
    """What opens an assistant's turn: after it the model writes."""
    closing: tuple[str, ...]
    """What may follow an answer up to and with the end token, such as `<|im_end|>` or ` </s>`."""
    end_tokens: tuple[str, ...]
    direct: bool
    """Whether header, answer and closing stand side by side in every turn, and chats see the same text."""
    system: str
    """"written", "refused" or "ignored"."""
    generation_prompt: bool
    """Whether the template opens the turn itself when asked to; else the studio does, with `header`."""


@dataclass
class Renderer:
    """Renders conversations with one template for one tokenizer."""

    template: Template
    tokenizer: Tokenizer

    @cached_property
    def marked(self) -> bool:
        """Whether the template marks what is generated itself."""
        return bool(_GENERATION.search(self.template.source))

    @cached_property
    def shape(self) -> Shape:
        """Raises the template's own StudioError where it is no Jinja or refuses every conversation."""
        return _Probe(self).shape()

    # From messages to text

    def text(self, messages: Sequence[Message], tools: Sequence[str] = (), *, prompt: bool = False) -> str:
        """What the template writes; with `prompt`, up to where the model goes on. StudioError where it refuses."""
        text = render(self.template, messages, self.tokenizer, tools=tools, add_generation_prompt=prompt)
        return text + self.shape.header if prompt and not self.shape.generation_prompt else text

    def prompt(self, messages: Sequence[Message], tools: Sequence[str] = ()) -> Rendered:
        """What a chat gives the model to go on from. StudioError where the template refuses it."""
        safe = guarded(
            [replace(message, trained=True) for message in messages], tools, self.tokenizer.special_pattern
        )
        shown, hazards, _ = self._repaired(safe.messages, safe.tools)
        return self._finished(self.text(shown, safe.tools, prompt=True), (), shown, hazards, safe.guard)

    def render(self, conversation: Conversation) -> Rendered:
        """Text and turns of a conversation; where the template refuses it, `problem` says why."""
        messages = conversation.messages
        if self._is_plain(conversation):
            found = self._direct(messages)
            if found is not None:
                return found
        safe = guarded(messages, conversation.tools, self.tokenizer.special_pattern)
        tools = safe.tools
        try:
            shown, hazards, text = self._repaired(safe.messages, tools)
        except StudioError as error:
            return Rendered("", messages, hazards=("refused",), problem=error.text)
        turns = self._marked_turns(text, shown, tools) if self.marked else self._turns(text, shown, tools)
        if self._leaves_out(text, shown, tools):
            hazards = (*hazards, "not_shown")
        return self._finished(text, turns, shown, hazards, safe.guard)

    def _is_plain(self, conversation: Conversation) -> bool:
        if conversation.tools or self.marked or not self.shape.direct:
            return False
        pattern = self.tokenizer.special_pattern
        for message in conversation.messages:
            content = message.content
            if message.reasoning or message.tool_calls or message.role == "tool" or "</think>" in content:
                return False
            if pattern is not None and pattern.search(content):
                return False
            if message.role == "system" and self.shape.system != "written":
                return False
        return True

    def _direct(self, messages: tuple[Message, ...]) -> Rendered | None:
        """Plain turns of a template whose header no person can write: walked through in order."""
        try:
            text = render(self.template, messages, self.tokenizer)
        except StudioError:
            return None
        header, turns, position = self.shape.header, [], 0
        for index, message in enumerate(messages):
            content = message.content
            if message.role != "assistant":
                place = text.find(content, position)
                if place < 0:
                    place = text.find(content.strip(), position)
                if place < 0:
                    return None
                continue
            start = text.find(header, position)
            if start < 0:
                return None
            start += len(header)
            body = content if text.startswith(content, start) else content.strip()
            if not text.startswith(body, start):
                return None
            position = start + len(body)
            closing = next((c for c in self.shape.closing if text.startswith(c, position)), None)
            if closing is None:
                return None
            turns.append(Turn(index, start, position + len(closing), True, position))
            position += len(closing)
        return Rendered(text, messages, tuple(turns))

    # What a template refuses

    def _repaired(
        self, messages: Sequence[Message], tools: Sequence[str]
    ) -> tuple[list[Message], tuple[Hazard, ...], str]:
        """The messages as the template takes them, what was changed for it, and the text.

        Raises the template's own StudioError where nothing helps.
        """
        first: StudioError | None = None
        for attempt in _REPAIRS:
            changed = list(messages)
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
                return changed, tuple(attempt), render(self.template, changed, self.tokenizer, tools=tools)
            except StudioError as error:
                first = first or error
        assert first is not None
        raise first

    def _leaves_out(self, text: str, messages: Sequence[Message], tools: Sequence[str]) -> bool:
        """Whether something that a person gave is nowhere in the text."""
        said = [message.content.strip() for message in messages if "</think>" not in message.content]
        said += [message.reasoning.strip() for message in messages]
        said += [call.name for message in messages for call in message.tool_calls]
        for tool in tools:
            data = json.loads(tool)
            said.append(str(data.get("function", data).get("name", "")))
        return any(part and part not in text for part in said)

    # Where the turns stand

    def _turns(self, text: str, messages: Sequence[Message], tools: Sequence[str]) -> tuple[Turn, ...]:
        starts: list[tuple[int, int, bool]] = []
        position = 0
        for index, message in enumerate(messages):
            if message.role != "assistant":
                continue
            start, like_chat = self._start(text, messages, index, tools, position)
            starts.append((index, start, like_chat))
            position = start
        turns = []
        for number, (index, start, like_chat) in enumerate(starts):
            limit = starts[number + 1][1] if number + 1 < len(starts) else len(text)
            limit = self._limit(text, messages, index, tools, start, limit)
            words_end, end, ended = self._end(text, start, limit)
            turns.append(Turn(index, start, end, ended, words_end, like_chat))
        return tuple(turns)

    def _start(
        self, text: str, messages: Sequence[Message], index: int, tools: Sequence[str], position: int
    ) -> tuple[int, bool]:
        """Where the model's words of a turn begin, and whether a chat would see the same text before them."""
        try:
            prompt = self.text(messages[:index], tools, prompt=True)
        except StudioError:  # a template may refuse to be asked so early
            prompt = None
        if prompt is not None and text.startswith(prompt) and len(prompt) >= position:
            return len(prompt), True
        header = self.shape.header
        content = messages[index].content.strip()
        place = text.find(header + content, position) if header else -1
        if place >= 0:
            return place + len(header), False
        place = text.find(header, position) if header else -1
        if place >= 0:
            return place + len(header), False
        return max(text.find(content, position), position), False

    def _limit(
        self, text: str, messages: Sequence[Message], index: int, tools: Sequence[str], start: int, limit: int
    ) -> int:
        """Where a turn is over at the latest: what follows it belongs to others."""
        if index + 1 >= len(messages):
            return limit
        try:
            so_far = render(self.template, messages[: index + 1], self.tokenizer, tools=tools)
        except StudioError:
            so_far = ""
        if len(so_far) > start and text.startswith(so_far):
            return min(limit, len(so_far))
        content = messages[index].content.strip()
        place = text.find(content, start, limit)
        after = place + len(content) if place >= 0 else start
        following = messages[index + 1].content.strip()
        place = text.find(following, after, limit) if following else -1
        return place if place >= 0 else limit

    def _end(self, text: str, start: int, limit: int) -> tuple[int, int, bool]:
        """Where a turn's words end, where the token that closes it ends, and whether there is one."""
        found = [(text.rfind(token, start, limit), len(token)) for token in self.shape.end_tokens]
        place, length = max(found, default=(-1, 0))
        if place < 0:
            words = start + len(text[start:limit].rstrip())
            last = [token for token in self.tokenizer.special if token and text.endswith(token, start, words)]
            place, length = words - len(max(last, key=len, default="")), len(max(last, key=len, default=""))
        return start + len(text[start:place].rstrip()), place + length, length > 0

    def _marked_turns(self, text: str, messages: Sequence[Message], tools: Sequence[str]) -> tuple[Turn, ...]:
        """As the template's own marks say; each block belongs to the turn that it stands in."""
        _, spans = render_spans(self.template, messages, self.tokenizer, tools=tools)
        starts = []
        position = 0
        for index, message in enumerate(messages):
            if message.role == "assistant":
                position, like_chat = self._start(text, messages, index, tools, position)
                starts.append((index, position, like_chat))
        owners = [
            max((n for n, (_, start, _) in enumerate(starts) if start < span[1]), default=0) for span in spans
        ]
        turns = []
        for number, (index, start, like_chat) in enumerate(starts):
            own = tuple(span for span, owner in zip(spans, owners, strict=True) if owner == number)
            if not own:
                turns.append(Turn(index, start, start, False, start, like_chat))
                continue
            words_end, _, ended = self._end(text, start, own[-1][1])
            turns.append(Turn(index, min(start, own[0][1]), own[-1][1], ended, words_end, like_chat, own))
        return tuple(turns)

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
            return Rendered(text, tuple(messages), turns, None, hazards)
        clean = Unguarding(text, guard, pattern)
        moved = tuple(
            replace(
                turn,
                start=clean.place(turn.start),
                end=clean.place(turn.end),
                words_end=clean.place(turn.words_end),
                blocks=tuple(map(clean.span, turn.blocks)),
            )
            for turn in turns
        )
        said = tuple(
            replace(m, content=m.content.replace(guard, ""), reasoning=m.reasoning.replace(guard, ""))
            for m in messages
        )
        return Rendered(clean.text, said, moved, clean.controls, (*hazards, "special_text"))


class _Probe:
    """Tries a template with small conversations."""

    def __init__(self, renderer: Renderer) -> None:
        self.template, self.tokenizer = renderer.template, renderer.tokenizer
        self.refusal: StudioError | None = None

    def shape(self) -> Shape:
        short = [Message("user", _QUESTION), Message("assistant", _ANSWER)]
        long = [*short, Message("user", _QUESTION + " 2"), Message("assistant", _ANSWER + " 2")]
        system = self._system(short)
        written, prompt = self._text(short), self._text(short[:1], prompt=True)
        before = self._text(short[:1])
        if written is None and system == "refused" and self.refusal is not None:
            raise self.refusal
        if written is None or prompt is None or _ANSWER not in written:
            return Shape("", (), (), False, system, True)
        lead = written[len(prompt) : written.find(_ANSWER)] if written.startswith(prompt) else ""
        opens = prompt != before or not lead.strip()
        header = _suffix(before, prompt) if opens else lead
        closing, end_tokens, direct = set(), set(), written.startswith(prompt)
        for messages in (short, long, [Message("system", _SYSTEM), *long] if system == "written" else long):
            text = self._text(messages)
            if text is None:
                direct = False
                continue
            for index, message in enumerate(messages):
                if message.role != "assistant":
                    continue
                place = text.find(message.content)
                end = self._end(text, place + len(message.content))
                if end is None:
                    direct = False
                    continue
                closing.add(text[place + len(message.content) : end[0]])
                end_tokens.add(end[1])
                opening = self._text(messages[:index], prompt=True)
                opening = opening + header if opening is not None and not opens else opening
                direct = direct and opening is not None and text.startswith(opening) and len(opening) == place
        pattern = self.tokenizer.special_pattern
        direct = direct and bool(pattern and pattern.search(header))
        longest = tuple(sorted(closing, key=len, reverse=True))
        return Shape(header, longest, tuple(sorted(end_tokens)), direct, system, opens)

    def _system(self, messages: list[Message]) -> str:
        text = self._text([Message("system", _SYSTEM), *messages])
        return "refused" if text is None else "written" if _SYSTEM in text else "ignored"

    def _text(self, messages: Sequence[Message], *, prompt: bool = False) -> str | None:
        try:
            return render(self.template, messages, self.tokenizer, add_generation_prompt=prompt)
        except StudioError as error:
            self.refusal = self.refusal or error
            return None

    def _end(self, text: str, start: int) -> tuple[int, str] | None:
        """The end of the first special token after an answer, if only white space lies before it, and the token."""
        position = start
        while position < len(text) and text[position].isspace():
            position += 1
        tokens = [token for token in self.tokenizer.special if token and text.startswith(token, position)]
        if not tokens:
            return None
        token = max(tokens, key=len)
        return position + len(token), token


def _suffix(before: str | None, prompt: str) -> str:
    """What a generation prompt adds to the text before it."""
    if before is not None and prompt.startswith(before):
        return prompt[len(before) :]
    return ""


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
