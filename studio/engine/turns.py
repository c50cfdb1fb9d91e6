"""The turns of a conversation and its tools, as OpenAI and ShareGPT write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from studio.domain.chat import Message, Role, ToolCall
from studio.engine.fields import (
    Unconvertible,
    as_json,
    field,
    is_blank,
    key_of,
    parsed,
    refuse_half_characters,
    text_of,
)
from studio.engine.records import kind_of

INLINE_REASONING = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
"""Reasoning that is written into a content, before the answer."""

REASONING = ("reasoning_content", "reasoning", "thinking")
_TOOLS = ("tools", "functions")
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool_calls": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "ipython": "tool",
}
_EXCHANGES = (
    ("human", "assistant"),
    ("user", "assistant"),
    ("input", "output"),
    ("question", "answer"),
    ("prompt", "response"),
    ("prompt", "completion"),
)
"""Names by which question and answer stand in one turn, as in ShareGPT's Chinese files and in XTuner's."""
_CALLING = ("function_call", "tool_call", "tool_calls")
"""Roles whose words are a call, as JSON."""
_WRITTEN_CALL = re.compile(r"[<\[{(]|\bAction\b")
"""What a call has that is written into a content: tags, brackets, or ReAct's word for it."""


def read_turns(turns: Iterable[Any]) -> list[Message]:
    """The messages of a list of turns. Raises Unconvertible, which names the turn by its number from 1.

    A turn that only calls belongs to the assistant's turn right before it, as ShareGPT writes each call as a turn.

    >>> read_turns([{"from": "human", "value": "q"}, {"from": "function_call", "value": '{"name": "f"}'}])[1].tool_calls
    (ToolCall(name='f', arguments='{}', id=''),)
    """
    said: list[Message] = []
    for number, written in enumerate(turns, start=1):
        for turn in _exchange(_turn(written, number)):
            message = _message(turn, number)
            if message.role == "tool":
                _must_answer(message, said, number)
            if said and _role_name(turn) in _CALLING and _only_calls(message, after=said[-1]):
                message = replace(said[-1], tool_calls=(*said.pop().tool_calls, *message.tool_calls))
            said.append(message)
    return said


