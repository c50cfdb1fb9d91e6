"""Where each message's words stand in a rendered text: it is rendered once more with a pair of marks around them.

The marks are private-use characters that stand for nothing, so a template writes them like any letter. White space at
the ends of a text stays outside, as many templates strip it, and so do the tags of reasoning, as many look for them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from studio.domain.chat import Message, ToolCall

Kind = Literal["content", "reasoning", "call"]

_TAG = re.compile(r"</?think>")


@dataclass(frozen=True, slots=True)
class Field:
    """Some of a message's words: characters [start, end) of the text. Of a call, they are a text in its arguments."""

    message: int
    kind: Kind
    start: int
    end: int


class Marks:
    """The messages of the given roles with a mark before and after all their words, from the character `first` on.

    `text_arguments`: the template writes a call's arguments as the text that they are, not as an object.
    """

    def __init__(
        self, messages: Sequence[Message], first: int, roles: Sequence[str], *, text_arguments: bool = False
    ) -> None:
        self._first, self._text_arguments = first, text_arguments
        self._owners: list[tuple[int, Kind]] = []
        self.messages = [
            self._marked(message, index) if message.role in roles else message
            for index, message in enumerate(messages)
        ]

    def fields(self, marked: str, text: str) -> list[Field] | None:
        """Where the words stand, in the text's order; None where the template writes another text for the marks."""
        last = self._first + 2 * len(self._owners)
        pieces: list[str] = []
        found: list[Field] = []
        opened: dict[int, int] = {}
        place = position = 0
        for match in re.finditer(f"[{chr(self._first)}-{chr(last)}]", marked):
            pieces.append(marked[position : match.start()])
            place += match.start() - position
            position = match.end()
            number, closing = divmod(ord(match[0]) - self._first, 2)
            if closing:
                found.append(Field(*self._owners[number], opened.pop(number, place), place))
            else:
                opened[number] = place
        pieces.append(marked[position:])
        if "".join(pieces) != text:
            return None
        found += [Field(*self._owners[number], place, place) for number, place in opened.items()]
        return sorted(found, key=lambda field: (field.start, field.end))

    def _marked(self, message: Message, index: int) -> Message:
        return replace(
            message,
            content=self._around(message.content, index, "content"),
            reasoning=self._around(message.reasoning, index, "reasoning"),
            tool_calls=tuple(self._call(call, index) for call in message.tool_calls),
        )

    def _call(self, call: ToolCall, index: int) -> ToolCall:
        """Only texts inside the arguments: the name may be written again by a tool's result."""
        try:
            arguments = None if self._text_arguments else json.loads(call.arguments)
        except ValueError:
            arguments = None
        if arguments is None:
            return replace(call, arguments=self._around(call.arguments, index, "call"))
        return replace(call, arguments=json.dumps(self._leaves(arguments, index), ensure_ascii=False))

    def _leaves(self, value: Any, index: int) -> Any:
        if isinstance(value, str):
            return self._around(value, index, "call")
        if isinstance(value, list):
            return [self._leaves(item, index) for item in value]
        if isinstance(value, dict):
            return {key: self._leaves(item, index) for key, item in value.items()}
        return value

    def _around(self, text: str, message: int, kind: Kind) -> str:
        parts, position = [], 0
        for tag in [*_TAG.finditer(text), None]:
            piece = text[position : tag.start() if tag else len(text)]
            body = piece.strip()
            if body:
                start = piece.index(body)
                opening = self._first + 2 * len(self._owners)
                self._owners.append((message, kind))
                piece = f"{piece[:start]}{chr(opening)}{body}{chr(opening + 1)}{piece[start + len(body) :]}"
            parts.append(piece)
            if tag:
                parts.append(tag[0])
                position = tag.end()
        return "".join(parts)


def fields_in_order(messages: Sequence[Message], text: str) -> list[Field]:
    """The same by looking for the words one after the other, which may take the one for the other."""
    found, position = [], 0
    for index, message in enumerate(messages):
        words = message.content.strip()
        place = text.find(words, position) if words else -1
        if place >= 0:
            position = place + len(words)
            found.append(Field(index, "content", place, position))
    return found
