"""Files of every kind become conversations, or one sentence that says where they are wrong."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pandas
import pytest

from studio.domain.chat import Conversation, Message, ToolCall
from studio.domain.config import DataConfig
from studio.domain.errors import StudioError
from studio.engine.dataset import load_training, read, recognise, split, write_messages
from studio.engine.json_records import Window


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def turns(conversation: Conversation) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in conversation.messages]


def refused(path: Path, **options: object) -> str:
    with pytest.raises(StudioError) as caught:
        read(path, **options)  # type: ignore[arg-type]
    assert caught.value.remedy
    return caught.value.message


QA = [("user", "q"), ("assistant", "a")]


@pytest.mark.parametrize(
    ("format", "record", "expected"),
    [
        ("alpaca", {"instruction": "q", "input": "", "output": "a"}, QA),
        ("alpaca", {"instruction": "q", "output": "a"}, QA),
        ("alpaca", {"Instruction": "q", "Output": "a"}, QA),
        (
            "alpaca",
            {"instruction": "q", "context": "c", "response": "a"},
            [("user", "q\nc"), ("assistant", "a")],
        ),
        (
            "alpaca",
            {"system": "s", "history": [["h1", "h2"]], "instruction": "q", "input": "i", "output": "a"},
            [("system", "s"), ("user", "h1"), ("assistant", "h2"), ("user", "q\ni"), ("assistant", "a")],
        ),
        ("sharegpt", {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, QA),
        (
            "sharegpt",
            {
                "system": "s",
                "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
            },
            [("system", "s"), *QA],
        ),
        (
            "messages",
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
            QA,
        ),
        (
            "messages",
            {"conversations": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
            QA,
        ),
        (
            "messages",
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "q"}]},
                    {"role": "assistant", "content": "a"},
                ]
            },
            QA,
        ),
        ("prompt_completion", {"prompt": "q", "completion": "a"}, QA),
        ("prompt_completion", {"prompt": "q", "response": "a"}, QA),
        ("prompt_completion", {"question": "q", "answer": "a", "id": 7}, QA),
    ],
)
def test_each_format_is_recognised(tmp_path: Path, format: str, record: dict, expected: list) -> None:
    for name, content in (
        ("a.json", json.dumps([record])),
        ("a.jsonl", json.dumps(record)),
        ("b.json", json.dumps(record)),
    ):
        dataset = read(put(tmp_path, name, content))
        assert (dataset.format, dataset.row_numbers, dataset.findings) == (format, [1], [])
        assert turns(dataset.conversations[0]) == expected


def test_unknown_columns_are_not_recognised() -> None:
    assert recognise(["text", "label"], [{"text": "x", "label": 1}]) is None


def test_contents_are_kept_exactly(tmp_path: Path) -> None:
    odd = "  a\u2028b\r\n\tc \u00a0"
    dataset = read(
        put(tmp_path, "a.jsonl", json.dumps({"prompt": "q", "completion": odd}, ensure_ascii=False))
    )
    assert dataset.conversations[0].response == odd


def test_an_object_with_one_list_holds_the_rows(tmp_path: Path) -> None:
    text = '{"version": 1,\n "data": [\n  {"prompt": "q", "response": "a"},\n  {"prompt": "q"}\n]}'
    dataset = read(put(tmp_path, "a.json", text))
    assert dataset.row_numbers == [1, 2]
    assert dataset.findings[0].message == "Row 2 (a.json:4): its field response is missing."


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_delimiters_are_sniffed(tmp_path: Path, delimiter: str) -> None:
    lines = [["prompt", "response"], ["what, is; this?", "a | b"], ["q2", "a2"]]
    text = "\r\n".join(delimiter.join(f'"{cell}"' for cell in line) for line in lines)
    dataset = read(put(tmp_path, "a.csv", text))
    assert turns(dataset.conversations[0]) == [("user", "what, is; this?"), ("assistant", "a | b")]
    assert [conversation.row for conversation in dataset.conversations] == [1, 2]


def test_a_semicolon_csv_with_commas_in_its_cells_and_no_quotes(tmp_path: Path) -> None:
    dataset = read(
        put(tmp_path, "a.csv", "instruction;input;output\nGreet me, please;;Hello, you\nCount;1, 2;3, 4\n")
    )
    assert turns(dataset.conversations[0]) == [("user", "Greet me, please"), ("assistant", "Hello, you")]


def test_csv_cells_hold_quotes_and_line_breaks(tmp_path: Path) -> None:
    dataset = read(put(tmp_path, "a.csv", '\ufeffprompt,response\n"line 1\nline 2","he said ""yes"""\nq,a\n'))
    assert turns(dataset.conversations[0]) == [("user", "line 1\nline 2"), ("assistant", 'he said "yes"')]
    assert turns(dataset.conversations[1]) == QA


def test_csv_with_messages_as_json_text(tmp_path: Path) -> None:
    cell = json.dumps([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]).replace(
        '"', '""'
    )
    assert turns(read(put(tmp_path, "a.csv", f'id,messages\n1,"{cell}"\n')).conversations[0]) == QA


def test_csv_rows_with_too_few_or_too_many_cells_are_named(tmp_path: Path) -> None:
    dataset = read(put(tmp_path, "a.csv", "prompt,response\nq,a\nonly\nq,a,extra\nq,a,,\n"))
    assert [conversation.row for conversation in dataset.conversations] == [1, 4]
    assert [finding.message for finding in dataset.findings] == [
        "Row 2 (line 3) has 1 cells where the header has 2.",
        "Row 3 (line 4) has 3 cells where the header has 2.",
    ]


