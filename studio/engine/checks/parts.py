"""The texts of a conversation by what they are, so that each check looks at, and repairs, those that it means."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

from studio.domain.chat import Conversation, Message
from studio.engine.checks.text import is_json
from studio.engine.turns import INLINE_REASONING

Part = Literal["content", "result", "reasoning", "arguments"]
"""What people and the assistant say; what a tool gave back; what was thought; what a tool was called with."""
EVERYTHING: tuple[Part, ...] = ("content", "result", "reasoning", "arguments")

Rewrite = Callable[[str], str]


def texts(conversation: Conversation, *parts: Part) -> Iterator[str]:
    """The texts that are such parts. Arguments come as `key: value`, one a value, so that a key tells what it holds."""
    for message in conversation.messages:
        if ("result" if message.role == "tool" else "content") in parts:
            yield message.content
        if message.reasoning and "reasoning" in parts:
            yield message.reasoning
        if message.tool_calls and "arguments" in parts:
            for call in message.tool_calls:
                yield from _values("", json.loads(call.arguments))


def rewritten(message: Message, function: Rewrite, *parts: Part) -> Message:
    """The message with such parts rewritten. Arguments, and a content that is JSON, stay JSON."""
    return replace(
        message,
        content=_rewritten_text(message.content, function)
        if _content_part(message) in parts
        else message.content,
        reasoning=function(message.reasoning)
        if message.reasoning and "reasoning" in parts
        else message.reasoning,
        tool_calls=tuple(
            replace(call, arguments=_rewritten_json(call.arguments, function)) for call in message.tool_calls
        )
        if "arguments" in parts
        else message.tool_calls,
    )


def _content_part(message: Message) -> Part:
    return "result" if message.role == "tool" else "content"


def _rewritten_text(text: str, function: Rewrite) -> str:
    new = function(text)
    return _rewritten_json(text, function) if new != text and is_json(text) and not is_json(new) else new


def _rewritten_json(text: str, function: Rewrite) -> str:
    """JSON text with each value rewritten as `key: value`; as it was written where nothing changes."""
    value = json.loads(text)
    new = _rewritten_value("", value, function)
    return text if new == value else json.dumps(new, ensure_ascii=False)


def _rewritten_value(key: str, value: Any, function: Rewrite) -> Any:
    if isinstance(value, dict):
        names = [function(name) for name in value]
        if len(set(names)) < len(names):  # two keys would become one
            names = list(value)
        return {
            name: _rewritten_value(name, inner, function)
            for name, inner in zip(names, value.values(), strict=True)
        }
    if isinstance(value, list):
        return [_rewritten_value(key, inner, function) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    head = f"{key}: " if key else ""
    old = f"{head}{value}"
    new = function(old)
    return value if new == old else new.removeprefix(head)


def _values(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _values(name, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _values(key, inner)
    elif value is not None and not isinstance(value, bool):
        yield f"{key}: {value}" if key else str(value)


# ---- what the assistant says ----------------------------------------------------------------------------------------


def answer(text: str) -> str:
    """A content without the reasoning at its start.

    >>> answer("<think>North.</think>\\n\\nCold.")
    '\\n\\nCold.'
    """
    thought = INLINE_REASONING.match(text) if "<think>" in text else None
    return text[thought.end() :] if thought else text


def answers(conversation: Conversation) -> list[str]:
    return [answer(text) for text in conversation.responses]


def last_answer(conversation: Conversation) -> str:
    """What the last turn of the assistant says, or '': nothing where it only calls a tool."""
    return answer(conversation.response)


def last_turn(conversation: Conversation) -> Message | None:
    """The last turn of the assistant."""
    for message in reversed(conversation.messages):
        if message.role == "assistant":
            return message
    return None


def speaks(message: Message | None) -> bool:
    """Whether a turn answers or calls a tool: reasoning alone is not said to anyone."""
    return message is not None and (bool(message.tool_calls) or not is_blank(answer(message.content)))


def is_blank(text: str) -> bool:
    """Whether nothing in a text can be seen: spaces, and marks without a width.

    >>> is_blank(" \\u200b\\n"), is_blank("0")
    (True, False)
    """
    return not text.strip() or (len(text) < 20 and not any(c.isprintable() and not c.isspace() for c in text))


def calls(message: Message) -> str:
    """The calls of a turn, the same text for the same calls: without ids and however their JSON is written.

    >>> from studio.domain.chat import ToolCall
    >>> calls(Message("assistant", "", tool_calls=(ToolCall("now", '{"b":1, "a":2}', "call_7"),)))
    'now({"a": 2, "b": 1})'
    """
    if not message.tool_calls:
        return ""
    return " ".join(
        f"{call.name}({json.dumps(json.loads(call.arguments), ensure_ascii=False, sort_keys=True)})"
        for call in message.tool_calls
    )


def shown(conversation: Conversation) -> str:
    """All of it as one text in which a change can be shown."""
    return "\n".join(_shown_turn(message) for message in conversation.messages)


def _shown_turn(message: Message) -> str:
    said = [f"[{message.reasoning}]"] if message.reasoning else []
    said += [message.content] if message.content or not (said or message.tool_calls) else []
    said += [f"{call.name}({call.arguments})" for call in message.tool_calls]
    return f"{message.role}: {' '.join(said)}"
