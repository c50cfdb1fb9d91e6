"""Tool calls, results, tools and reasoning: every shape in use is read, and what is malformed is named by its place."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from studio.domain.chat import Conversation, Message, ToolCall
from studio.domain.errors import StudioError
from studio.engine.dataset import Dataset, read, write_messages

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Wetter – 天气",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "default": None}}},
    },
}
USER = {"role": "user", "content": "How warm is it in Oslo?"}
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Oslo" }'},
}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": '{"celsius": 4}'}
ANSWER = {"role": "assistant", "content": "It is 4 °C in Oslo."}


def rows(folder: Path, *records: dict[str, Any]) -> Dataset:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return read(path)


def talk(folder: Path, *turns: dict[str, Any], **fields: Any) -> tuple[Message, ...]:
    dataset = rows(folder, {"messages": [*turns], **fields})
    assert dataset.findings == []
    return dataset.conversations[0].messages


def refused(folder: Path, *turns: Any, **fields: Any) -> str:
    """What is said of a row with these turns beside one that is well."""
    dataset = rows(folder, {"messages": [USER, ANSWER]}, {"messages": [*turns], **fields})
    assert [conversation.row for conversation in dataset.conversations] == [1]
    (found,) = dataset.findings
    assert (found.rows, found.severity) == ((2,), "error")
    start = "Row 2 (a.jsonl:2): "
    assert found.message.startswith(start)
    return found.message.removeprefix(start)


def test_a_tool_use_conversation_of_openai_is_read_whole(tmp_path: Path) -> None:
    dataset = rows(tmp_path, {"messages": [USER, CALLING, RESULT, ANSWER], "tools": [WEATHER]})
    assert dataset.findings == []
    assert dataset.conversations == [
        Conversation(
            (
                Message("user", "How warm is it in Oslo?"),
                Message("assistant", "", tool_calls=(ToolCall("weather", '{"city":"Oslo" }', "c1"),)),
                Message("tool", '{"celsius": 4}', tool_call_id="c1"),
                Message("assistant", "It is 4 °C in Oslo."),
            ),
            1,
            (json.dumps(WEATHER, ensure_ascii=False),),
        )
    ]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"function": {"name": "f", "arguments": {"a": "ü"}}}, ToolCall("f", '{"a": "ü"}')),
        ({"function": {"name": "f", "arguments": "{}"}, "id": None}, ToolCall("f")),
        ({"function": {"name": "f", "arguments": ""}, "id": 7}, ToolCall("f", "{}", "7")),
        ({"function": {"name": "f"}}, ToolCall("f")),
        ({"name": "f", "arguments": {"a": [1, None]}}, ToolCall("f", '{"a": [1, null]}')),
        ({"name": "f", "parameters": {"a": 1}}, ToolCall("f", '{"a": 1}')),
        ({"name": "f", "arguments": ' {"a": "\\u00e4"}\n'}, ToolCall("f", ' {"a": "\\u00e4"}\n')),
    ],
)
def test_a_call_in_each_of_its_shapes(tmp_path: Path, call: dict, expected: ToolCall) -> None:
    message = talk(tmp_path, USER, {"role": "assistant", "tool_calls": [call]})[1]
    assert (message.content, message.tool_calls) == ("", (expected,))


def test_words_beside_several_calls_are_kept(tmp_path: Path) -> None:
    second = {**CALL, "id": "c2"}
    turn = {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL, second], "weight": 0}
    other = {**RESULT, "tool_call_id": "c2"}
    messages = talk(tmp_path, USER, turn, other, RESULT, ANSWER)
    assert (messages[1].content, messages[1].trained) == ("Let me look.", False)
    assert [call.id for call in messages[1].tool_calls] == ["c1", "c2"]
    assert [message.tool_call_id for message in messages[2:4]] == ["c2", "c1"]


def test_the_old_function_call_and_the_role_function(tmp_path: Path) -> None:
    dataset = rows(
        tmp_path,
        {
            "messages": [
                USER,
                {"role": "assistant", "function_call": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
                {"role": "function", "name": "weather", "content": "4"},
                {**ANSWER, "tool_calls": [], "function_call": None},
            ],
            "functions": [WEATHER["function"]],
        },
    )
    (read_row,) = dataset.conversations
    assert read_row.messages[1].tool_calls == (ToolCall("weather", '{"city": "Oslo"}'),)
    assert read_row.messages[2] == Message("tool", "4", name="weather")
    assert read_row.tools == (json.dumps(WEATHER, ensure_ascii=False),)


def test_a_tool_use_conversation_of_sharegpt_is_read_whole(tmp_path: Path) -> None:
    call = json.dumps({"name": "weather", "arguments": {"city": "Oslo"}})
    dataset = rows(
        tmp_path,
        {
            "conversations": [
                {"from": "human", "value": "How warm is it in Oslo?"},
                {"from": "function_call", "value": call},
                {"from": "observation", "value": '{"celsius": 4}'},
                {"from": "gpt", "value": "It is 4 °C in Oslo."},
            ],
            "tools": json.dumps([WEATHER["function"]]),
        },
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "tools": "[]"},
    )
    assert (dataset.format, dataset.findings) == ("sharegpt", [])
    assert dataset.conversations[0] == Conversation(
        (
            Message("user", "How warm is it in Oslo?"),
            Message("assistant", "", tool_calls=(ToolCall("weather", '{"city": "Oslo"}'),)),
            Message("tool", '{"celsius": 4}'),
            Message("assistant", "It is 4 °C in Oslo."),
        ),
        1,
        (json.dumps(WEATHER, ensure_ascii=False),),
    )
    assert dataset.conversations[1].tools == ()


def test_calls_in_turns_of_their_own_belong_to_one_turn_of_the_assistant(tmp_path: Path) -> None:
    messages = talk(
        tmp_path,
        USER,
        {"role": "assistant", "content": "Both at once."},
        {"role": "tool_call", "content": '{"name": "a", "arguments": {}}'},
        {"role": "tool_call", "content": '[{"name": "b", "arguments": {}}, {"name": "c"}]'},
        {"role": "tool_response", "content": "1"},
        {"role": "tool_response", "content": "2"},
        ANSWER,
    )
    assert [message.role for message in messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert (messages[1].content, [call.name for call in messages[1].tool_calls]) == (
        "Both at once.",
        ["a", "b", "c"],
    )


def test_inline_reasoning_before_a_spoken_call_is_its_content(tmp_path: Path) -> None:
    said = '<think>\nI have to look.\n</think>\n\n{"name": "weather", "arguments": {"city": "Oslo"}}'
    dataset = rows(
        tmp_path,
        {
            "conversations": [
                {"from": "human", "value": "How warm?"},
                {"from": "function_call", "value": said},
            ]
        },
    )
    message = dataset.conversations[0].messages[1]
    assert message.content == "<think>\nI have to look.\n</think>"
    assert message.tool_calls == (ToolCall("weather", '{"city": "Oslo"}'),)


def test_a_result_of_a_call_that_is_written_as_text_is_kept(tmp_path: Path) -> None:
    for called in ('<tool_call>\n{"name": "weather"}\n</tool_call>', "Action: weather\nAction Input: Oslo"):
        messages = talk(
            tmp_path, USER, {"role": "assistant", "content": called}, {"role": "tool", "content": "4"}, ANSWER
        )
        assert messages[1:3] == (Message("assistant", called), Message("tool", "4"))


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking", "Thinking"])
def test_reasoning_is_read_from_each_of_its_fields(tmp_path: Path, field: str) -> None:
    messages = talk(tmp_path, USER, {**ANSWER, field: " Oslo lies north.\n"}, {**USER, field: None})
    assert messages[1] == Message("assistant", "It is 4 °C in Oslo.", reasoning=" Oslo lies north.\n")
    assert messages[2].reasoning == ""


def test_a_second_reasoning_is_not_dropped_silently(tmp_path: Path) -> None:
    same = {**ANSWER, "reasoning": "r", "reasoning_content": "r"}
    other = {**ANSWER, "reasoning": "s", "reasoning_content": "r"}
    dataset = rows(tmp_path, {"messages": [USER, same]}, {"messages": [USER, other]})
    assert [conversation.messages[1].reasoning for conversation in dataset.conversations] == ["r", "r"]
    assert [(found.check, found.rows, found.message) for found in dataset.findings] == [
        (
            "unused_field",
            (2,),
            "Rows whose turns hold another reasoning in reasoning than in the field before it: 1. It is not used.",
        )
    ]


def test_inline_reasoning_stays_where_it_is_and_is_counted(tmp_path: Path) -> None:
    said = "<think>\nNorth.\n</think>\n\nCold."
    dataset = rows(
        tmp_path,
        {"messages": [USER, {"role": "assistant", "content": said}]},
        {"messages": [USER, {"role": "assistant", "content": "Write <think> and </think> around it."}]},
    )
    assert dataset.conversations[0].response == said
    assert [(found.check, found.severity, found.rows) for found in dataset.findings] == [
        ("inline_reasoning", "info", (1,))
    ]


def test_names_of_speakers_are_kept(tmp_path: Path) -> None:
    assert talk(tmp_path, {**USER, "name": "ann"}, {**ANSWER, "name": "guide"})[0].name == "ann"


def test_tools_and_turns_in_the_cells_of_a_csv_file(tmp_path: Path) -> None:
    import csv

    path = tmp_path / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["messages", "tools"])
        writer.writerow([json.dumps([USER, CALLING, RESULT, ANSWER]), json.dumps([WEATHER])])
        writer.writerow([json.dumps([USER, ANSWER]), ""])
        writer.writerow([json.dumps([USER, ANSWER]), "null"])
        writer.writerow([json.dumps([USER, ANSWER]), "[{"])
    dataset = read(path)
    first, *others = dataset.conversations
    assert first.messages[1].tool_calls == (ToolCall("weather", '{"city":"Oslo" }', "c1"),)
    assert first.tools == (json.dumps(WEATHER, ensure_ascii=False),)
    assert [conversation.tools for conversation in others] == [(), ()]
    assert [(found.rows, found.message) for found in dataset.findings] == [
        (
            (4,),
            "Row 4 (a.csv:5): its field tools is not valid JSON (Expecting property name enclosed in double quotes: "
            "line 1 column 3 (char 2)).",
        )
    ]


def test_parquet_gives_no_call_and_no_tool_the_fields_of_the_others(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    def tool(name: str) -> dict:
        return {"type": "function", "function": {"name": name, "parameters": {name: {"type": "string"}}}}

    def call(name: str) -> dict:
        return {"id": name, "function": {"name": name, "arguments": {name: "x"}}}

    turns = [USER, {"role": "assistant", "content": None, "tool_calls": [call("a"), call("b")]}]
    path = tmp_path / "a.parquet"
    table = {"messages": [turns, [USER, ANSWER]], "tools": [[tool("a"), tool("b")], None]}
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    dataset = read(path)
    assert dataset.findings == []
    assert dataset.conversations[0].messages[1].tool_calls == (
        ToolCall("a", '{"a": "x"}', "a"),
        ToolCall("b", '{"b": "x"}', "b"),
    )
    assert [json.loads(text) for text in dataset.conversations[0].tools] == [tool("a"), tool("b")]
    assert dataset.conversations[1] == Conversation(
        (Message("user", USER["content"]), Message("assistant", ANSWER["content"])), 2
    )


def test_a_prompt_and_a_completion_that_are_lists_of_turns_have_tools_too(tmp_path: Path) -> None:
    dataset = rows(tmp_path, {"prompt": [USER], "completion": [CALLING, RESULT, ANSWER], "tools": [WEATHER]})
    assert [message.role for message in dataset.conversations[0].messages] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert len(dataset.conversations[0].tools) == 1


def test_a_column_of_texts_that_is_called_tools_is_no_list_of_tools(tmp_path: Path) -> None:
    dataset = rows(tmp_path, {"prompt": "What do I need?", "response": "A saw.", "tools": "hammer, saw"})
    assert (dataset.findings, dataset.conversations[0].tools) == ([], ())
    dataset = rows(tmp_path, {"instruction": "q", "output": "a", "tools": json.dumps([WEATHER])})
    assert dataset.conversations[0].tools == (json.dumps(WEATHER, ensure_ascii=False),)


def calling(call: Any) -> dict:
    return {"role": "assistant", "content": None, "tool_calls": [call]}


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        (
            [USER, calling({"function": {"name": "f", "arguments": "{city: 1}"}})],
            "the field tool_calls[0].function.arguments of its message 2 is not valid JSON "
            "(Expecting property name enclosed in double quotes: line 1 column 2 (char 1)).",
        ),
        (
            [USER, calling({"function": {"name": "f", "arguments": "[1]"}})],
            "the field tool_calls[0].function.arguments of its message 2 holds a list, not an object.",
        ),
        (
            [USER, calling({"name": "f", "arguments": 3})],
            "the field tool_calls[0].arguments of its message 2 holds a number, not an object.",
        ),
        (
            [USER, calling({"name": "f", "arguments": '{"a": NaN}'})],
            "the field tool_calls[0].arguments of its message 2 is not valid JSON (NaN is no JSON value).",
        ),
        (
            [USER, {**CALLING, "tool_calls": [CALL, {"id": "x", "function": {"arguments": "{}"}}]}],
            "the field tool_calls[1].function.name of its message 2 names no tool.",
        ),
        ([USER, calling("f()")], "the field tool_calls[0] of its message 2 holds text, not an object."),
        (
            [USER, {**CALLING, "tool_calls": CALL}],
            "the field tool_calls of its message 2 holds an object, not a list of objects.",
        ),
        (
            [USER, {"role": "assistant", "function_call": "[]"}],
            "the field function_call of its message 2 holds a list, not an object.",
        ),
        (
            [USER, {"role": "function_call", "content": "weather(Oslo)"}],
            "the field content of its message 2 is not valid JSON "
            "(Expecting value: line 1 column 1 (char 0)).",
        ),
        (
            [{**USER, "tool_calls": [CALL]}, ANSWER],
            "the field tool_calls of its message 1 is for the assistant, not for the role user.",
        ),
        (
            [USER, CALLING, {**RESULT, "tool_call_id": "c9"}, ANSWER],
            "the field tool_call_id of its message 3 is c9, but no call before it has this id.",
        ),
        (
            [USER, ANSWER, {"role": "tool", "content": "4"}, ANSWER],
            "the field role of its message 3 says that it is a tool's result, but no call stands before it.",
        ),
        (
            [USER, {"role": "tool", "content": "4"}, ANSWER],
            "the field role of its message 2 says that it is a tool's result, but no call stands before it.",
        ),
        (
            [USER, CALLING, {"role": "tool", "tool_call_id": "c1", "content": {"celsius": 4}}],
            "the field content of its message 3 holds an object, not text.",
        ),
        (
            [USER, {**ANSWER, "reasoning": {"effort": "high"}}],
            "the field reasoning of its message 2 holds an object, not text.",
        ),
        ([USER, {"role": "assistant", "reasoning": "r"}], "its message 2 has no field content."),
        ([USER, {"role": "assistant", "tool_calls": []}], "its message 2 has no field content."),
    ],
)
def test_what_is_malformed_is_named_by_row_message_and_field(
    tmp_path: Path, turns: list[dict], said: str
) -> None:
    assert refused(tmp_path, *turns) == said


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ({"name": "f"}, "its field tools holds an object, not a list of objects."),
        ("search, weather", "its field tools is not valid JSON (Expecting value: line 1 column 1 (char 0))."),
        ('"search"', "its field tools holds text, not a list of objects."),
        ([WEATHER, 7], "its field tools[1] holds a number, not an object."),
        ([[WEATHER]], "its field tools[0] holds a list, not an object."),
    ],
)
def test_tools_that_are_no_list_of_objects_are_named(tmp_path: Path, tools: Any, said: str) -> None:
    assert refused(tmp_path, USER, ANSWER, tools=tools) == said


def test_half_a_character_in_a_columns_name_can_be_said(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"promp\\ud83dt": "a", "response": "b"}\n', encoding="utf-8")
    with pytest.raises(StudioError, match="Its columns: promp\ufffdt, response"):
        read(file)


@pytest.mark.parametrize(
    "turn",
    [
        {**ANSWER, "reasoning": "\ud83d"},
        {**ANSWER, "name": "\ud83d"},
        {"role": "assistant", "tool_calls": [{"name": "f", "arguments": {"a": "\ud83d"}}]},
        {"role": "assistant", "tool_calls": [{"name": "f", "arguments": '{"a": "\\ud83d"}'}]},
    ],
)
def test_half_a_character_is_found_wherever_it_stands(tmp_path: Path, turn: dict) -> None:
    dataset = rows(tmp_path, {"messages": [USER, ANSWER]}, {"messages": [USER, turn]})
    assert [found.message for found in dataset.findings] == [
        "Row 2 (a.jsonl:2) holds half a character (\\ud83d), which no text file can hold."
    ]


def documented() -> list[tuple[str, str, str]]:
    """(format, kind of file, content) of every example in docs/data.md."""
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    found, heading = [], ""
    for part in re.split(r"^(?=## |```)", text, flags=re.MULTILINE):
        if part.startswith("## "):
            heading = part.split("\n", 1)[0].removeprefix("## ")
        example = re.match(r"```(\w+)\n(.*)", part, re.DOTALL)
        if example:
            found.append((heading, *example.groups()))
    return found


@pytest.mark.parametrize(("format", "kind", "content"), documented())
def test_every_documented_example_is_read_in_its_format(
    tmp_path: Path, format: str, kind: str, content: str
) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_text(content, encoding="utf-8")
    dataset = read(path)
    assert (dataset.format, dataset.findings) == (format, [])
    assert dataset.conversations[0].messages[-1].role == "assistant"


def test_the_documented_examples_of_tools_are_the_same_conversation(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    said = []
    for _, kind, content in documented():
        if kind == "json" and "celsius" in content:
            path.write_text(content, encoding="utf-8")
            (row,) = read(path).conversations
            turns = [message for message in row.messages if message.role != "system"]
            calls = [json.loads(call.arguments) for call in turns[1].tool_calls]
            names = [json.loads(tool)["function"]["name"] for tool in row.tools]
            said.append(([message.content for message in turns], calls, names))
    assert said == [said[0]] * 3


TEXTS = [
    "",
    " ",
    "\n",
    "x",
    "ü 天 👩\u200d💻",
    '"{}"',
    "<think>a</think>b",
    "a\u2028\u0085\r\nb\t",
    "null",
    "\x00",
]


def some_json(chance: random.Random, depth: int = 0) -> Any:
    kinds = 7 if depth < 3 else 5
    match chance.randrange(kinds):
        case 0:
            return None
        case 1:
            return chance.choice([True, False])
        case 2:
            return chance.choice([0, -1, 10**20, 0.1, 1e-9])
        case 3 | 4:
            return chance.choice(TEXTS)
        case 5:
            return [some_json(chance, depth + 1) for _ in range(chance.randrange(3))]
    return some_object(chance, depth + 1)


def some_object(chance: random.Random, depth: int = 0) -> dict[str, Any]:
    return {chance.choice([*TEXTS, "key"]): some_json(chance, depth) for _ in range(chance.randrange(4))}


def some_conversation(chance: random.Random, row: int) -> Conversation:
    """Any conversation that a file can hold: every result answers a call."""

    def text() -> str:
        return "".join(chance.choice(TEXTS) for _ in range(chance.randrange(3)))

    messages = [Message("system", text(), name=text())] if chance.random() < 0.5 else []
    for turn in range(chance.randrange(4)):
        messages.append(Message("user", text(), name=text()))
        spaces = chance.choice([None, 1])
        calls = tuple(
            ToolCall(
                f"tool {text()}",
                json.dumps(some_object(chance), indent=spaces, ensure_ascii=chance.random() < 0.5),
                chance.choice(["", f"call {turn}.{number}"]),
            )
            for number in range(chance.randrange(3))
        )
        messages.append(Message("assistant", text(), chance.random() < 0.7, text(), calls, text()))
        messages += [Message("tool", text(), name=text(), tool_call_id=call.id) for call in calls if call.id]
    messages.append(Message("assistant", text(), reasoning=text()))
    tools = [json.dumps({**some_object(chance), "function": {}}, ensure_ascii=False) for _ in range(2)]
    return Conversation(tuple(messages), row, tuple(tools[: chance.randrange(3)]))


def test_any_conversation_that_is_written_is_read_back_the_same(tmp_path: Path) -> None:
    chance = random.Random(3)
    written = [some_conversation(chance, row) for row in range(1, 301)]
    assert [Conversation.from_json(row.to_json(), row.row) for row in written] == written
    write_messages(written, tmp_path / "a.jsonl")
    dataset = read(tmp_path / "a.jsonl")
    assert [found.message for found in dataset.findings if found.severity == "error"] == []
    assert dataset.conversations == written