def test_an_unclosed_csv_quote_costs_only_its_own_row(tmp_path: Path) -> None:
    text = 'prompt,response\n"q1","a1"\n"q2","a2\n"q3","a3"\n"q4","a4"\n'
    dataset = read(put(tmp_path, "a.csv", text))
    assert [conversation.prompt for conversation in dataset.conversations] == ["q1", "q3", "q4"]
    (finding,) = dataset.findings
    assert finding.rows == (2,)
    assert finding.message.startswith("Row 2 (line 3) cannot be read: its quotes do not close")


MULTI_LINE = "".join(f'{n},"ask\n{n}, please","first line\nsecond ""line"" {n}"\n' for n in range(3, 40))


def test_an_unclosed_quote_among_records_of_several_lines_costs_only_its_own_row(tmp_path: Path) -> None:
    for broken, said in (
        ('2,"ask 2,an answer\n', "Row 2 (line 3) cannot be read: its quotes do not close properly ("),
        ('2,"ask "two" now","a"\n', "Row 2 (line 3) cannot be read: its quotes do not close properly ("),
        ('2,"ask\n2,"an answer"\n', "Row 2 (lines 3 to 4) cannot be read: a quote is not closed properly ("),
        ('2,ask,"Well, yes\nHello, dear, you\nbye\n', "Row 2 (lines 3 to 5) cannot be read: "),
    ):
        dataset = read(put(tmp_path, "a.csv", f"id,prompt,response\n1,q,a\n{broken}{MULTI_LINE}"))
        assert [record["id"] for record in dataset.rows] == ["1", *map(str, range(3, 40))]
        assert dataset.conversations[-1].response == 'first line\nsecond "line" 39'
        (finding,) = dataset.findings
        assert finding.message.startswith(said)


def test_every_second_row_with_a_wrong_quote_costs_no_other_row(tmp_path: Path) -> None:
    text = "".join(f'{n},"q{n}","a{n}{"" if n % 2 else chr(34)}"\n' for n in range(1, 20))
    dataset = read(put(tmp_path, "a.csv", "id,prompt,response\n" + text))
    assert [record["id"] for record in dataset.rows] == [str(n) for n in range(1, 20, 2)]
    assert [finding.rows for finding in dataset.findings] == [(n,) for n in range(2, 20, 2)]


def test_lines_that_no_record_can_be_found_in_are_named_from_first_to_last(tmp_path: Path) -> None:
    dataset = read(put(tmp_path, "a.csv", 'prompt,response\nq,a\nq2,"a2\none\ntwo\nthree\n'))
    (finding,) = dataset.findings
    assert finding.message.startswith("Row 2 (lines 3 to 6) cannot be read: a quote is not closed properly (")
    assert finding.message.endswith("All of these lines are left out.")


def test_a_row_of_several_lines_with_too_many_cells_names_them(tmp_path: Path) -> None:
    dataset = read(put(tmp_path, "a.csv", 'prompt,response\nq,"a\nb",extra\nq,a\n'))
    assert [finding.message for finding in dataset.findings] == [
        "Row 1 (lines 2 to 3) has 3 cells where the header has 2. All of these lines are left out."
    ]


def test_the_costliest_of_many_wrong_rows_is_among_those_told(tmp_path: Path) -> None:
    text = "prompt,response\nq,a\n" + "only\n" * 30 + 'q,"lost\n1\n2\n'
    findings = read(put(tmp_path, "a.csv", text)).findings
    assert (len(findings), findings[-1].count) == (21, 11)
    assert findings[-2].message.startswith("Row 32 (lines 33 to 35) cannot be read")


def test_a_csv_cut_off_inside_its_last_cell_loses_only_that_row(tmp_path: Path) -> None:
    dataset = read(put(tmp_path, "a.csv", 'prompt,response\nq1,a1\nq2,"a long\nletter\nwithout'))
    assert [conversation.row for conversation in dataset.conversations] == [1]
    assert dataset.findings[0].rows == (2,)


def test_parquet_with_numbers_and_nothing(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"question": ["2+2?", "size?", None], "answer": [4.5, float("nan"), None]})
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(table, path)
    dataset = read(path)
    assert [turns(conversation) for conversation in dataset.conversations] == [
        [("user", "2+2?"), ("assistant", "4.5")],
        [("user", "size?"), ("assistant", "")],
        [("user", ""), ("assistant", "")],
    ]
    path.write_bytes(path.read_bytes()[:40])
    assert refused(path).startswith("a.parquet is a damaged Parquet file")