def _exchange(turn: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """A turn by itself; the question and the answer that some files write as one, as two or three turns.

    >>> [turn["role"] for turn in _exchange({"system": "s", "human": "q", "assistant": "a"})]
    ['system', 'user', 'assistant']
    """
    if "role" in turn or "from" in turn:
        return (turn,)
    pair = next((pair for pair in _EXCHANGES if turn.keys() >= set(pair)), None)
    if pair is None:
        return (turn,)
    said = zip(("user", "assistant"), pair, strict=True)
    turns = [{"role": role, "content": turn[name]} for role, name in said]
    system = turn.get("system")
    return turns if is_blank(system) else [{"role": "system", "content": system}, *turns]


def _only_calls(message: Message, after: Message) -> bool:
    """Whether a turn adds nothing but calls to the one before it."""
    return after.role == "assistant" and message == Message(
        "assistant", "", after.trained, tool_calls=message.tool_calls
    )


def _must_answer(result: Message, said: Sequence[Message], number: int) -> None:
    """Unconvertible where no call stands before a tool's result. A call without an id is answered by what follows."""
    if result.tool_call_id and any(
        call.id == result.tool_call_id for message in said for call in message.tool_calls
    ):
        return
    caller = next((message for message in reversed(said) if message.role != "tool"), None)
    if caller and caller.role == "assistant":
        named = all(call.id for call in caller.tool_calls)
        if caller.tool_calls and not (named and result.tool_call_id):
            return
        if not caller.tool_calls and _WRITTEN_CALL.search(caller.content):
            return
    if result.tool_call_id:
        raise Unconvertible(
            "Row {row} ({place}): the field {field} of its message {number} is {id}, but no call before it has this "
            "id.",
            field="tool_call_id",
            number=number,
            id=result.tool_call_id,
        )
    raise Unconvertible(
        "Row {row} ({place}): the field {field} of its message {number} says that it is a tool's result, but no call "
        "stands before it.",
        field="role",
        number=number,
    )


def _turn(written: Any, number: int) -> Mapping[str, Any]:
    """A turn with its fields in lower case."""
    if not isinstance(written, Mapping):
        raise Unconvertible(
            "Row {row} ({place}): its message {number} is {kind}, not an object.",
            number=number,
            kind=kind_of(written),
        )
    if all(key.islower() for key in written):
        return written
    return {**{key.strip().lower(): value for key, value in written.items()}, **written}


def _first(turn: Mapping[str, Any], *names: str) -> str:
    """The first of the names that the turn has, or ''."""
    return next((name for name in names if name in turn), "")


def _message(turn: Mapping[str, Any], number: int) -> Message:
    role = _role(turn, number)
    content, calls = _said(turn, role, number)
    return Message(
        role,
        content,
        role != "assistant" or _is_trained(turn, number),
        next(iter(_reasonings(turn, number).values()), ""),
        calls,
        text_of(turn.get("name"), "name", number),
        text_of(turn.get("tool_call_id"), "tool_call_id", number),
    )


def _role_name(turn: Mapping[str, Any]) -> str:
    return str(turn.get(_first(turn, "role", "from"))).strip().lower()


def _role(turn: Mapping[str, Any], number: int) -> Role:
    key = _first(turn, "role", "from")
    if not key:
        raise Unconvertible(
            "Row {row} ({place}): its message {number} has no field role.", "missing_field", number=number
        )
    role = _ROLES.get(_role_name(turn))
    if role is None:
        raise Unconvertible(
            "Row {row} ({place}): its message {number} has the unknown role {role}.",
            number=number,
            role=str(turn[key]),
        )
    return role


def _is_trained(turn: Mapping[str, Any], number: int) -> bool:
    """OpenAI's `weight` of an assistant's message: 0 to read it only, 1 (or nothing) to train it."""
    weight = turn.get("weight")
    if weight is None or weight != weight:
        return True
    if weight not in (0, 1):
        raise Unconvertible(
            "Row {row} ({place}): its message {number} has the weight {weight}; it can only be 0 or 1.",
            number=number,
            weight=str(weight),
        )
    return weight != 0


def _reasonings(turn: Mapping[str, Any], number: int) -> dict[str, str]:
    """What the turn says of its reasoning, by field; the first one counts."""
    keys = [key for key in REASONING if turn.get(key) not in (None, "")]
    for key in keys:
        if not isinstance(turn[key], str):
            raise Unconvertible(
                "Row {row} ({place}): the field {field} of its message {number} holds {kind}, not text.",
                field=key,
                number=number,
                kind=kind_of(turn[key]),
            )
    return {key: turn[key] for key in sorted(keys, key=lambda key: not turn[key].strip())}


def other_reasoning(turns: Iterable[Any]) -> list[str]:
    """Fields of well-formed turns with another reasoning than the one that counts."""
    found: list[str] = []
    for number, turn in enumerate(turns, start=1):
        texts = _reasonings(_turn(turn, number), number)
        found += [key for key, text in texts.items() if text != next(iter(texts.values()))]
    return found


# ---- content and calls ----------------------------------------------------------------------------------------------


def _said(turn: Mapping[str, Any], role: Role, number: int) -> tuple[str, tuple[ToolCall, ...]]:
    """A turn's content and its calls; nothing or null is an empty content where there are calls."""
    key = _first(turn, "content", "value", "text")
    if key and _role_name(turn) in _CALLING:
        return _spoken_calls(turn[key], key, number)
    calls, calling = _calls(turn, number)
    if calls and role != "assistant":
        raise Unconvertible(
            "Row {row} ({place}): the field {field} of its message {number} is for the assistant, not for the role "
            "{role}.",
            field=calling,
            number=number,
            role=role,
        )
    if not key and not calls:
        raise Unconvertible(
            "Row {row} ({place}): its message {number} has no field content.", "missing_field", number=number
        )
    return _content(turn[key], key, number) if key else "", calls


def _content(value: Any, key: str, number: int) -> str:
    """Text, or the text parts of a list of parts."""
    if not isinstance(value, list):
        return text_of(value, key, number)
    parts: list[str] = []
    for part in value:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, Mapping) and isinstance(part.get("text"), str):
            parts.append(part["text"])
        else:
            raise Unconvertible(
                "Row {row} ({place}): its message {number} holds something other than text.", number=number
            )
    return "".join(parts)


def _calls(turn: Mapping[str, Any], number: int) -> tuple[tuple[ToolCall, ...], str]:
    """The calls in OpenAI's fields, the new and the old one, and the name of the first that holds any."""
    calls: tuple[ToolCall, ...] = ()
    names = [name for name in ("tool_calls", "function_call") if not is_blank(turn.get(name))]
    for name in names:
        value = _parsed(turn[name], name, number)
        if name == "function_call" and value is not None:
            calls += (_call(value, name, number),)
        elif value is not None:
            calls += _call_list(value, name, number)
    return calls, names[0] if names else ""


def _spoken_calls(value: Any, key: str, number: int) -> tuple[str, tuple[ToolCall, ...]]:
    """A call, or a list of calls, that is the whole of a turn; inline reasoning before it is its content."""
    thought = INLINE_REASONING.match(value) if isinstance(value, str) else None
    content = thought.group() if thought else ""
    called = _parsed(value[len(content) :] if isinstance(value, str) else value, key, number)
    if isinstance(called, (list, tuple)):
        return content, _call_list(called, key, number)
    return content, (_call(called, key, number),)


