"""Raw records to conversations: messages, ShareGPT, Alpaca, prompt/completion, preference, text, or mapped columns."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from studio.domain.chat import Conversation, Message
from studio.domain.errors import StudioError
from studio.engine.fields import Unconvertible, as_list, field, key_of, refuse_half_characters, text_of
from studio.engine.preference import CHOSEN, PROMPTS, preferred_turns
from studio.engine.records import kind_of
from studio.engine.turns import REASONING, other_reasoning, read_tools, read_turns

FORMATS = ("messages", "sharegpt", "alpaca", "prompt_completion", "preference", "text", "columns")

SEVERAL = "several"
"""In place of a format, where the rows of a file have more than one."""
IN_TURNS = ("messages", "sharegpt")
"""Formats that are read alike."""
_LOOKED_AT = 50
_LISTS = ("messages", "conversations", "conversation")
_WITH = {
    "input": ("instruction", "指令"),
    "输入": ("instruction", "指令"),
    "context": ("question", "query", "instruction", "指令", "问题"),
    "上下文": ("question", "query", "instruction", "指令", "问题"),
}
"""Prompts to which such a field belongs. Beside others it may be anything, and is a finding."""
_SYSTEM = ("system", "system_prompt", "系统", "系统提示", "系统提示词")
_INPUT = ("input", "context", "输入", "上下文")
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
    ("human", "assistant"),
    ("prompt", "answer"),
    ("prompt", "output"),
    ("question", "response"),
    ("query", "answer"),
    ("instruction", "target"),
    ("input", "target"),
    ("input", "response"),
    ("问题", "回答"),
    ("问题", "答案"),
    ("提问", "回答"),
    ("问", "答"),
    ("指令", "输出"),
    ("输入", "输出"),
    ("質問", "回答"),
    ("問題", "回答"),
    ("frage", "antwort"),
    ("pregunta", "respuesta"),
    ("q", "a"),
)
_TEXT = "text"
_ALL = {*_LISTS, CHOSEN, _TEXT, "instruction", *_OUTPUT, *(name for pair in _PAIRS for name in pair)}
"""Names that say of which format a row is."""
_SAYING = {
    name for name in (_ALL - {_TEXT}) | {*_INPUT, *_SYSTEM, *REASONING} if len(name) > 1 or not name.isascii()
}
"""Names of fields that a model is meant to read or to write."""
_BESIDE_TEXT = {"id", "url", "source", "title", "date", "timestamp", "meta", "metadata", "added", "created"}
"""What files of plain texts have beside them; another column, such as a label, makes a file one to be mapped."""


def recognise(columns: Iterable[str], sample_rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The format that these column names and rows have, or None.

    >>> recognise(["instruction", "input", "output"], [])
    'alpaca'
    """
    names = {name.strip().lower() for name in columns}
    turns = next((name for name in _LISTS if name in names), None)
    if CHOSEN in names and "rejected" in names and turns != "messages":
        return "preference"
    if turns:
        return "sharegpt" if _uses_from(turns, sample_rows) else "messages"
    if "instruction" in names and names & set(_OUTPUT):
        return "alpaca"
    if any(prompt in names and response in names for prompt, response in _PAIRS):
        return "prompt_completion"
    if CHOSEN in names:
        return "preference"
    return "text" if _TEXT in names and names - {_TEXT} <= _BESIDE_TEXT else None


def own_format(record: Mapping[str, Any]) -> str | None:
    """The format that a record has by the names of its fields that hold something, or None.

    An empty list of turns counts only where nothing else says of which format the record is.

    >>> own_format({"Messages": "[]", "question": "Why?", "answer": "So."}), own_format({"messages": []})
    ('prompt_completion', 'messages')
    """
    names = tuple([name for name, value in record.items() if value is not None])
    empty = [name for name in _lists_among(names) if _is_empty(record[name])]
    fuller = _by_names(tuple([name for name in names if name not in empty])) if empty else None
    return fuller or _by_names(names)


@lru_cache(maxsize=256)
def _lists_among(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name.strip().lower() in _LISTS)


def _is_empty(turns: Any) -> bool:
    """Also where a cell of a table holds them as JSON, or nothing but space; a number, such as NaN, holds none."""
    if isinstance(turns, str):
        return len(turns) < 9 and "".join(turns.split()) in ("", "[]")
    return not turns or isinstance(turns, int | float)


@lru_cache(maxsize=256)
def _by_names(names: tuple[str, ...]) -> str | None:
    return recognise(names, ())