def test_parquet_with_messages(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    rows = [[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]]
    pyarrow.parquet.write_table(pyarrow.table({"messages": rows}), path)
    assert turns(read(path).conversations[0]) == QA


def test_the_list_of_rows_is_that_of_the_top_level_key(tmp_path: Path) -> None:
    text = (
        '{"meta": {"examples": [{"prompt": "wrong", "response": "wrong"}], "examp\\u006ces": [1]},\n'
        ' "n": [1, 2], "examples": [{"prompt": "q", "response": "a"},\n{"prompt": "q"}]}\n'
    )
    dataset = read(put(tmp_path, "a.json", text))
    assert [turns(conversation) for conversation in dataset.conversations] == [QA]
    assert [finding.message for finding in dataset.findings] == [
        "Row 2 (a.json:3): its field response is missing."
    ]


def test_the_content_decides_where_the_extension_is_wrong(tmp_path: Path) -> None:
    row = '{"prompt": "q", "response": "a"}'
    for name, content in [
        ("a.csv", f"[{row}]"),
        ("a.json", f"{row}\n{row}"),
        ("a.txt", f"{row}\n"),
        ("b.jsonl", f"[\n{row},\n{row}]"),
        ("c.json", "prompt,response\nq,a\n"),
    ]:
        assert turns(read(put(tmp_path, name, content)).conversations[0]) == QA


def test_a_malformed_jsonl_line_is_left_out_with_its_place(tmp_path: Path) -> None:
    lines = [
        '{"prompt": "q", "response": "a"}',
        "",
        '{"prompt": "q", "response" "a"}',
        "[1]",
        '{"prompt": "q", "response": "a"}',
    ]
    dataset = read(put(tmp_path, "a.jsonl", "\n".join(lines)))
    assert [conversation.row for conversation in dataset.conversations] == [1, 4]
    broken, wrong = dataset.findings
    assert (broken.rows, broken.dimension, broken.severity) == ((2,), "file", "error")
    assert broken.message.startswith("Row 2 (line 3, character 28) is not valid JSON: ")
    assert wrong.message == "Row 3 (line 4) is a list, not an object with named fields."


def test_a_first_line_that_is_malformed_does_not_cost_the_file(tmp_path: Path) -> None:
    for first in ('{"prompt": "q", "response": }', "oops"):
        dataset = read(put(tmp_path, "a.jsonl", f'{first}\n{{"prompt": "q", "response": "a"}}\n'))
        assert [conversation.row for conversation in dataset.conversations] == [2]


def test_rows_that_are_no_conversation_are_left_out_with_the_reason(tmp_path: Path) -> None:
    user = {"role": "user", "content": "q"}
    records: list[dict] = [
        {"messages": [user, {"role": "assistant", "content": "a"}]},
        {"messages": [user, {"role": "wizard", "content": "a"}]},
        {"messages": [user, {"role": "assistant"}]},
        {"messages": "q"},
        {"messages": []},
        {"note": "a"},
        {"messages": [user, {"role": "assistant", "content": "\ud83d"}]},
        {"messages": [user, {"role": "assistant", "content": None, "tool_calls": [{}]}]},
        {"messages": [user, {"role": "assistant", "content": [{"type": "image_url"}]}]},
    ]
    dataset = read(put(tmp_path, "a.jsonl", "\n".join(map(json.dumps, records))))
    assert [conversation.row for conversation in dataset.conversations] == [1]
    assert [(finding.check, finding.message) for finding in dataset.findings] == [
        ("wrong_shape", "Row 2 (a.jsonl:2): its message 2 has the unknown role wizard."),
        ("missing_field", "Row 3 (a.jsonl:3): its message 2 has no field content."),
        ("wrong_shape", "Row 4 (a.jsonl:4): its field messages holds text, not a list."),
        ("wrong_shape", "Row 5 (a.jsonl:5): its list messages is empty."),
        (
            "missing_field",
            "Row 6 (a.jsonl:6) is in no format that is recognised. Its columns: note.",
        ),
        ("wrong_shape", "Row 7 (a.jsonl:7) holds half a character (\\ud83d), which no text file can hold."),
        ("missing_field", "Row 8 (a.jsonl:8): the field tool_calls[0].name of its message 2 names no tool."),
        ("wrong_shape", "Row 9 (a.jsonl:9): its message 2 holds something other than text."),
    ]


def alpaca(number: int) -> dict[str, str]:
    return {"instruction": f"Name {number}.", "input": "", "output": f"It is {number}."}


TURNS = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}


def test_each_row_is_read_in_its_own_format(tmp_path: Path) -> None:
    records: list[dict] = [
        *map(alpaca, range(5)),
        TURNS,
        {"question": "q", "answer": "a"},
        {"text": "t"},
        {"x": 1},
    ]
    dataset = read(put(tmp_path, "a.jsonl", "\n".join(map(json.dumps, records))))
    assert (dataset.format, len(dataset.conversations)) == ("several", 8)
    assert dataset.conversations[5].messages == (Message("user", "q"), Message("assistant", "a"))
    assert [(finding.check, finding.message) for finding in dataset.findings] == [
        ("missing_field", "Row 9 (a.jsonl:9) is in no format that is recognised. Its columns: x."),
        (
            "several_formats",
            "The rows have several formats, and each was read in its own: alpaca (5), messages (1), "
            "prompt_completion (1), text (1).",
        ),
    ]


def test_several_files_of_different_shapes_are_one_set(tmp_path: Path) -> None:
    one = put(tmp_path, "a.jsonl", json.dumps(TURNS))
    rows = [[record["instruction"], record["output"]] for record in map(alpaca, range(9))]
    other = put(tmp_path, "b.csv", "instruction,output\n" + "\n".join(",".join(row) for row in rows))
    third = tmp_path / "c.parquet"
    pandas.DataFrame([{**TURNS, "question": None}]).to_parquet(third)
    dataset = read([one, other, third])
    assert (dataset.format, len(dataset.conversations)) == ("several", 11)


def test_rows_without_the_mapped_columns_are_read_in_their_own_format(tmp_path: Path) -> None:
    records = [*[{"title": f"t{number}", "body": "b"} for number in range(9)], TURNS]
    path = put(tmp_path, "a.jsonl", "\n".join(map(json.dumps, records)))
    with pytest.raises(StudioError, match="no format that is recognised"):
        read(path)
    columns = {"prompt": "title", "response": "body"}
    for form in ("columns", "auto"):
        dataset = read(path, format=form, columns=columns)
        assert (dataset.format, len(dataset.conversations)) == ("several", 10)


