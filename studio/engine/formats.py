"""Raw records to conversations: messages, ShareGPT, Alpaca, prompt/completion, or columns mapped by hand."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from studio.domain.chat import Conversation, Message, Role
from studio.domain.errors import StudioError
from studio.domain.text import Text
from studio.engine.readers import kind_of

FORMATS = ("messages", "sharegpt", "alpaca", "prompt_completion", "columns")

_LISTS = ("messages", "conversations", "conversation")
_SYSTEM = ("system", "system_prompt")
_INPUT = ("input", "context")
_OUTPUT = ("output", "response")
_PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("query", "response"),
    ("instruction", "completion"),
    ("instruction", "answer"),
    ("input", "output"),
    ("user", "assistant"),
)

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
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}

_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


class Unconvertible(Exception):
    """A record that is no conversation; says why, and whether a field is missing."""

    def __init__(self, template: str, check: str = "wrong_shape", **values: Any) -> None:
        super().__init__(template)
        self.text = Text(template, values)
        self.check = check


def recognise(columns: Iterable[str], sample_rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The format that these column names and rows have, or None.

    >>> recognise(["instruction", "input", "output"], [])
    'alpaca'
    """
    names = {name.strip().lower() for name in columns}
    turns = next((name for name in _LISTS if name in names), None)
    if turns:
        return "sharegpt" if _uses_from(turns, sample_rows) else "messages"
    if "instruction" in names and names & set(_OUTPUT):
        return "alpaca"
    if any(prompt in names and response in names for prompt, response in _PAIRS):
        return "prompt_completion"
    return None


