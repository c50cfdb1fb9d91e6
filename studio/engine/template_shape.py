"""What a chat template does, found out by trying it with small conversations."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from studio.domain.chat import Message, ToolCall
from studio.engine.sandbox import Refused

# Words that no template says of itself.
_SYSTEM, _QUESTION, _ANSWER, _RESULT, _CITY = (
    f"Zq7 {word}" for word in ("system", "question", "answer", "result", "city")
)
_TOOL = '{"type": "function", "function": {"name": "zq7", "description": "Zq7", "parameters": {"type": "object"}}}'
_ASKED = Message("user", _QUESTION)
_SHORT = (_ASKED, Message("assistant", _ANSWER))
_LONG = (*_SHORT, Message("user", f"{_QUESTION} 2"), Message("assistant", f"{_ANSWER} 2"))
_CALLED = (
    _ASKED,
    Message("assistant", "", tool_calls=(ToolCall("zq7", f'{{"city": "{_CITY}"}}', "callzq701"),)),
)
_ANSWERED = (
    *_CALLED,
    Message("tool", _RESULT, name="zq7", tool_call_id="callzq701"),
    Message("assistant", _ANSWER),
)
_TAG = re.compile(r"<[^<>\s]+>")
_PIECE = re.compile(rf"{_TAG.pattern}|\s|[^<\s]+|<")


class Write(Protocol):
    """The template's text of messages. Raises Refused where it refuses them."""

    def __call__(
        self, messages: Sequence[Message], tools: Sequence[str] = (), *, prompt: bool = False
    ) -> str: ...


@dataclass(frozen=True)
class Reading:
    """How a template wants its messages."""

    parts: bool = False
    """Contents as lists of parts, as templates of models that see images read them."""
    text_arguments: bool = False
    """Arguments of calls as JSON text, not as objects."""


@dataclass(frozen=True)
class Shape:
    """What a template does."""

    header: str = ""
    """What opens an assistant's turn: after it the model writes."""
    closers: tuple[str, ...] = ()
    """The special tokens that close a turn, after answers and after calls; the longest first."""
    stops: tuple[str, ...] = ()
    """Those at which a model has to stop."""
    direct: int = 0
    """Up to how many turns, if user and assistant alternate, a text can be walked through: after each header the model
    writes, up to the next closing token, and a chat's prompt ends with the same header."""
    system: str = "written"
    """"written", "refused" or "ignored"."""
    generation_prompt: bool = True
    """Whether the template opens the turn itself when asked to; else the studio does, with `header`."""


def read_as(readings: dict[Reading, Write]) -> Reading:
    """The first of the readings with which a template shows an answer, and then a call."""

    def shows(parts: bool, text_arguments: bool, messages: Sequence[Message], words: str) -> bool:
        try:
            return words in readings[Reading(parts, text_arguments)](
                messages, (_TOOL,) if words == _CITY else ()
            )
        except Refused:
            return False

    parts = not shows(False, False, _SHORT, _ANSWER) and shows(True, False, _SHORT, _ANSWER)
    text = not shows(parts, False, _CALLED, _CITY) and shows(parts, True, _CALLED, _CITY)
    return Reading(parts, text)


def pieces(header: str) -> list[str]:
    """A header in its smallest parts.

    >>> pieces("<|im_start|>assistant\\n")
    ['<|im_start|>', 'assistant', '\\n']
    """
    return _PIECE.findall(header)


def shared(one: str, other: str) -> str:
    """What two texts begin with alike, without a part of a <tag>.

    >>> shared("a<|end|>\\n<|user|>", "a<|end|>\\n<|system|>")
    'a<|end|>\\n'
    """
    length, longest = 0, min(len(one), len(other))
    while length < longest:  # halving: letter by letter, a long conversation would take seconds
        middle = (length + longest + 1) // 2
        if one.startswith(other[length:middle], length):
            length = middle
        else:
            longest = middle - 1
    opening = one.rfind("<", 0, length)
    tags = [_TAG.match(text, opening) for text in (one, other) if opening >= 0]
    return one[: opening if any(tag and tag.end() > length for tag in tags) else length]