def test_a_mapped_column_that_holds_null_is_an_empty_text(tmp_path: Path) -> None:
    record = {"question": "q", "answer": "a", "note": None}
    path = put(tmp_path, "a.json", json.dumps([record, {**record, "note": "n"}]))
    dataset = read(path, columns={"prompt": "question", "response": "note"})
    assert [row.response for row in dataset.conversations] == ["", "n"]


def test_a_chosen_format_is_that_of_all_rows(tmp_path: Path) -> None:
    path = put(tmp_path, "a.jsonl", "\n".join(map(json.dumps, [alpaca(1), TURNS])))
    dataset = read(path, format="alpaca")
    assert (dataset.format, [row.row for row in dataset.conversations]) == ("alpaca", [1])


@pytest.mark.parametrize(
    "written",
    [
        {"instruction": ["Name 0.", "Name 1."], "input": ["", ""], "output": ["It is 0.", "It is 1."]},
        {"instruction": {"0": "Name 0.", "1": "Name 1."}, "output": {"0": "It is 0.", "1": "It is 1."}},
        {"a": alpaca(0), "b": alpaca(1)},
        {"columns": ["instruction", "output"], "data": [[f"Name {n}.", f"It is {n}."] for n in (0, 1)]},
        {"train": [alpaca(0), alpaca(1)], "test": [alpaca(2)]},
        {"one": [alpaca(0)], "two": [alpaca(1)]},
        [[{"role": "user", "content": f"Name {n}."}, {"role": "assistant", "content": f"It is {n}."}] for n in (0, 1)],
        [{"conversation": [{"human": f"Name {n}.", "assistant": f"It is {n}."}]} for n in (0, 1)],
        [{"指令": f"Name {n}.", "输出": f"It is {n}."} for n in (0, 1)],
    ],
)  # fmt: skip
def test_the_ways_in_which_libraries_write_rows_as_json(tmp_path: Path, written: Any) -> None:
    dataset = read(put(tmp_path, "a.json", json.dumps(written)))
    assert [[message.content for message in row.messages] for row in dataset.conversations] == [
        ["Name 0.", "It is 0."],
        ["Name 1.", "It is 1."],
    ]


def test_a_field_beside_the_answer_costs_no_row(tmp_path: Path) -> None:
    for beside in (
        {"context": {"title": ["a"]}},
        {"context": ["a"]},
        {"history": "Has diabetes."},
        {"context": 17},
    ):
        record = {"question": "Who?", "answer": "Ada.", **beside}
        dataset = read(put(tmp_path, "a.json", json.dumps([record])))
        assert turns(dataset.conversations[0]) == [("user", "Who?"), ("assistant", "Ada.")]
    record = {"prompt": "P", "input": "web-form-3", "response": "R"}
    assert turns(read(put(tmp_path, "b.json", json.dumps([record]))).conversations[0])[0] == ("user", "P")


@pytest.mark.parametrize(
    ("record", "prompt", "unread"),
    [
        ({"指令": "翻译", "输入": "我爱你", "输出": "I love you."}, "翻译\n我爱你", []),
        ({"instruction": "Sum.", "input": "1 2", "answer": "3"}, "Sum.\n1 2", []),
        ({"问题": "q", "上下文": "c", "答案": "a"}, "q\nc", []),
        ({"prompt": "P", "input": "web-form-3", "response": "R"}, "P", ["input"]),
        ({"prompt": "P", "reasoning": "because", "response": "R"}, "P", ["reasoning"]),
        ({"instruction": "i", "question": "q", "output": "o"}, "i", ["question"]),
        ({"prompt": "P", "input": "i", "chosen": "c", "rejected": "r"}, "P", ["input"]),
    ],
)
def test_a_field_that_is_in_no_message_is_told(
    record: dict[str, str], prompt: str, unread: list[str], tmp_path: Path
) -> None:
    found = read(put(tmp_path, "a.json", json.dumps([record], ensure_ascii=False)))
    assert turns(found.conversations[0])[0] == ("user", prompt)
    told = [finding for finding in found.findings if finding.check == "unused_field"]
    assert [finding.text.values["name"] for finding in told] == unread


def test_a_title_above_the_names_of_the_columns_is_told_and_not_read(tmp_path: Path) -> None:
    for text in ("FAQ of 2024\n\nprompt,response\nq,a\n", "FAQ\nMarch\nprompt,response\nq,a\n"):
        found = read(put(tmp_path, "a.csv", text))
        assert turns(found.conversations[0]) == QA
        assert [finding.check for finding in found.findings if finding.check == "title_rows"] == [
            "title_rows"
        ]
    numbered = read(put(tmp_path, "c.csv", ",text\n0,hello\n1,there\n"), format="text")
    assert len(numbered.conversations) == 2
    padded = read(put(tmp_path, "d.csv", "FAQ,\nquestion,answer\nq,a\n"))
    assert turns(padded.conversations[0]) == QA
    listed = "text\nWell, yes\nNo, thanks\nI am here\n"
    assert len(read(put(tmp_path, "e.csv", listed), format="text").conversations) == 1
    alone = read(put(tmp_path, "b.csv", "text\none\ntwo, three\n"), format="text")
    assert "title_rows" not in {finding.check for finding in alone.findings}


