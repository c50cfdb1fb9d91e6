"""Special-token text in a person's words, kept apart from the template's own while a conversation is rendered."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from studio.domain.chat import Message, ToolCall
from studio.domain.errors import StudioError

Span = tuple[int, int]

_OF_MESSAGE = ("content", "reasoning", "name", "tool_call_id")
_OF_CALL = ("name", "arguments", "id")
_GUARDS = tuple(chr(code) for code in range(0x10FFFD, 0x10FFE0, -1))


@dataclass(frozen=True)
class Guarded:
    """Messages and tools in which a guard, a character that stands for nothing, breaks every special token's text."""

    messages: list[Message]
    tools: tuple[str, ...]
    guard: str = ""
    """Empty where nothing had to be broken."""


def guarded(messages: Sequence[Message], tools: Sequence[str], special: re.Pattern[str] | None) -> Guarded:
    """The conversation, safe to be rendered."""
    every = "\n".join([*(text for message in messages for text in _texts(message)), *tools])
    if special is None or not special.search(every):
        return Guarded(list(messages), tuple(tools))
    held = set(every)
    guard = next((guard for guard in _GUARDS if guard not in held), None)
    if guard is None:
        raise StudioError(
            "The text holds private-use characters of every block that the studio could mark it with.",
            "Remove them: they stand for nothing.",
        )

    def broken(text: str) -> str:
        return special.sub(lambda match: _broken(match[0], guard), text)

    safe = [rewritten(message, broken) for message in messages]
    return Guarded(safe, tuple(broken(tool) for tool in tools), guard)


def _broken(token: str, guard: str) -> str:
    """With a guard inside, or on both sides where there is no inside."""
    return token[0] + guard + token[1:] if len(token) > 1 else guard + token + guard


def rewritten(message: Message, change: Callable[[str], str]) -> Message:
    """The message with `change` made to every text of the file's that a template may write."""

    def fields(said: Message | ToolCall, names: tuple[str, ...]) -> dict[str, Any]:
        return {name: change(getattr(said, name)) for name in names}

    calls = tuple(replace(call, **fields(call, _OF_CALL)) for call in message.tool_calls)
    return replace(message, **fields(message, _OF_MESSAGE), tool_calls=calls)


def _texts(message: Message) -> list[str]:
    calls = [getattr(call, name) for call in message.tool_calls for name in _OF_CALL]
    return [*(getattr(message, name) for name in _OF_MESSAGE), *calls]


class Unguarding:
    """From a guarded text to the text itself: where each character went, which special tokens are the template's."""

    def __init__(self, text: str, guard: str, special: re.Pattern[str]) -> None:
        self._places = [place for place, character in enumerate(text) if character == guard]
        self.text = text.replace(guard, "")
        self.controls = tuple(
            self.span(match.span())
            for match in special.finditer(text)
            if len(match[0]) > 1 or text[match.start() - 1 : match.start()] != guard
        )

    def place(self, position: int) -> int:
        return position - bisect_left(self._places, position)

    def span(self, span: Span) -> Span:
        return self.place(span[0]), self.place(span[1])