class Probe:
    """Tries a template. `special` finds the text of any special token."""

    def __init__(self, write: Write, special: re.Pattern[str] | None) -> None:
        self._write, self._special = write, special
        self._refusal: Refused | None = None

    def shape(self) -> Shape:
        """Raises the template's own StudioError where it is no Jinja, takes too long or refuses every conversation."""
        system = self._system()
        written, before, prompt = self._text(_SHORT), self._text([_ASKED]), self._text([_ASKED], prompt=True)
        if written is None and system == "refused" and self._refusal is not None:
            raise self._refusal
        if written is None or prompt is None or _ANSWER not in written:
            return Shape(system=system)
        lead = written[len(prompt) : written.find(_ANSWER)] if written.startswith(prompt) else ""
        opens = prompt != before or not lead.strip()
        header = prompt[len(shared(before or "", prompt)) :] if opens else lead
        after_answer, after_call = self._after_answer(written), self._after_call()
        closers = _longest_first(after_answer.closers | after_call.closers)
        stops = tuple(sorted(after_answer.stops | after_call.stops))
        direct = self._direct(header, opens, closers, with_system=system == "written")
        return Shape(header, closers, stops, direct, system, opens)

    def _after_answer(self, written: str) -> _Ends:
        """What closes an answer: as the last words of all, and before another question."""
        last = written[written.rfind(_ANSWER) + len(_ANSWER) :]
        longer = self._text(_LONG)
        inner = _between(longer, _ANSWER, f"{_QUESTION} 2")
        return self._ends(last, inner, after_call=False)

    def _after_call(self) -> _Ends:
        """What closes a turn that calls a tool: as the last words of all, and before the tool's result."""
        called, answered = self._text(_CALLED, (_TOOL,)), self._text(_ANSWERED, (_TOOL,))
        if called is None or _CITY not in called:
            return _Ends()
        return self._ends(
            called[called.rfind(_CITY) + len(_CITY) :], _between(answered, _CITY, _RESULT), after_call=True
        )

    def _ends(self, last: str, inner: str | None, *, after_call: bool) -> _Ends:
        """Closing tokens are those that stand at the end of all as they do before another's words.

        Where these have none in common, each has its own: then what the next turn begins with ends this one. After a
        call, the tokens of the call itself come first.
        """
        common = last if inner is None else shared(last, inner)
        runs = self._runs(common)
        found = _Ends()
        if runs:
            self._add(found, common, runs[-1] if after_call else runs[0])
            return found
        runs = self._runs(last)
        if runs:
            self._add(found, last, runs[-1] if after_call else runs[0])
        first = self._special.search(inner or "", len(common)) if self._special else None
        if inner is not None and first is not None:
            self._add(found, inner, first.span(), stops=not runs)
        return found

    def _add(self, ends: _Ends, tail: str, run: tuple[int, int], *, stops: bool = True) -> None:
        closer = tail[run[0] : run[1]]
        ends.closers.add(closer)
        if stops and self._special is not None:
            ends.stops.add(self._special.findall(closer)[-1])

    def _runs(self, text: str) -> list[tuple[int, int]]:
        """Where special tokens stand, those side by side as one."""
        runs: list[tuple[int, int]] = []
        for match in self._special.finditer(text) if self._special else ():
            if runs and runs[-1][1] == match.start():
                runs[-1] = (runs[-1][0], match.end())
            else:
                runs.append(match.span())
        return runs

    def _direct(self, header: str, opens: bool, closers: Sequence[str], *, with_system: bool) -> int:
        """For how many turns a text can be walked through from header to closing token: 0, 1 or any number."""
        if self._special is None or not self._special.search(header) or not closers:
            return 0
        system = (Message("system", _SYSTEM),) if with_system else ()
        if not all(
            self._walks(messages, header, opens, closers) for messages in (_SHORT, (*system, *_SHORT))
        ):
            return 0
        longer = (_LONG, (*system, *_LONG), _LONG[:-1])
        return sys.maxsize if all(self._walks(messages, header, opens, closers) for messages in longer) else 1

    def _walks(self, messages: Sequence[Message], header: str, opens: bool, closers: Sequence[str]) -> bool:
        """Whether each turn's header ends where a chat's prompt does, and the first closing token ends its answer."""
        text = self._text(messages)
        answers = [index for index, message in enumerate(messages) if message.role == "assistant"]
        if text is None or text.count(header) != len(answers):
            return False
        for index in answers:
            prompt = self._text(messages[:index], prompt=True)
            prompt = prompt + header if prompt is not None and not opens else prompt
            if prompt is None or not text.startswith(prompt) or not prompt.endswith(header):
                return False
            words = text.find(messages[index].content, len(prompt))
            closed = min((place for c in closers if (place := text.find(c, len(prompt))) >= 0), default=-1)
            if (
                words < 0
                or text[len(prompt) : closed].rstrip() != text[len(prompt) : words] + messages[index].content
            ):
                return False
        return True

    def _system(self) -> str:
        text = self._text([Message("system", _SYSTEM), *_SHORT])
        return "refused" if text is None else "written" if _SYSTEM in text else "ignored"

    def _text(
        self, messages: Sequence[Message], tools: Sequence[str] = (), *, prompt: bool = False
    ) -> str | None:
        try:
            return self._write(messages, tools, prompt=prompt)
        except Refused as error:
            self._refusal = self._refusal or error
            return None


@dataclass
class _Ends:
    """What closes turns of one kind."""

    closers: set[str] = field(default_factory=set)
    stops: set[str] = field(default_factory=set)


def _between(text: str | None, one: str, other: str) -> str | None:
    """What stands after the first `one` and before the first `other` after it."""
    if text is None or one not in text:
        return None
    start = text.find(one) + len(one)
    end = text.find(other, start)
    return text[start:end] if end >= 0 else None


def _longest_first(texts: set[str]) -> tuple[str, ...]:
    return tuple(sorted(texts, key=lambda text: (-len(text), text)))