def test_turns_in_a_cell_as_pandas_writes_them(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    quoted = str(said).replace('"', '""')
    assert turns(read(put(tmp_path, "a.csv", f'messages\n"{quoted}"\n')).conversations[0]) == QA


@pytest.mark.parametrize(
    "cell",
    ["[{'role': {[]: 1}}]", "[{'role': b'user', 'content': ...}]", "[{'a': {1, 2}}]", "[{'role': 'user'"],
)
def test_a_cell_that_only_looks_like_turns_costs_its_row_alone(cell: str, tmp_path: Path) -> None:
    good = json.dumps([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}])
    rows = "\n".join('"' + text.replace('"', '""') + '"' for text in (good, cell))
    found = read(put(tmp_path, "a.csv", f"messages\n{rows}\n"))
    assert [turns(row) for row in found.conversations] == [QA]


def test_nulls_say_nothing_of_a_format(tmp_path: Path) -> None:
    few = [*[{"prompt": "a", "response": None}] * 3, *[{"prompt": "q", "response": "a"}] * 2]
    assert len(read(put(tmp_path, "a.json", json.dumps(few))).conversations) == 5
    record = {"prompt": None, "response": None, "messages": None, "question": "q", "answer": "a"}
    assert turns(read(put(tmp_path, "b.json", json.dumps([record]))).conversations[0]) == QA


def test_a_json_file_of_splits_gives_the_one_that_is_asked_for(tmp_path: Path) -> None:
    path = put(tmp_path, "a.json", json.dumps({"test": [alpaca(0)], "train": [alpaca(1), alpaca(2)]}))
    sizes = {split: len(read(path, read_as={"split": split}).conversations) for split in ("", "test", "all")}
    assert sizes == {"": 2, "test": 1, "all": 3}
    assert [finding.check for finding in read(path).findings] == ["other_splits"]
    assert len(read(path, read_as={"split": "Test"}).conversations) == 1
    with pytest.raises(StudioError, match=r"a\.json has no split dev\.") as caught:
        read(path, read_as={"split": "dev"})
    assert caught.value.remedy == "Choose one of test, train."


def test_splits_may_stand_in_an_object_of_their_own(tmp_path: Path) -> None:
    splits = {"train": [alpaca(1), alpaca(2)], "test": [alpaca(0)]}
    path = put(
        tmp_path, "a.json", json.dumps({"version": 1.5, "license": "x", "data": splits, "by": "y"}, indent=1)
    )
    sizes = {split: len(read(path, read_as={"split": split}).conversations) for split in ("", "test", "all")}
    assert sizes == {"": 2, "test": 1, "all": 3}


@pytest.mark.parametrize("broken", [False, True], ids=["long", "long and broken"])
def test_of_a_long_json_file_of_splits_all_that_is_asked_for_is_read(tmp_path: Path, broken: bool) -> None:
    rows = {
        "meta": {"made": [1]},
        "test": [alpaca(0)],
        "train": [alpaca(n) for n in range(1, 400)],
        "dev": [alpaca(9)],
    }
    rows["train"][7]["output"] += 34_000_000 * "x"  # longer than what is read at once
    text = json.dumps(rows)
    if broken:
        text = text.replace('"output"', '"output" oops', 3).replace('"output" oops', '"output"', 2)
    path = put(tmp_path, "a.json", text)
    train = 399 - broken
    sizes = {}
    for wanted in ("", "TRAIN", "test", "dev", "all"):
        dataset = read(path, read_as={"split": wanted})
        sizes[wanted] = len(dataset.conversations)
        others = [finding for finding in dataset.findings if finding.check == "other_splits"]
        assert len(others) == (wanted != "all")
    assert sizes == {"": train, "TRAIN": train, "test": 1, "dev": 1, "all": train + 2}
    with pytest.raises(StudioError, match=r"a\.json has no split validation\."):
        read(path, read_as={"split": "validation"})


@pytest.mark.parametrize("wanted", ["", "test"])
def test_a_split_whose_last_row_is_broken_does_not_run_on_into_the_next(tmp_path: Path, wanted: str) -> None:
    rows = {"train": [alpaca(0), alpaca(1)], "test": [alpaca(2), alpaca(3), alpaca(4)]}
    text = json.dumps(rows).replace('}], "test"', ',}], "test"')
    dataset = read(put(tmp_path, "a.json", text), read_as={"split": wanted})
    assert len(dataset.conversations) == (3 if wanted else 1)


def test_a_broken_row_that_has_a_list_called_test_costs_itself_only(tmp_path: Path) -> None:
    rows = [alpaca(0), {**alpaca(1), "seen": [1], "test": [2]}, alpaca(2), alpaca(3)]
    text = json.dumps(rows).replace('"instruction": "What is 1', '"instruction" oops "What is 1')
    text = text if "oops" in text else json.dumps(rows).replace("[1]", "[1], oops", 1)
    assert len(read(put(tmp_path, "a.json", text)).conversations) == 3


def test_a_json_file_of_one_split_has_no_other(tmp_path: Path) -> None:
    for rows in ({"train": [alpaca(0)]}, {"train": [alpaca(0)], "test": []}):
        path = put(tmp_path, "a.json", json.dumps(rows))
        assert len(read(path).conversations) == 1
        with pytest.raises(StudioError):
            read(path, read_as={"split": "dev"})


def test_every_place_where_a_long_file_may_be_cut_is_read_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"train": [alpaca(n) for n in range(4)], "test": [alpaca(9), alpaca(8)], "dev": []}
    path = put(tmp_path, "a.json", json.dumps(rows).replace("}, {", "} {", 1))
    monkeypatch.setattr("studio.engine.json_records.LONGEST", 200)
    monkeypatch.setattr(Window.value, "__defaults__", (200,))
    for size in range(120, 420, 7):
        monkeypatch.setattr("studio.engine.json_records._CHUNK", size)
        counts = [len(read(path, read_as={"split": wanted}).conversations) for wanted in ("", "test", "all")]
        assert counts == [4, 2, 6], size