def _call_list(value: Any, key: str, number: int) -> tuple[ToolCall, ...]:
    if not isinstance(value, (list, tuple)):
        raise Unconvertible(
            "Row {row} ({place}): the field {field} of its message {number} holds {kind}, not a list of objects.",
            field=key,
            number=number,
            kind=kind_of(value),
        )
    return tuple(_call(call, f"{key}[{index}]", number) for index, call in enumerate(value))


def _call(value: Any, path: str, number: int) -> ToolCall:
    """One call: `name` and `arguments`, in the object itself or in its `function`."""
    call = _object(value, path, number)
    function = field(call, "function")
    if isinstance(function, Mapping):
        path = f"{path}.function"
    else:
        function = call
    name = text_of(field(function, "name"), f"{path}.name", number)
    if not name.strip():
        raise Unconvertible(
            "Row {row} ({place}): the field {field} of its message {number} names no tool.",
            "missing_field",
            field=f"{path}.name",
            number=number,
        )
    key = key_of(function, "arguments", "parameters") or "arguments"
    arguments = _arguments(function.get(key), f"{path}.{key}", number)
    return ToolCall(name, arguments, text_of(field(call, "id"), "id", number))


def _arguments(value: Any, path: str, number: int) -> str:
    """JSON text of an object, as it stands where it is text already; a call without arguments has an empty object."""
    if is_blank(value):
        return "{}"
    arguments = _object(_parsed(value, path, number), path, number)
    try:
        text = as_json(arguments)
    except ValueError as error:
        raise _not_json(path, number, error) from None
    refuse_half_characters(text)
    return value if isinstance(value, str) else text


def _object(value: Any, path: str, number: int) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Unconvertible(
            "Row {row} ({place}): the field {field} of its message {number} holds {kind}, not an object.",
            field=path,
            number=number,
            kind=kind_of(value),
        )
    return value


def _parsed(value: Any, path: str, number: int) -> Any:
    try:
        return parsed(value)
    except ValueError as error:
        raise _not_json(path, number, error) from None


def _not_json(path: str, number: int, error: ValueError) -> Unconvertible:
    return Unconvertible(
        "Row {row} ({place}): the field {field} of its message {number} is not valid JSON ({problem}).",
        field=path,
        number=number,
        problem=str(error),
    )


# ---- tools ----------------------------------------------------------------------------------------------------------


def read_tools(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The tools beside a row's turns, each as JSON text in OpenAI's shape. Raises Unconvertible.

    >>> read_tools({"functions": [{"name": "now"}]})
    ('{"type": "function", "function": {"name": "now"}}',)
    """
    found: list[str] = []
    for name in _TOOLS:
        key = key_of(record, name)
        if key and not is_blank(record[key]):
            found += _tool_list(record[key], key)
    return tuple(found)


def _tool_list(value: Any, name: str) -> list[str]:
    try:
        listed = parsed(value)
        if listed is None:
            return []
        if not isinstance(listed, (list, tuple)):
            raise _no_tools(name, listed)
        items = [parsed(tool) for tool in listed]
        for index, tool in enumerate(items):
            if not isinstance(tool, Mapping):
                raise _no_tools(f"{name}[{index}]", tool)
        return [as_json(_in_openai_shape(tool)) for tool in items]
    except ValueError as error:
        raise Unconvertible(
            "Row {row} ({place}): its field {name} is not valid JSON ({problem}).",
            name=name,
            problem=str(error),
        ) from None


def _no_tools(name: str, value: Any) -> Unconvertible:
    return Unconvertible(
        "Row {row} ({place}): its field {name} holds {kind}, not an object."
        if name.endswith("]")
        else "Row {row} ({place}): its field {name} holds {kind}, not a list of objects.",
        name=name,
        kind=kind_of(value),
    )


def _in_openai_shape(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A function that stands there by itself, as in `functions` and in ShareGPT, as a tool."""
    bare = (
        "function" not in tool
        and isinstance(tool.get("name"), str)
        and tool.get("type", "function") == "function"
    )
    if not bare:
        return tool
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}


# ---- Parquet --------------------------------------------------------------------------------------------------------


def without_padding(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of a Parquet file without the nulls that its columns give each tool and call for what others have."""
    return {key: _unpadded(key, value) for key, value in record.items()}


def _unpadded(key: str, value: Any) -> Any:
    if key.strip().lower() in (*_TOOLS, "tool_calls", "function_call"):
        return _pruned(value)
    if isinstance(value, list) and any(isinstance(turn, dict) for turn in value):
        return [without_padding(turn) if isinstance(turn, dict) else turn for turn in value]
    return value


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(inner) for key, inner in value.items() if inner is not None}
    return [_pruned(inner) for inner in value] if isinstance(value, list) else value