def _uses_from(turns: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    for row in rows:
        for turn in _turn_list(_get(row, turns)) or ():
            if isinstance(turn, Mapping):
                return "from" in turn or "value" in turn
    return turns != "messages"


def check_columns(format: str, columns: Sequence[str], mapping: Mapping[str, str] | None, file: str) -> None:
    """StudioError where no row of the file can have what the format needs."""
    if format == "columns":
        _check_mapping(columns, mapping or {}, file)
        return
    names = {name.strip().lower() for name in columns}
    missing = _missing_column(format, names)
    if missing:
        raise StudioError(
            "{file} is not in the format {format}: it lacks the column {missing}. Its columns: {columns}.",
            "Choose another format, or map the columns by hand.",
            file=file,
            format=format,
            missing=missing,
            columns=", ".join(columns) or "none",
        )


def _missing_column(format: str, names: set[str]) -> str | None:
    """The first column that the format needs and that is not among `names`."""
    if format in ("messages", "sharegpt"):
        turns = "messages" if format == "messages" else "conversations"
        return None if names & set(_LISTS) else turns
    if format == "alpaca":
        return "instruction" if "instruction" not in names else None if names & set(_OUTPUT) else "output"
    prompts = [prompt for prompt, _ in _PAIRS if prompt in names]
    if any(prompt in names and response in names for prompt, response in _PAIRS):
        return None
    return next(response for prompt, response in _PAIRS if prompt == prompts[0]) if prompts else "prompt"


def _check_mapping(columns: Sequence[str], mapping: Mapping[str, str], file: str) -> None:
    for part in mapping:
        if part not in ("prompt", "response", "system", "input"):
            raise StudioError(
                "Columns can be mapped to prompt, response, system and input, not to {part}.",
                "Rename that entry of the mapping.",
                part=part,
            )
    for part in ("prompt", "response"):
        if not mapping.get(part):
            raise StudioError(
                "No column is chosen for the {part}. {file} has the columns {columns}.",
                "Choose one.",
                part=part,
                file=file,
                columns=", ".join(columns) or "none",
            )
    for part, column in mapping.items():
        if column and column not in columns:
            near = difflib.get_close_matches(column, columns, n=1, cutoff=0)
            raise StudioError(
                "{file} has no column {column} for the {part}. Its columns: {columns}.",
                "Did you mean {nearest}?",
                file=file,
                column=column,
                part=part,
                columns=", ".join(columns) or "none",
                nearest=near[0] if near else "",
            )


def convert(
    record: Mapping[str, Any],
    format: str,
    mapping: Mapping[str, str] | None = None,
    row: int = 0,
    columns: Sequence[str] = (),
) -> Conversation:
    """The conversation of one record; contents stay exactly as they are. Raises Unconvertible.

    `columns` are those of the whole file: they tell which field the record lacks.
    """
    if format in ("messages", "sharegpt"):
        messages = _from_turns(record)
    elif format == "alpaca":
        messages = _from_alpaca(record)
    elif format == "columns":
        messages = _from_columns(record, mapping or {})
    else:
        messages = _from_pair(record, columns)
    for message in messages:
        lone = _LONE_SURROGATE.search(message.content)
        if lone:
            code = f"\\u{ord(lone.group()):04x}"
            raise Unconvertible(
                "Row {row} ({place}) holds half a character ({code}), which no text file can hold.", code=code
            )
    return Conversation(tuple(messages), row)


def text_of(value: Any, name: str) -> str:
    """A cell as text: numbers as they are written, null and NaN as nothing. Raises Unconvertible for lists and objects.

    >>> text_of(3, "output"), text_of(float("nan"), "output")
    ('3', '')
    """
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise Unconvertible(
                "Row {row} ({place}): its field {name} holds bytes that are not UTF-8 text.", name=name
            ) from None
    if isinstance(value, (list, dict, tuple)):
        raise Unconvertible(
            "Row {row} ({place}): its field {name} holds {kind}, not text.",
            name=name,
            kind=kind_of(list(value) if isinstance(value, tuple) else value),
        )
    return str(value)


def _get(record: Mapping[str, Any], *names: str) -> Any:
    """The first of the named fields, whatever its capitals; None where there is none."""
    found = _key(record, *names)
    return None if found is None else record[found]


def _key(record: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        if name in record:
            return name
    lowered = {key.strip().lower(): key for key in record if isinstance(key, str)}
    return next((lowered[name] for name in names if name in lowered), None)


def _need(record: Mapping[str, Any], *names: str) -> str:
    key = _key(record, *names)
    if key is None:
        raise Unconvertible(
            "Row {row} ({place}): its field {name} is missing.", "missing_field", name=names[0]
        )
    return text_of(record[key], key)


def _system(record: Mapping[str, Any]) -> list[Message]:
    content = text_of(_get(record, *_SYSTEM), "system")
    return [Message("system", content)] if content.strip() else []


def _from_pair(record: Mapping[str, Any], columns: Sequence[str]) -> list[Message]:
    for prompt, response in _PAIRS:
        prompt_key, response_key = _key(record, prompt), _key(record, response)
        if prompt_key is None or response_key is None:
            continue
        if isinstance(record[prompt_key], list) and isinstance(record[response_key], list):
            return _system(record) + _messages([*record[prompt_key], *record[response_key]])
        user = Message("user", text_of(record[prompt_key], prompt_key))
        return [*_system(record), user, Message("assistant", text_of(record[response_key], response_key))]
    names = {name.strip().lower() for name in (columns or record)}
    pair = next((pair for pair in _PAIRS if names.issuperset(pair)), ("prompt", "response"))
    missing = next(name for name in (*pair, pair[1]) if _key(record, name) is None)
    raise Unconvertible("Row {row} ({place}): its field {name} is missing.", "missing_field", name=missing)


def _from_alpaca(record: Mapping[str, Any]) -> list[Message]:
    instruction = _need(record, "instruction")
    extra = text_of(_get(record, *_INPUT), "input")
    response = _need(record, *_OUTPUT)
    return [
        *_system(record),
        *_history(_get(record, "history")),
        Message("user", join_input(instruction, extra)),
        Message("assistant", response),
    ]


def join_input(instruction: str, extra: str) -> str:
    """Instruction and input as one user turn, with a line break between them where both are there.

    >>> join_input("Shorten.", "A long text.")
    'Shorten.\\nA long text.'
    """
    return (
        f"{instruction}\n{extra}"
        if instruction.strip() and extra.strip()
        else instruction
        if instruction.strip()
        else extra
    )


def _history(history: Any) -> list[Message]:
    if history is None or history != history or history == "":
        return []
    turns = _turn_list(history)
    if turns is None:
        raise Unconvertible(
            "Row {row} ({place}): its field {name} holds {kind}, not a list.",
            name="history",
            kind=kind_of(history),
        )
    messages: list[Message] = []
    for pair in turns:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise Unconvertible(
                "Row {row} ({place}): its history is not a list of pairs of prompt and response."
            )
        messages += [
            Message("user", text_of(pair[0], "history")),
            Message("assistant", text_of(pair[1], "history")),
        ]
    return messages


def _from_columns(record: Mapping[str, Any], mapping: Mapping[str, str]) -> list[Message]:
    contents: dict[str, str] = {}
    for part, column in mapping.items():
        if not column:
            continue
        if column not in record and part in ("prompt", "response"):
            raise Unconvertible(
                "Row {row} ({place}): its field {name} is missing.", "missing_field", name=column
            )
        contents[part] = text_of(record.get(column), column)
    system = contents.get("system", "")
    return [
        *([Message("system", system)] if system.strip() else []),
        Message("user", join_input(contents["prompt"], contents.get("input", ""))),
        Message("assistant", contents["response"]),
    ]


def _turn_list(value: Any) -> list[Any] | None:
    """A list of turns, also where a CSV cell holds it as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return list(value) if isinstance(value, (list, tuple)) else None


def _from_turns(record: Mapping[str, Any]) -> list[Message]:
    key = _key(record, *_LISTS)
    if key is None:
        raise Unconvertible(
            "Row {row} ({place}): its field {name} is missing.", "missing_field", name="messages"
        )
    turns = _turn_list(record[key])
    if turns is None:
        raise Unconvertible(
            "Row {row} ({place}): its field {name} holds {kind}, not a list.",
            name=key,
            kind=kind_of(record[key]),
        )
    if not turns:
        raise Unconvertible("Row {row} ({place}): its list {name} is empty.", name=key)
    messages = _messages(turns)
    return messages if _speaks_system(messages) else _system(record) + messages


def _speaks_system(messages: Iterable[Message]) -> bool:
    return any(message.role == "system" for message in messages)


def unused_fields(record: Mapping[str, Any], format: str) -> list[str]:
    """The fields of a convertible record that mean something to a model and are not in its conversation.

    >>> unused_fields({"messages": [{"role": "user", "content": "q"}], "tools": [{"name": "search"}]}, "messages")
    ['tools']
    """
    if format not in ("messages", "sharegpt"):
        return []
    unused = [name for name in (_key(record, "tools"), _key(record, "functions")) if name and record[name]]
    system_key, said = _key(record, *_SYSTEM), _system(record)
    if system_key and said:
        messages = _messages(_turn_list(_get(record, *_LISTS)) or [])
        if _speaks_system(messages) and said[0] not in messages:
            unused.append(system_key)
    return unused


def _messages(turns: Iterable[Any]) -> list[Message]:
    return [_message(turn, number) for number, turn in enumerate(turns, start=1)]


def _message(turn: Any, number: int) -> Message:
    if not isinstance(turn, Mapping):
        raise Unconvertible(
            "Row {row} ({place}): its message {number} is {kind}, not an object.",
            number=number,
            kind=kind_of(turn),
        )
    role_key, content_key = _key(turn, "role", "from"), _key(turn, "content", "value", "text")
    if role_key is None:
        raise Unconvertible(
            "Row {row} ({place}): its message {number} has no field role.", "missing_field", number=number
        )
    role = _ROLES.get(str(turn[role_key]).strip().lower())
    if role is None:
        raise Unconvertible(
            "Row {row} ({place}): its message {number} has the unknown role {role}.",
            number=number,
            role=str(turn[role_key]),
        )
    if turn.get("tool_calls") or turn.get("function_call"):
        raise Unconvertible(
            "Row {row} ({place}): its message {number} calls a tool, which cannot be trained yet.",
            number=number,
        )
    if content_key is None:
        raise Unconvertible(
            "Row {row} ({place}): its message {number} has no field content.", "missing_field", number=number
        )
    return Message(
        role, _content(turn[content_key], number), role != "assistant" or _is_trained(turn, number)
    )


def _is_trained(turn: Mapping[str, Any], number: int) -> bool:
    """OpenAI's `weight` of an assistant's message: 0 to read it only, 1 (or nothing) to train it."""
    weight = _get(turn, "weight")
    if weight is None or weight != weight:
        return True
    if weight not in (0, 1):
        raise Unconvertible(
            "Row {row} ({place}): its message {number} has the weight {weight}; it can only be 0 or 1.",
            number=number,
            weight=str(weight),
        )
    return weight != 0


def _content(value: Any, number: int) -> str:
    """Text, or the text parts of a list of parts."""
    if not isinstance(value, list):
        return text_of(value, "content")
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