def test_a_long_json_file_without_a_split_to_train_on_gives_its_first(tmp_path: Path) -> None:
    rows = {
        "validation": [alpaca(0), alpaca(1)],
        "test": [{**alpaca(2), "note": 34_000_000 * "x"}, alpaca(3)],
    }
    path = put(tmp_path, "a.json", json.dumps(rows))
    assert len(read(path).conversations) == 2
    only = put(tmp_path, "b.json", json.dumps({"test": rows["test"]}))
    dataset = read(only)
    assert len(dataset.conversations) == 2
    assert "other_splits" not in [finding.check for finding in dataset.findings]


def test_a_context_belongs_to_its_question(tmp_path: Path) -> None:
    record = {"question": "Who?", "context": "Ada wrote.", "answer": "Ada."}
    dataset = read(put(tmp_path, "a.json", json.dumps([record])))
    assert dataset.conversations[0].messages[0].content == "Who?\nAda wrote."


def test_a_weight_of_0_says_that_an_answer_is_not_trained(tmp_path: Path) -> None:
    def record(weight: object) -> dict:
        said = {"role": "assistant", "content": "a", "weight": weight}
        return {"messages": [{"role": "user", "content": "q", "weight": 0}, said]}

    path = put(tmp_path, "a.jsonl", "\n".join(json.dumps(record(weight)) for weight in (0, 1, None, 0.5)))
    dataset = read(path)
    assert [[m.trained for m in c.messages] for c in dataset.conversations] == [
        [True, False],
        [True, True],
        [True, True],
    ]
    assert [finding.message for finding in dataset.findings] == [
        "Row 4 (a.jsonl:4): its message 2 has the weight 0.5; it can only be 0 or 1."
    ]
    write_messages(dataset.conversations, tmp_path / "b.jsonl")
    assert read(tmp_path / "b.jsonl").conversations == dataset.conversations
    assert (tmp_path / "b.jsonl").read_text().count("weight") == 1


def test_a_second_system_message_is_not_dropped_silently(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    system = {"role": "system", "content": "s"}
    records: list[dict] = [
        {"messages": talk, "system": "s"},
        {"messages": [system, *talk], "system": "other"},
        {"messages": [system, *talk], "system": "s"},
        {"messages": [system, *talk], "System": "other"},
    ]
    dataset = read(put(tmp_path, "a.jsonl", "\n".join(map(json.dumps, records))))
    assert [conversation.system for conversation in dataset.conversations] == ["s"] * 4
    assert [(found.check, found.severity, found.rows, found.message) for found in dataset.findings] == [
        (
            "unused_field",
            "warning",
            (2,),
            "Rows with a field system beside messages that hold a system message already: 1. The field is not used.",
        ),
        (
            "unused_field",
            "warning",
            (4,),
            "Rows with a field System beside messages that hold a system message already: 1. The field is not used.",
        ),
    ]


def test_many_malformed_rows_are_summed_up(tmp_path: Path) -> None:
    dataset = read(put(tmp_path, "a.jsonl", '{"prompt": "q", "response": "a"}\n' + "{x}\n" * 30))
    assert len(dataset.findings) == 21
    assert dataset.findings[-1].rows == tuple(range(22, 32))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "a.jsonl is empty."),
        ("a.csv", b"\xef\xbb\xbf \n", "a.csv is empty."),
        ("a.json", b"[]", "a.json holds no rows."),
        ("a.csv", b"prompt,response\n", "a.csv holds no rows."),
        ("a.csv", b"PK\x03\x04abc", "a.csv is a zip archive or an Excel workbook, not a data file."),
        (
            "a.csv",
            b"text,label\nx,1\n",
            "a.csv is in no format that is recognised. Its columns: text, label.",
        ),
        ("a.csv", b"prompt,prompt\nx,1\n", "a.csv, line 1: two columns are named prompt."),
        (
            "a.json",
            b'["a", "b"]',
            "No row of a.json can be used. Row 1 (line 1) is text, not an object with named fields.",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    assert refused(put(tmp_path, name, content)) == message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "no.csv") == f"There is no file {tmp_path / 'no.csv'}."


def test_a_folder_is_read_but_not_trained_on(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path, f"{name}.jsonl", json.dumps({"prompt": name, "response": "r"}))
    assert [c.prompt for c in read(tmp_path).conversations] == ["a", "b"]
    for path in (tmp_path, tmp_path / "no.csv"):
        with pytest.raises(StudioError, match=r"is a folder, not a file|There is no file"):
            load_training(DataConfig(path=str(path)), seed=1)