def says_nothing(record: Mapping[str, Any], mapping: Mapping[str, str] | None) -> bool:
    """Whether no field of a record has a name by which any format, or the mapping, would know it."""
    names = {name.strip().lower() for name in record}
    return names.isdisjoint(_ALL) and record.keys().isdisjoint((mapping or {}).values())


def main_format(columns: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The format that most rows have of those that have one, or None where most have no name that any format knows."""
    found = Counter(form for row in rows if (form := own_format(row)))
    strange = sum(says_nothing(row, None) for row in rows)
    if 2 * strange > len(rows) and found:
        return None
    form = found.most_common(1)[0][0] if found else None
    if form in IN_TURNS:
        return recognise([_LISTS[form == "sharegpt"]], rows[:_LOOKED_AT])
    return form or recognise(columns, rows[:_LOOKED_AT])


def _uses_from(turns: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    for row in rows:
        for turn in as_list(field(row, turns)) or ():
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
    if format in IN_TURNS:
        turns = "messages" if format == "messages" else "conversations"
        return None if names & set(_LISTS) else turns
    if format == "preference":
        return None if CHOSEN in names else CHOSEN
    if format == "text":
        return None if _TEXT in names or len(names) == 1 else _TEXT
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
    if format == "text":
        return _text(record, row, columns)
    turns = _turns(record, format)
    tools: tuple[str, ...] = ()
    if turns is not None:
        messages, tools = read_turns(turns), read_tools(record)
        if not any(message.role == "system" for message in messages):
            messages = _system(record) + messages
    elif format == "columns":
        messages = _from_columns(record, mapping or {})
    else:
        messages = _from_alpaca(record) if format == "alpaca" else _from_pair(record, columns)
        tools = _tools_beside_texts(record)
    conversation = Conversation(tuple(messages), row, tools)
    refuse_half_characters("".join(texts(conversation)))
    return conversation


def _text(record: Mapping[str, Any], row: int, columns: Sequence[str]) -> Conversation:
    """A text that is learnt as it stands: of the column `text`, or of the only one."""
    name = columns[0] if len(columns) == 1 else _TEXT
    text = _need(record, name.strip().lower())
    refuse_half_characters(text)
    return Conversation((Message("assistant", text),), row, plain=True)


def _tools_beside_texts(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The tools, as in LLaMA-Factory's Alpaca files; none where the column of that name is about something else."""
    try:
        return read_tools(record)
    except Unconvertible:
        return ()


def texts(conversation: Conversation) -> Iterator[str]:
    """Every text of a conversation."""
    yield from conversation.tools
    for message in conversation.messages:
        yield from (message.content, message.reasoning, message.name, message.tool_call_id)
        for call in message.tool_calls:
            yield from (call.name, call.arguments, call.id)


def _need(record: Mapping[str, Any], *names: str) -> str:
    key = key_of(record, *names)
    if key is None:
        raise Unconvertible(
            "Row {row} ({place}): its field {name} is missing.", "missing_field", name=names[0]
        )
    return text_of(record[key], key)


def _system(record: Mapping[str, Any]) -> list[Message]:
    content = text_of(field(record, *_SYSTEM), "system")
    return [Message("system", content)] if content.strip() else []


def _from_pair(record: Mapping[str, Any], columns: Sequence[str]) -> list[Message]:
    keys = _pair_of(tuple(record))
    if keys is None:
        raise _lacks_one_of_pair(record, columns)
    asked, said, extra = keys
    prompt = text_of(record[asked], asked)
    if extra is not None and isinstance(record[extra], str):
        prompt = join_input(prompt, record[extra])
    return [
        *_system(record),
        Message("user", prompt),
        Message("assistant", text_of(record[said], said)),
    ]


@lru_cache(maxsize=256)
def _pair_of(names: tuple[str, ...]) -> tuple[str, str, str | None] | None:
    """The names of the prompt, of the response and of what else is given to the prompt."""
    record = dict.fromkeys(names)
    for prompt, response in _PAIRS:
        asked, said = key_of(record, prompt), key_of(record, response)
        if asked is not None and said is not None:
            return asked, said, key_of(record, *(name for name in _INPUT if prompt in _WITH[name]))
    return None


def unread_fields(record: Mapping[str, Any], format: str) -> list[str]:
    """The fields of a row of texts that have the name of one that is read, hold text, and are in no message.

    >>> unread_fields({"prompt": "p", "reasoning": "r", "response": "s", "id": "1"}, "prompt_completion")
    ['reasoning']
    """
    if format not in ("alpaca", "prompt_completion", "preference"):
        return []
    names = _unread(tuple(record), format)
    return (
        [name for name in names if isinstance(value := record[name], str) and value.strip()] if names else []
    )


@lru_cache(maxsize=256)
def _unread(names: tuple[str, ...], format: str) -> tuple[str, ...]:
    if format == "preference":
        asked = key_of(dict.fromkeys(names), *PROMPTS) or ""
        beside = {"context"} if asked.strip().lower() == "instruction" else {"context", "input"}
        return tuple(name for name in names if name != asked and name.strip().lower() in beside)
    read = {*(_alpaca_names(names) if format == "alpaca" else _pair_of(names) or ())}
    read.add(key_of(dict.fromkeys(names), *_SYSTEM))
    return tuple(name for name in names if name not in read and name.strip().lower() in _SAYING)


def _lacks_one_of_pair(record: Mapping[str, Any], columns: Sequence[str]) -> Unconvertible:
    names = {name.strip().lower() for name in (columns or record)}
    pair = next((pair for pair in _PAIRS if names.issuperset(pair)), ("prompt", "response"))
    missing = next(name for name in (*pair, pair[1]) if key_of(record, name) is None)
    return Unconvertible("Row {row} ({place}): its field {name} is missing.", "missing_field", name=missing)


def _from_alpaca(record: Mapping[str, Any]) -> list[Message]:
    asked, said, extra, system, history = _alpaca_names(tuple(record))
    if asked is None or said is None:
        name = "instruction" if asked is None else _OUTPUT[0]
        raise Unconvertible("Row {row} ({place}): its field {name} is missing.", "missing_field", name=name)
    prompt = text_of(record[asked], asked)
    if extra is not None:
        prompt = join_input(prompt, text_of(record[extra], extra))
    return [
        *(_system(record) if system is not None else ()),
        *(_history(record[history]) if history is not None else ()),
        Message("user", prompt),
        Message("assistant", text_of(record[said], said)),
    ]


@lru_cache(maxsize=256)
def _alpaca_names(names: tuple[str, ...]) -> tuple[str | None, ...]:
    """How the fields of an Alpaca record are written that has these: most records of a file have the same."""
    record = dict.fromkeys(names)
    wanted = (("instruction",), _OUTPUT, _INPUT, _SYSTEM, ("history",))
    return tuple(key_of(record, *some) for some in wanted)


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
    turns = as_list(history)
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


def _turns(record: Mapping[str, Any], format: str) -> list[Any] | None:
    """The list of turns that the record is made of; None where its format has none."""
    if format in IN_TURNS:
        return _listed_turns(record)
    if format == "prompt_completion":
        return _pair_of_lists(record)
    if format == "preference":
        return preferred_turns(record)
    return None


def _listed_turns(record: Mapping[str, Any]) -> list[Any]:
    key = key_of(record, *_LISTS)
    if key is None:
        raise Unconvertible(
            "Row {row} ({place}): its field {name} is missing.", "missing_field", name="messages"
        )
    turns = as_list(record[key])
    if turns is None:
        raise Unconvertible(
            "Row {row} ({place}): its field {name} holds {kind}, not a list.",
            name=key,
            kind=kind_of(record[key]),
        )
    if not turns:
        raise Unconvertible("Row {row} ({place}): its list {name} is empty.", name=key)
    return turns


def _pair_of_lists(record: Mapping[str, Any]) -> list[Any] | None:
    """The turns of a prompt and of a completion that are lists of turns themselves."""
    for names in _PAIRS:
        asked, said = (field(record, name) for name in names)
        if asked is not None and said is not None:
            return [*asked, *said] if isinstance(asked, list) and isinstance(said, list) else None
    return None


def unused_fields(record: Mapping[str, Any], format: str, read: Conversation) -> list[str]:
    """The fields of a record that mean something to a model and are not in the conversation read from it.

    >>> turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    >>> record = {"messages": turns, "system": "other"}
    >>> unused_fields(record, "messages", convert(record, "messages"))
    ['system']
    """
    turns = _turns(record, format)
    if turns is None:
        return []
    key, said = key_of(record, *_SYSTEM), _system(record)
    unused = [key] if key and said and said[0] not in read.messages else []
    return [*unused, *dict.fromkeys(other_reasoning(turns))]
