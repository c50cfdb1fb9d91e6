"""Files of every kind become raw records; what cannot be read is kept with file, line, column and reason."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.domain.errors import StudioError
from studio.engine.archives import Bounds
from studio.engine.readers import Reading, Records, as_options, iter_records, read_source
from studio.engine.records import KEPT

ROW = {"prompt": "q", "response": "a"}
ROWS = [{"prompt": f"q{number}", "response": f"a{number}"} for number in range(1, 6)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = "prompt,response\n" + "".join(f"q{number},a{number}\n" for number in range(1, 6))


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(source: object, **options: object) -> str:
    with pytest.raises(StudioError) as caught:
        read_source(source, **options)  # type: ignore[arg-type]
    assert caught.value.remedy
    return caught.value.message


def said(records: Records | Reading) -> list[tuple[int, int, str, str]]:
    """Line, column, reason and text of what is quarantined."""
    return [(item.line, item.column, str(item.reason), item.text) for item in records.quarantined]


def notes(records: Records) -> list[str]:
    return [found.message for found in records.findings]


# ---- JSON ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pretty.json", "\n".join(json.dumps(row, indent=2) for row in ROWS)),
        ("pretty.jsonl", "\n\n".join(json.dumps(row, indent=2) for row in ROWS)),
        ("close.json", "".join(json.dumps(row, indent=2) for row in ROWS)),
        ("list.json", json.dumps(ROWS)),
        ("list.txt", json.dumps(ROWS, indent=4)),
        ("wrapped.json", json.dumps({"version": 2, "rows": ROWS, "meta": {"n": [1]}}, indent=1)),
        ("lines.ndjson", LINES.replace("\n", "\r\n")),
    ],
)
def test_objects_in_a_list_or_after_each_other(tmp_path: Path, name: str, text: str) -> None:
    records = read_source(put(tmp_path, name, text))
    assert (records.rows, records.row_numbers, records.quarantined) == (ROWS, [1, 2, 3, 4, 5], [])
    assert records.files == [name] * 5
    assert records.findings == []


def test_each_record_of_a_pretty_file_has_its_line(tmp_path: Path) -> None:
    text = "\n".join(json.dumps(row, indent=2) for row in ROWS)
    assert read_source(put(tmp_path, "a.json", text)).lines == [1, 5, 9, 13, 17]
    assert read_source(put(tmp_path, "b.json", json.dumps(ROWS, indent=2))).lines == [2, 6, 10, 14, 18]


@pytest.mark.parametrize(
    ("text", "problem", "place"),
    [
        (LINES.replace("}\n", "},\n"), "Several objects on one line, or a comma after one", (1, 35)),
        (LINES.replace("}\n", "}", 1), "Several objects on one line, or a comma after one", (1, 35)),
        ("[" + LINES.replace("}\n", "}\n,") + "]", "A comma stands before the closing bracket", (6, 2)),
        ("[" + LINES + "]", "Expecting ',' or ']'", (2, 1)),
        (json.dumps(ROWS)[:-1], "The array is never closed with ]", (1, 180)),
        (json.dumps(ROWS[:3]) + "\n" + json.dumps(ROWS[3:]), "Text after the closing bracket", (2, 1)),
    ],
)
def test_slips_that_cost_no_record_are_told(
    tmp_path: Path, text: str, problem: str, place: tuple[int, int]
) -> None:
    path = put(tmp_path, "a.json", text)
    records = read_source(path)
    assert (records.rows, records.quarantined) == (ROWS, [])
    (found,) = records.findings
    assert found.message.startswith(
        f"a.json is not quite valid JSON: {problem} (line {place[0]}, character {place[1]})"
    )


def test_a_malformed_object_in_a_list_costs_itself_only(tmp_path: Path) -> None:
    good = [json.dumps(row) for row in ROWS[:3]]
    text = f'[\n {good[0]},\n {{"prompt": "q2" "response": "a2"}},\n {good[2]}\n]'
    path = put(tmp_path, "a.json", text)
    records = read_source(path)
    assert [row["prompt"] for row in records.rows] == ["q1", "q3"]
    assert (records.row_numbers, records.lines) == ([1, 3], [2, 4])
    assert said(records) == [
        (
            3,
            18,
            "Row 2 (line 3, character 18) is not valid JSON: Expecting ',' delimiter.",
            '{"prompt": "q2" "response": "a2"}',
        )
    ]


def test_a_malformed_object_inside_a_row_is_not_taken_for_a_row(tmp_path: Path) -> None:
    def row(number: int, broken: bool = False) -> str:
        said = [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": "a"}]
        text = json.dumps({"messages": said}, indent=1)
        return text.replace('"role": "user",', '"role": "user"') if broken else text

    for broken in (1, 2, 3):
        text = "[" + ",\n".join(row(number, number == broken) for number in (1, 2, 3)) + "]"
        records = read_source(put(tmp_path, "a.json", text))
        assert [record["messages"][0]["content"] for record in records.rows] == [
            f"q{number}" for number in (1, 2, 3) if number != broken
        ]
        ((_, _, reason, raw),) = said(records)
        assert reason.startswith(f"Row {broken} (lines ")
        assert reason.endswith("All of these lines are left out.")
        assert f"q{broken}" in raw


@pytest.mark.parametrize("between", ["\n", ",\n", ""])
def test_a_malformed_pretty_object_costs_itself_only(tmp_path: Path, between: str) -> None:
    texts = [json.dumps(row, indent=2) for row in ROWS]
    texts[1] = texts[1].replace('"q2",', '"q2"')
    records = read_source(put(tmp_path, "a.json", between.join(texts)))
    assert records.rows == [ROWS[0], *ROWS[2:]]
    assert [item.row for item in records.quarantined] == [2]


def test_a_list_inside_of_an_object_goes_on_after_a_malformed_row(tmp_path: Path) -> None:
    text = json.dumps({"version": 1, "data": ROWS}, indent=1).replace('"q2",', '"q2"')
    records = read_source(put(tmp_path, "a.json", text))
    assert records.rows == [ROWS[0], *ROWS[2:]]


def test_lines_that_are_no_object_keep_their_text(tmp_path: Path) -> None:
    lines = [
        json.dumps(ROW),
        "[1, 2]",
        '{"prompt": "q", "response": ',
        "oops",
        json.dumps(ROW),
        '{"a": 1} rest',
    ]
    records = read_source(put(tmp_path, "a.jsonl", "\n".join(lines)))
    assert records.row_numbers == [1, 5]
    assert said(records) == [
        (2, 1, "Row 2 (line 2) is a list, not an object with named fields.", "[1, 2]"),
        (3, 29, "Row 3 (line 3, character 29) is not valid JSON: Expecting value.", lines[2]),
        (4, 1, "Row 4 (line 4, character 1) is not valid JSON: Expecting value.", "oops"),
        (6, 10, "Row 6 (line 6, character 10) is not valid JSON: Text after the object.", '{"a": 1} rest'),
    ]
    assert [problem.row for problem in records.quarantined] == [2, 3, 4, 6]


def test_damaged_bytes_cost_their_record_only(tmp_path: Path) -> None:
    good = json.dumps({"prompt": "Grüße aus Köln, schöne Tage", "response": "ä"}, ensure_ascii=False).encode()
    damaged = b'{"prompt": "caf\xe9", "response": "a"}'
    where = (
        2,
        16,
        "Row 2 (line 2, character 16) holds bytes that are no UTF-8 text.",
        '{"prompt": "caf\ufffd", "response": "a"}',
    )
    for name, data in (
        ("a.jsonl", b"\n".join((good, damaged, good))),
        ("a.json", b"[" + b",\n".join((good, damaged, good)) + b"]"),
    ):
        records = read_source(put(tmp_path, name, data))
        assert (records.row_numbers, records.encoding) == ([1, 3], "utf-8")
        assert said(records) == [where]
    text = "prompt,response\nGrüße aus Köln,schöne Tage\n".encode() + b'caf\xe9,a\n"x\ny",b\n'
    records = read_source(put(tmp_path, "a.csv", text))
    assert [row["response"] for row in records.rows] == ["schöne Tage", "b"]
    assert said(records)[0][:2] == (3, 4)


def test_a_stretch_of_binary_in_a_text_costs_its_lines_only(tmp_path: Path) -> None:
    binary = bytes(range(32)).replace(b"\n", b"") * 3
    for name, text in (("a.jsonl", LINES), ("a.csv", CSV)):
        head, tail = text[: text.index("\n") + 1].encode(), text[text.index("\n") + 1 :].encode()
        rows = read_source(put(tmp_path, name, head + binary + b"\n" + tail)).rows
        assert [row for row in rows if row in ROWS] == ROWS


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[1]", "character 1: it is not an object."),
        ("x", "character 1: Expecting value."),
        (b'{"prompt": "Gr\xc3\xbc\xc3\x9fe \xff"}', "character 19: it holds bytes that are no text."),
    ],
)
def test_a_file_without_a_line_that_can_be_read_says_what_is_wrong(
    tmp_path: Path, line: str | bytes, problem: str
) -> None:
    line = line if isinstance(line, bytes) else line.encode()
    message = refused(put(tmp_path, "a.jsonl", line + b"\n" + line))
    assert message == f"a.jsonl holds no row that can be read. Line 1, {problem}"


def test_numbers_of_any_size_and_absurd_depth(tmp_path: Path) -> None:
    rows = [
        '{"n": 1e999}',
        '{"n": ' + "9" * 5000 + "}",
        '{"n": ' + "[" * 100_000 + "}",
        '{"n": NaN}',
        '{"n": 1}',
    ]
    records = read_source(put(tmp_path, "a.jsonl", "\n".join(rows)))
    assert records.row_numbers == [1, 4, 5]
    assert [str(item.reason) for item in records.quarantined] == [
        "Row 2 (line 2, character 1) is not valid JSON: A number has too many digits.",
        "Row 3 (line 3, character 1) is not valid JSON: Too many brackets inside each other.",
    ]
    assert [len(item.text) for item in records.quarantined] == [5007, KEPT]


# ---- CSV ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "^", "~", "\x1f", "\x01"])
def test_any_delimiter_is_recognised(tmp_path: Path, delimiter: str) -> None:
    text = CSV.replace(",", delimiter)
    assert read_source(put(tmp_path, "a.csv", text)).rows == ROWS


@pytest.mark.parametrize("delimiter", [*":#§¦/*=&!", "\x1e"])
def test_an_unusual_delimiter_is_recognised_between_known_names(tmp_path: Path, delimiter: str) -> None:
    text = f"prompt{delimiter}response\nWhat is it{delimiter}It is good, and big.\nAnd this{delimiter}Fine.\n"
    assert read_source(put(tmp_path, "a.csv", text)).rows == [
        {"prompt": "What is it", "response": "It is good, and big."},
        {"prompt": "And this", "response": "Fine."},
    ]


def test_a_delimiter_can_be_given_or_declared(tmp_path: Path) -> None:
    assert read_source(put(tmp_path, "a.csv", CSV.replace(",", ":")), delimiter=":").rows == ROWS
    records = read_source(put(tmp_path, "b.csv", "sep=:\r\n" + CSV.replace(",", ":").replace("\n", "\r\n")))
    assert (records.rows, records.lines[0]) == (ROWS, 3)


def test_a_table_without_names_of_columns(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", '\n"q\n1",a1\nq2,a2\nq3\n')
    records = read_source(path, **as_options({"header": "none"}))
    assert records.rows == [{"prompt": "q\n1", "response": "a1"}, {"prompt": "q2", "response": "a2"}]
    assert (records.lines, records.columns) == ([2, 4], ("prompt", "response"))
    assert [item.line for item in records.quarantined] == [5]
    assert read_source(put(tmp_path, "b.csv", CSV), **as_options({"header": "first_row"})).rows == ROWS
    with pytest.raises(StudioError, match="There is no choice maybe"):
        as_options({"header": "maybe"})


def test_signs_that_part_cells_have_names(tmp_path: Path) -> None:
    spaced = read_source(
        put(tmp_path, "a.txt", "prompt response\nq a\n"), **as_options({"delimiter": "space"})
    )
    assert spaced.rows == [{"prompt": "q", "response": "a"}]


def test_quotes_escaped_with_a_backslash(tmp_path: Path) -> None:
    text = 'prompt,response\n"say \\"hi\\", please","C:\\\\new"\n"q","a\\n"\n'
    records = read_source(put(tmp_path, "a.csv", text))
    assert records.rows == [
        {"prompt": 'say "hi", please', "response": "C:\\new"},
        {"prompt": "q", "response": "a\\n"},
    ]


def test_cells_in_single_quotes_with_line_breaks(tmp_path: Path) -> None:
    rows = "".join(f"'q{n}','one\ntwo, {n}\nthree\nfour'\n" for n in range(20))
    records = read_source(put(tmp_path, "a.csv", f"'prompt','response'\n{rows}"))
    assert len(records.rows) == 20
    assert records.rows[3] == {"prompt": "q3", "response": "one\ntwo, 3\nthree\nfour"}


def test_chinese_in_utf_16_without_a_mark(tmp_path: Path) -> None:
    text = "prompt,response\n" + "".join(
        f"什么是蜂蜜{n}？,蜜蜂采集花蜜并在蜂巢里酿成蜂蜜。\n" for n in range(40)
    )
    for codec in ("utf-16-le", "utf-16-be"):
        file = put(tmp_path, f"{codec}.csv", text.encode(codec))
        assert read_source(file).rows[0]["prompt"] == "什么是蜂蜜0？"


def test_cells_in_single_quotes(tmp_path: Path) -> None:
    text = "prompt,response\n'Say, hello','It''s \"you\",\nthen.'\n'never, closed,b\n'What','A, b'\n'c','d'\n"
    records = read_source(put(tmp_path, "a.csv", text))
    assert records.rows == [
        {"prompt": "Say, hello", "response": 'It\'s "you",\nthen.'},
        {"prompt": "What", "response": "A, b"},
        {"prompt": "c", "response": "d"},
    ]
    assert [item[:2] for item in said(records)] == [(4, 1)], said(records)
    apostrophes = put(tmp_path, "b.csv", "prompt,response\n'tis the season,a\n'twas,'b\n")
    assert [row["prompt"] for row in read_source(apostrophes).rows] == ["'tis the season", "'twas"]


def test_a_broken_csv_row_keeps_its_text_and_the_place_of_the_quote(tmp_path: Path) -> None:
    text = 'prompt,response\nq1,a1\nq2,"he said "no" twice"\nonly\nq3,a3\nq4,"never closed\nq5,a5\n'
    records = read_source(put(tmp_path, "a.csv", text))
    assert [row["prompt"] for row in records.rows] == ["q1", "q3", "q5"]
    assert [item[:2] + item[3:] for item in said(records)] == [
        (3, 13, 'q2,"he said "no" twice"\nonly'),
        (6, 4, 'q4,"never closed'),
    ]


def test_cells_without_a_column_name_are_told(tmp_path: Path) -> None:
    records = read_source(put(tmp_path, "a.csv", ",prompt,response\n0,q,a\n1,q,a\n,q,a\n"))
    assert records.rows == [ROW] * 3
    assert notes(records) == ["a.csv has cells in columns that have no name, in rows: 2. They are not read."]
    assert notes(read_source(put(tmp_path, "b.csv", "prompt,response,\nq,a,\n"))) == []


def test_a_column_name_with_damaged_bytes_is_refused(tmp_path: Path) -> None:
    text = b"pr\xffmpt,response\n" + "Grüße aus Köln,schöne Tage\n".encode()
    assert (
        refused(put(tmp_path, "a.csv", text))
        == "a.csv, line 1: the column name pr\ufffdmpt holds bytes that are no text."
    )


# ---- Encodings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "text", "label"),
    [
        ("gb18030", "我想知道这个订单的状态是什么，谢谢。", "GBK / GB18030 (Chinese)"),
        ("big5", "請問我的訂單在哪裡？謝謝您的幫助", "Big5 (Traditional Chinese)"),
        ("shift_jis", "こんにちは、注文はどこですか。", "Shift JIS (Japanese)"),
        ("euc_kr", "안녕하세요 주문은 어디에 있습니까", "EUC-KR (Korean)"),
        ("latin_1", "Où est ma commande ? À côté du café.", "Windows-1252 (Western European)"),
        ("utf-16-le", "Wo ist meine Bestellung?", "UTF-16 without a byte order mark"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "md"])
def test_what_an_encoding_is_recognised_as_is_a_finding(
    tmp_path: Path, codec: str, text: str, label: str, suffix: str
) -> None:
    content = {
        "csv": f"prompt,response\nq,{text}\n",
        "jsonl": f'{{"prompt": "q", "response": "{text}"}}\n',
        "json": f'[{{"prompt": "q",\n "response": "{text}"}}]',
        "md": text,
    }[suffix]
    records = read_source(put(tmp_path, f"a.{suffix}", content.encode(codec)))
    assert list(records.rows[0].values())[-1] == text
    (found,) = [found for found in records.findings if found.check == "encoding"]
    assert found.message.startswith(f"a.{suffix} was read as {label}, which its bytes look like; that is ")
    assert found.message.endswith(" % certain.")


def test_bytes_that_are_no_text_in_the_guessed_encoding_are_quarantined(tmp_path: Path) -> None:
    rows = [f'{{"prompt": "订单的状态是什么，谢谢", "response": "{number}"}}' for number in range(9)]
    data = "\n".join(rows).encode("gb18030").replace(b'"4"', b'"\xff"')
    records = read_source(put(tmp_path, "a.jsonl", data))
    assert records.row_numbers == [1, 2, 3, 4, 6, 7, 8, 9]
    assert (
        said(records)[0][2]
        == "Row 5 (line 5, character 40) holds bytes that are no GBK / GB18030 (Chinese) text."
    )


# ---- Plain text ---------------------------------------------------------------------------------------------------


def test_paragraphs_and_whole_documents(tmp_path: Path) -> None:
    text = "\nRoses are red,\nviolets are blue.\n\n \nAnd so on, they say,\nto the end.\n"
    path = put(tmp_path, "a.txt", text)
    records = read_source(path)
    assert (records.kind, records.header, records.lines) == ("text", ("text",), [2, 6])
    assert [row["text"] for row in records.rows] == [
        "Roses are red,\nviolets are blue.",
        "And so on, they say,\nto the end.",
    ]
    assert notes(records) == ["a.txt is plain text; records with the field text were made of it: 2."]
    assert [row["text"] for row in read_source(path, documents=True).rows] == [text]


def test_a_fence_in_markdown_is_one_paragraph(tmp_path: Path) -> None:
    text = "# Title\n\n```python\na = 1\n\nb = 2\n```\n\nend\n"
    rows = read_source(put(tmp_path, "a.md", text)).rows
    assert [row["text"] for row in rows] == ["# Title", "```python\na = 1\n\nb = 2\n```", "end"]


def test_a_text_file_that_is_a_table_is_one(tmp_path: Path) -> None:
    assert read_source(put(tmp_path, "a.txt", CSV)).rows == ROWS
    assert read_source(put(tmp_path, "b.txt", "Well, well\nyes, no\n")).kind == "text"


# ---- Tables -------------------------------------------------------------------------------------------------------


def test_parquet_and_arrow(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist(ROWS)
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    for name, new in (("a.arrow", pyarrow.ipc.new_stream), ("b.arrow", pyarrow.ipc.new_file)):
        with new(tmp_path / name, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    for name, kind in (("a.parquet", "parquet"), ("a.arrow", "arrow"), ("b.arrow", "arrow")):
        records = read_source(tmp_path / name)
        assert (records.kind, records.rows, records.header) == (kind, ROWS, ("prompt", "response"))
        assert records.padded


def test_a_cell_that_no_text_can_be_costs_its_row(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    texts = pyarrow.array([b"a1", b"caf\xe9", b"a3"]).view(pyarrow.string())
    table = pyarrow.table({"prompt": ["q1", "q2", "q3"], "response": texts})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    records = read_source(tmp_path / "a.parquet")
    assert records.row_numbers == [1, 3]
    ((line, column, reason, text),) = said(records)
    assert (line, column, text) == (0, 0, "prompt: q2; response: …")
    assert reason.startswith("Row 2 of the table cannot be read: 'utf-8' codec can't decode byte 0xe9")


def test_a_damaged_arrow_file_is_refused(tmp_path: Path) -> None:
    import pyarrow

    table = pyarrow.Table.from_pylist(ROWS)
    with pyarrow.ipc.new_stream(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    data = (tmp_path / "a.arrow").read_bytes()
    for length in range(8, len(data) - 8, 13):
        path = put(tmp_path, "b.arrow", data[:length])
        assert refused(path).startswith(("b.arrow is a damaged Arrow file", "b.arrow holds no rows"))


# ---- Archives -----------------------------------------------------------------------------------------------------


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def zstd(data: bytes) -> bytes:
    import pyarrow

    return pyarrow.Codec("zstd").compress(data, asbytes=True)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.zip", "wrong.csv"])
def test_one_file_in_an_archive(tmp_path: Path, name: str) -> None:
    pack = {".gz": gzip.compress, ".zst": zstd}.get(Path(name).suffix, lambda data: zipped({"a.jsonl": data}))
    records = read_source(put(tmp_path, name, pack(LINES.encode())))
    inside = f"{name}/a.jsonl" if name in ("a.zip", "wrong.csv") else name
    assert (records.rows, set(records.files)) == (ROWS, {inside})


def test_members_of_gzip_and_frames_of_zstd_that_follow_each_other(tmp_path: Path) -> None:
    first, second = LINES.encode()[:80], LINES.encode()[80:]
    for name, data in (
        ("a.jsonl.gz", gzip.compress(first) + gzip.compress(second)),
        ("a.jsonl.zst", zstd(first) + zstd(second)),
    ):
        assert read_source(put(tmp_path, name, data)).rows == ROWS


def test_an_archive_of_several_files_is_read_as_several(tmp_path: Path) -> None:
    files = {
        "data/a.jsonl": LINES.encode(),
        "data/b.csv.gz": gzip.compress(CSV.encode()),
        "__MACOSX/data/._a.jsonl": b"\x00\x05",
        "README.md": b"# Read me",
        "data/picture.png": b"\x89PNG",
    }
    records = read_source(put(tmp_path, "all.zip", zipped(files)))
    assert records.rows == ROWS * 2
    assert records.row_numbers == list(range(1, 11))
    assert records.files == ["all.zip/data/a.jsonl"] * 5 + ["all.zip/data/b.csv.gz"] * 5
    assert (records.kind, records.columns) == ("mixed", ("prompt", "response"))
    assert notes(records) == [
        "Files in all.zip that are no data files were not read: all.zip/README.md, all.zip/data/picture.png."
    ]


def test_names_in_an_archive_lead_nowhere(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    records = read_source(
        put(folder, "a.zip", zipped({"../../evil.jsonl": LINES.encode(), "/etc/x.csv": CSV.encode()}))
    )
    assert sorted(set(records.files)) == ["a.zip/etc/x.csv", "a.zip/evil.jsonl"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip", "in"]


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        (Bounds(total=50_000), "a.zip unpacks to more than "),
        (Bounds(free=50_000, ratio=20), "a.zip unpacks to more than "),
        (Bounds(members=1), "a.zip holds more than 1 files."),
    ],
)
def test_an_archive_stays_within_bounds(tmp_path: Path, bounds: Bounds, message: str) -> None:
    big = json.dumps({"prompt": "q" * 100_000, "response": "a"}).encode()
    path = put(tmp_path, "a.zip", zipped({"a.jsonl": big, "in.zip": zipped({"b.jsonl": LINES.encode()})}))
    assert len(read_source(path).rows) == 6
    with pytest.raises(StudioError) as caught:
        list(Reading(path, bounds=bounds))
    assert caught.value.message.startswith(message)


def test_an_archive_that_cannot_be_read_costs_only_its_own_rows(tmp_path: Path) -> None:
    inner = zipped({"b.jsonl": LINES.encode()})
    path = put(tmp_path, "a.zip", zipped({"a.jsonl": LINES.encode(), "in.zip": inner, "no.zip": zipped({})}))
    reading = Reading(path, bounds=Bounds(depth=1))
    assert len(list(reading)) == len(ROWS)
    assert [str(item.reason) for item in reading.quarantined] == [
        "a.zip/in.zip holds archives inside of archives.",
        "a.zip/no.zip holds archives inside of archives.",
    ]
    cut = put(tmp_path, "c.jsonl.gz", gzip.compress(LINES.encode())[:60])
    records = read_source([put(tmp_path, "d.csv", CSV), cut, put(tmp_path, "e.zip", zipped({}))])
    assert records.rows == ROWS
    assert [item.file for item in records.quarantined] == ["c.jsonl.gz", "e.zip"]
    assert str(records.quarantined[0].reason).startswith("c.jsonl.gz is a damaged gzip archive: ")


def test_a_stray_zero_does_not_make_a_file_utf_16(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", "prompt,response\na b?,c\0d.\ne f?,g h.\n")
    assert [row["prompt"] for row in read_source(path).rows] == ["a b?", "e f?"]


def test_damaged_and_locked_archives_are_refused(tmp_path: Path) -> None:
    assert refused(put(tmp_path, "a.jsonl.gz", gzip.compress(LINES.encode())[:60])).startswith(
        "a.jsonl.gz is a damaged gzip archive: "
    )
    assert refused(put(tmp_path, "a.jsonl.zst", zstd(LINES.encode())[:40])).startswith(
        "a.jsonl.zst is a damaged zstd archive: "
    )
    locked = bytearray(zipped({"a.jsonl": LINES.encode()}))
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    assert refused(put(tmp_path, "a.zip", bytes(locked))) == "a.zip is locked with a password."
    assert refused(put(tmp_path, "b.zip", zipped({"a.png": b"\x89PNG"}))) == "b.zip holds no data file."


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an old or a locked Excel workbook"),
        (b"\n<!DOCTYPE html><html><body>a, b</body></html>\n", "a web page"),
        (b"BZh91AY&SY", "a bzip2 archive"),
        (bytes(range(256)) * 2, "a binary file"),
        (b"rows.csv" + b"\0" * 249 + b"ustar\x0000", "a tar archive"),
    ],
)
def test_what_is_no_data_is_named(tmp_path: Path, head: bytes, kind: str) -> None:
    assert refused(put(tmp_path, "a.csv", head)) == f"a.csv is {kind}, not a data file."


# ---- Several files and folders ------------------------------------------------------------------------------------


def test_several_files_and_which_row_is_whose(tmp_path: Path) -> None:
    paths = [
        put(tmp_path, "x/a.jsonl", LINES + "oops\n"),
        put(tmp_path, "y/a.jsonl", LINES),
        put(tmp_path, "b.csv", CSV),
    ]
    records = read_source(paths)
    assert records.rows == ROWS * 3
    assert records.row_numbers == [1, 2, 3, 4, 5, *range(7, 17)]
    assert list(dict.fromkeys(records.files)) == ["x/a.jsonl", "y/a.jsonl", f"{tmp_path.name}/b.csv"]
    assert [(item.file, item.row, item.line) for item in records.quarantined] == [("x/a.jsonl", 6, 6)]
    assert records.lines[5] == 1


def test_one_of_several_files_that_cannot_be_read_does_not_cost_the_others(tmp_path: Path) -> None:
    paths = [put(tmp_path, "a.json", "[{]"), put(tmp_path, "b.jsonl", LINES)]
    records = read_source(paths)
    assert records.rows == ROWS
    assert [item.file for item in records.quarantined] == ["a.json", "a.json"]
    assert str(records.quarantined[1].reason).startswith("a.json, line 1, character 3: it is not valid JSON")
    assert refused(paths[:1]).startswith("a.json, line 1, character 3")
    assert refused([tmp_path / "no.csv", paths[1]]) == f"There is no file {tmp_path / 'no.csv'}."


def test_a_folder_as_it_comes_from_a_hub(tmp_path: Path) -> None:
    put(tmp_path, "set/README.md", "# Card")
    put(tmp_path, "set/.gitattributes", "*")
    put(tmp_path, "set/dataset_infos.json", "{}")
    put(tmp_path, "set/data/train-00000-of-00002.jsonl", "".join(LINES.splitlines(True)[:2]))
    put(tmp_path, "set/data/train-00001-of-00002.jsonl", "".join(LINES.splitlines(True)[2:]))
    put(tmp_path, "set/data/test-00000-of-00001.jsonl", '{"prompt": "t", "response": "t"}')
    records = read_source(tmp_path / "set")
    assert records.rows == ROWS
    assert records.files[-1] == "data/train-00001-of-00002.jsonl"
    assert notes(records) == [
        "Files in set that are no data files were not read: README.md.",
        "Of set, the split train was read. It also has test.",
    ]
    assert [row["prompt"] for row in read_source(tmp_path / "set", split="test").rows] == ["t"]
    assert refused(tmp_path / "set", split="dev") == "set has no split dev."


def test_a_folder_that_datasets_saved(tmp_path: Path) -> None:
    import datasets

    rows = datasets.Dataset.from_list(ROWS)
    rows.save_to_disk(tmp_path / "one", num_shards=2)
    assert read_source(tmp_path / "one").rows == ROWS
    parts = datasets.DatasetDict({"train_sft": rows, "test_sft": datasets.Dataset.from_list([ROW])})
    parts.save_to_disk(tmp_path / "both")
    records = read_source(tmp_path / "both")
    assert (records.rows, records.kind) == (ROWS, "arrow")
    assert read_source(tmp_path / "both", split="test_sft").rows == [ROW]


def test_a_folder_of_texts_and_one_of_nothing(tmp_path: Path) -> None:
    put(tmp_path, "texts/a.txt", "one\n\ntwo")
    put(tmp_path, "texts/b.md", "three")
    records = read_source(tmp_path / "texts", documents=True)
    assert [(row["text"], file) for row, file in zip(records.rows, records.files, strict=True)] == [
        ("one\n\ntwo", "a.txt"),
        ("three", "b.md"),
    ]
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty") == "empty holds no data file."
    assert refused("\0").startswith("\0 cannot be opened")


# ---- Streams ------------------------------------------------------------------------------------------------------


def big_rows(count: int) -> Iterator[dict[str, str]]:
    return ({"prompt": f"question {number}", "response": "word " * 150} for number in range(count))


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 MB of rows in each format."""
    folder = tmp_path_factory.mktemp("big")
    lines = [json.dumps(row) for row in big_rows(10_000)]
    put(folder, "a.jsonl", "\n".join(lines))
    put(folder, "a.json", "[" + ",".join(lines) + "]")
    put(
        folder,
        "a.csv",
        "prompt,response\n" + "".join(f"{row['prompt']},{row['response']}\n" for row in big_rows(10_000)),
    )
    return folder


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_records_stream_in_bounded_memory_and_tell_their_progress(big: Path, name: str) -> None:
    told: list[tuple[str, float, float]] = []
    list(zip(range(3), iter_records(big / name), strict=False))  # imports are no part of what is measured
    tracemalloc.start()
    count = sum(1 for _ in iter_records(big / name, progress=lambda *step: told.append(step)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = (big / name).stat().st_size
    assert count == 10_000
    assert peak < 7 * 2**20 < size
    assert told == sorted(told)
    assert told[-1] == ("read", size, size)
    assert len(told) > 5


def test_a_reading_can_be_given_up(big: Path) -> None:
    told: list[float] = []
    records = iter(iter_records(big / "a.jsonl", progress=lambda _, done, total: told.append(done / total)))
    assert next(records).row == 1
    records.close()  # type: ignore[attr-defined]
    assert max(told) < 0.3


def test_progress_runs_over_several_files(tmp_path: Path) -> None:
    paths = [put(tmp_path, "a.jsonl", LINES), put(tmp_path, "b.csv", CSV)]
    told: list[float] = []
    list(iter_records(paths, progress=lambda _, done, total: told.append(done / total)))
    assert told == sorted(told)
    assert (told[0] < 1, told[-1]) == (True, 1)


def test_a_line_without_end_is_quarantined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("records", "text_files", "json_records", "csv_records"):
        monkeypatch.setattr(f"studio.engine.{module}.LONGEST", 5000)
    long = json.dumps({"prompt": "q" * 9000, "response": "a"})
    records = read_source(put(tmp_path, "a.jsonl", f"{LINES}{long}\n{LINES}"))
    assert records.rows == ROWS * 2
    assert said(records)[0][0] == 6
    records = read_source(put(tmp_path, "a.csv", f'{CSV}q,"{"a" * 9000}"\n{CSV[16:]}'))
    assert records.rows[:5] == ROWS
    assert records.rows[-5:] == ROWS


def test_a_file_of_nothing_but_broken_records_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.engine.readers.HOPELESS", 50)
    path = put(tmp_path, "a.jsonl", LINES + "oops\n" * 60)
    assert refused(path).startswith(
        "a.jsonl is given up: 51 records cannot be read, more than can. Row 6 (line 6"
    )