def test_the_files_of_an_archive_are_one_set_and_a_broken_record_has_its_place(tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jsonl", '{"prompt": "1", "response": "r"}\n')
        archive.writestr("b.jsonl", '{"prompt": "2", "response": "r"}\n{broken\n')
    dataset = read(path)
    assert [(c.row, c.prompt) for c in dataset.conversations] == [(1, "1"), (2, "2")]
    assert [(q.file, q.line, q.row, q.text) for q in dataset.quarantined] == [
        ("two.zip/b.jsonl", 2, 3, "{broken")
    ]
    assert [found.rows for found in dataset.findings] == [(3,)]
    assert dataset.total == 3


def test_a_malformed_json_object_costs_itself_only_and_is_said(tmp_path: Path) -> None:
    good = '{"prompt": "q", "response": "a"}'
    dataset = read(put(tmp_path, "a.json", f'[{good},\n {{"prompt": "q" "response": "a"}},\n{good}]'))
    assert [c.row for c in dataset.conversations] == [1, 3]
    assert [f.message for f in dataset.findings] == [
        "Row 2 (line 2, character 17) is not valid JSON: Expecting ',' delimiter."
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{\n "prompt": "q"\n "response": "a"\n}\n', "line 3, character 2"),
        ('{"prompt": "q"', "line 1, character 15"),
        ("[" * 100_000, "line 1, character 2"),
    ],
)
def test_json_of_which_nothing_can_be_read_names_line_and_character(
    tmp_path: Path, text: str, place: str
) -> None:
    message = refused(put(tmp_path, "a.json", text))
    assert message.startswith(f"a.json, {place}: it is not valid JSON (")


@pytest.mark.parametrize(
    ("encoding", "text", "likely"),
    [
        ("cp1252", "Où est le café ? À côté.", "Windows-1252 (Western European)"),
        ("gb18030", "我想知道这个订单的状态是什么，谢谢。", "GBK / GB18030 (Chinese)"),
        ("shift_jis", "こんにちは、注文はどこですか。", "Shift JIS (Japanese)"),
        ("euc_kr", "안녕하세요 주문은 어디에 있습니까", "EUC-KR (Korean)"),
        ("cp1251", "Где находится мой заказ сегодня", "Windows-1251 (Cyrillic)"),
    ],
)
def test_an_encoding_is_recognised_and_said(tmp_path: Path, encoding: str, text: str, likely: str) -> None:
    dataset = read(put(tmp_path, "a.csv", b"prompt,response\nq," + text.encode(encoding)))
    assert dataset.conversations[0].response == text
    assert dataset.findings[0].message.startswith(f"a.csv was read as {likely}, which its bytes look like")


def test_utf16_with_its_mark_is_read_and_said(tmp_path: Path) -> None:
    dataset = read(put(tmp_path, "a.csv", "prompt,response\nq,ä\n".encode("utf-16")))
    assert dataset.conversations[0].response == "ä"
    assert [(f.severity, f.message) for f in dataset.findings] == [
        ("info", "a.csv is written in UTF-16 and was read as such.")
    ]


def test_columns_are_mapped_by_hand(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", "frage,antwort,rolle,mehr\nq,a,s,i\n")
    mapping = {"prompt": "frage", "response": "antwort", "system": "rolle", "input": "mehr"}
    dataset = read(path, columns=mapping)
    assert dataset.format == "columns"
    assert turns(dataset.conversations[0]) == [("system", "s"), ("user", "q\ni"), ("assistant", "a")]
    assert (
        refused(path, format="columns")
        == "No column is chosen for the prompt. a.csv has the columns frage, antwort, rolle, mehr."
    )
    with pytest.raises(StudioError) as caught:
        read(path, columns={"prompt": "frage", "response": "antwrt"})
    assert str(caught.value) == (
        "a.csv has no column antwrt for the response. Its columns: frage, antwort, rolle, mehr. Did you mean antwort?"
    )


def test_a_format_whose_column_is_missing_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", "instruction,label\nq,1\n")
    assert refused(path, format="alpaca") == (
        "a.csv is not in the format alpaca: it lacks the column output. Its columns: instruction, label."
    )


def test_a_row_of_100000_characters_and_more_is_read(tmp_path: Path) -> None:
    long = "word " * 60_000
    assert read(put(tmp_path, "a.csv", f'prompt,response\nq,"{long}"\n')).conversations[0].response == long


def test_max_rows_stops_early(tmp_path: Path) -> None:
    path = put(tmp_path, "a.jsonl", '{"prompt": "q", "response": "a"}\n' * 9)
    assert len(read(path, max_rows=4).rows) == 4


def conversation(row: int, prompt: str, response: str) -> Conversation:
    return Conversation((Message("user", prompt), Message("assistant", response)), row)


def test_a_split_keeps_the_order_and_repeats_itself() -> None:
    rows = [conversation(number, f"q{number}", "a") for number in range(1, 21)]
    train, held_out = split(rows, 0.1, 7)
    assert (len(train), len(held_out)) == (18, 2)
    assert sorted(train + held_out, key=lambda c: c.row) == rows
    assert [c.row for c in train] == sorted(c.row for c in train)
    assert split(rows, 0.1, 7) == (train, held_out)
    assert split(rows, 0.0, 7) == (rows, [])
    assert split(rows[:1], 0.5, 7) == (rows[:1], [])
    assert len(split(rows[:2], 0.01, 7)[1]) == 1


def test_training_data_names_what_it_leaves_out(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", "prompt,response\nq1,a1\nq2,\n,a3\nq4,a4\n")
    held = put(tmp_path, "b.csv", "prompt,response\nq4,a4\n")
    data = load_training(DataConfig(path=str(path), held_out_path=str(held)), seed=1)
    assert [c.row for c in data.train] == [1, 4]
    assert [(f.check, f.rows) for f in data.findings] == [("left_out", (2, 3)), ("leakage", (4,))]
    assert (
        data.findings[1].message == "In a.csv: Rows that are trained on are also held out to measure on: 1."
    )
    assert data.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_findings_of_two_files_say_which_one_they_are_about(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", "prompt,response\nq1,a1\nonly\nq2,\n")
    held = put(tmp_path, "b.csv", "prompt,response\nq4,a4\nonly\n")
    data = load_training(DataConfig(path=str(path), held_out_path=str(held)), seed=1)
    assert [finding.message for finding in data.findings] == [
        "In a.csv: Row 2 (line 3) has 1 cells where the header has 2.",
        "Rows of a.csv without a prompt or a response are left out: 1.",
        "In b.csv: Row 2 (line 3) has 1 cells where the header has 2.",
    ]


def test_held_out_rows_are_read_by_the_mapping_or_by_their_own_columns(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", "frage,antwort\nq,a\n")
    mapping = {"prompt": "frage", "response": "antwort"}

    def held_out(content: str, **reading: object) -> tuple[list, list[str]]:
        held = put(tmp_path, "b.txt", content)
        config = DataConfig.model_validate({"path": str(path), "held_out_path": str(held), **reading})
        data = load_training(config, seed=1)
        return [turns(row) for row in data.held_out], [
            f.message for f in data.findings if f.check != "leakage"
        ]

    mapped = {"format": "columns", "columns": mapping}
    assert held_out("frage,antwort\nq,a\n", **mapped) == ([QA], [])
    own = "b.txt does not have the format or the columns that were chosen and was read in its own format, "
    assert held_out("prompt,note,response\nq,x,a\n", **mapped) == ([QA], [own + "prompt_completion."])
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    assert held_out(json.dumps(row), **mapped) == ([QA], [own + "messages."])
    with pytest.raises(StudioError, match=r"b\.txt has no column frage for the prompt"):
        held_out("text,label\nx,1\n", **mapped)


def test_columns_that_are_mapped_for_the_held_out_file_alone_leave_repaired_rows_as_they_are(
    tmp_path: Path,
) -> None:
    path, held = tmp_path / "cleaned.jsonl", put(tmp_path, "b.csv", "frage,antwort\nq,a\n")
    write_messages([conversation(1, "q1", "a1")], path)
    mapping = {"prompt": "frage", "response": "antwort"}
    data = load_training(DataConfig(path=str(path), held_out_path=str(held), columns=mapping), seed=1)
    assert ([turns(c)[0][1] for c in data.train], [turns(c) for c in data.held_out]) == (["q1"], [QA])
    assert [(found.severity, found.message) for found in data.findings] == [
        (
            "info",
            "cleaned.jsonl does not have the format or the columns that were chosen and was read in its own format, "
            "messages.",
        )
    ]
    with pytest.raises(StudioError, match=r"cleaned\.jsonl has no column antwort for the response"):
        read(path, columns={"prompt": "messages", "response": "antwort"})


def test_nothing_left_to_train_on_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", "prompt,response\nq1,\nq2, \n")
    with pytest.raises(StudioError, match=r"a\.csv has no row to train on"):
        load_training(DataConfig(path=str(path)), seed=1)


def test_a_row_that_only_calls_tools_is_trained_on_and_compared_with_its_tools(tmp_path: Path) -> None:
    call = ToolCall("now", "{}", "c1")
    rows = [
        Conversation((Message("user", "q"), Message("assistant", "", tool_calls=(call,))), 1, tools)
        for tools in (('{"type": "function", "function": {"name": "now"}}',), ())
    ]
    write_messages(rows, tmp_path / "a.jsonl")
    write_messages(rows[:1], tmp_path / "b.jsonl")
    paths = {"path": str(tmp_path / "a.jsonl"), "held_out_path": str(tmp_path / "b.jsonl")}
    data = load_training(DataConfig(**paths), seed=1)
    assert ([c.row for c in data.train], [f.rows for f in data.findings]) == ([1, 2], [(1,)])


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    rows = [conversation(1, "ü\u2028 q\n", "\u200da "), conversation(2, "q", "")]
    write_messages(rows, tmp_path / "deep" / "out.jsonl")
    assert read(tmp_path / "deep" / "out.jsonl").conversations == rows
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out.jsonl"]


def test_of_a_file_with_more_rows_than_are_wanted_some_are_drawn(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    lines = [json.dumps({"prompt": f"q{n}", "response": f"a{n}"}) for n in range(1, 61)]
    file.write_text("\n".join([*lines[:30], "{broken", *lines[30:]]), encoding="utf-8")
    data = DataConfig(path=str(file), max_rows=20, held_out_share=0.1)
    found = load_training(data, seed=1)
    numbers = [row.row for row in found.train] + [row.row for row in found.held_out]
    assert len(set(numbers)) == 20
    assert max(numbers) > 40
    assert all(row.prompt == f"q{row.row - (row.row > 31)}" for row in found.train)
    assert found.train == load_training(data, seed=1).train
    assert found.train != load_training(data, seed=2).train
    messages = [item.message for item in found.findings]
    assert messages[0] == (
        "Of the 60 rows of rows.jsonl, 20 are drawn at random, the same for the same seed."
    )
    assert any("Row 31" in message for message in messages)
    whole = load_training(data.model_copy(update={"max_rows": 60}), seed=1)
    assert len(whole.train) + len(whole.held_out) == 60
    assert "drawn" not in {item.check for item in whole.findings}


def test_responses_that_are_marked_as_bad_ones_are_not_learnt(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "completion": f"a{n}", "label": n != 1} for n in range(3)]
    path = tmp_path / "kto.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    data = read(path)
    assert [row.response for row in data.conversations] == ["a0", "a2"]
    told = {found.check: (found.severity, found.message) for found in data.findings}
    assert told["unwanted_response"] == (
        "info",
        "Rows whose response is marked as a bad one (label: false) are left out: 1.",
    )
