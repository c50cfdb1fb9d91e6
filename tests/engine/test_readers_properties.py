"""Whatever a file holds, it ends in records or a located error; what is written in a format is read back."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from studio.domain.errors import StudioError
from studio.engine.readers import Records, read_source
from tests.fuzz.samples import as_arrow, as_excel, as_parquet, as_zip, as_zstd
from tests.fuzz.upload import checked_records, checked_sentence

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=150)
settings.load_profile("steady")

NAMES = (
    "a.csv",
    "a.tsv",
    "a.json",
    "a.jsonl",
    "a.txt",
    "a.md",
    "a.parquet",
    "a.xlsx",
    "a.arrow",
    "a.zip",
    "a",
)
SYNTAX = st.sampled_from(
    [
        "{",
        "}",
        "[",
        "]",
        '"',
        ",",
        ":",
        ";",
        "\t",
        "\n",
        "\r",
        "\\",
        "|",
        '{"a": ',
        '"}',
        "},{",
        '""',
        "null",
        "1e9",
        "é",
        "\0",
    ]
)
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\t\r"), max_size=40)
CELL = TEXT.filter(lambda text: text.strip() != "")
PAIRS = st.lists(st.tuples(CELL, TEXT), min_size=1, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(st.text("abcxyz", min_size=1, max_size=5), JSON, min_size=2, max_size=4)


def read(name: str, data: bytes, **options: Any) -> Records:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        return read_source(path, **options)


def read_or_refuse(name: str, data: bytes) -> None:
    try:
        records = read(name, data)
    except StudioError as error:
        checked_sentence(f"{error.message} {error.remedy}")
    else:
        checked_records(records)


@given(st.sampled_from(NAMES), st.text() | st.lists(SYNTAX | TEXT, max_size=40).map("".join))
def test_any_text_is_read_or_refused(name: str, text: str) -> None:
    read_or_refuse(name, text.encode("utf-8", "surrogatepass"))


@given(
    st.sampled_from(NAMES),
    st.binary(max_size=300),
    st.sampled_from([b"", b"PK\x03\x04", b"PAR1", b"\x1f\x8b\x08", b"{"]),
)
def test_any_bytes_are_read_or_refused(name: str, data: bytes, head: bytes) -> None:
    read_or_refuse(name, head + data)


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=60), st.integers(0, 4))
def test_a_line_of_anything_costs_no_other_line(text: str, place: int) -> None:
    rows = [{"prompt": f"q{number}", "response": "a"} for number in range(5)]
    lines = [json.dumps(row) for row in rows]
    lines.insert(place + 1, text.replace("\n", " "))
    records = read("a.jsonl", "\n".join(lines).encode())
    assert [row for row in records.rows if row in rows] == rows
    assert records.count in (5, 6) or text.count("{") > 1


@given(
    st.integers(0, 6),
    st.integers(0, 10**6),
    st.sampled_from(['"', "{", "}", "[", "]", ",", ":", "x", ""]),
    st.booleans(),
)
def test_a_slip_of_the_pen_in_a_list_costs_one_record(
    number: int, place: int, written: str, pretty: bool
) -> None:
    def row(of: int) -> dict[str, Any]:
        said = [{"role": "user", "content": f"q {of}"}, {"role": "assistant", "content": "a [1], {b}"}]
        return {"id": f"row {of}", "messages": said}

    texts = [json.dumps(row(of), indent=1 if pretty else None) for of in range(7)]
    broken = texts[number]
    place %= len(broken)
    texts[number] = broken[:place] + written + broken[place + 1 :]
    records = read("a.json", ("[" + ",\n".join(texts) + "]").encode())
    kept = [of for of in range(7) if row(of) in records.rows]
    assert set(range(7)) - set(kept) <= {number, number + 1}


@given(PAIRS, st.sampled_from(",;\t|"))
def test_csv_is_read_back(pairs: list[tuple[str, str]], delimiter: str) -> None:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerows([("prompt", "response"), *pairs])
    records = read("a.csv", file.getvalue().encode())
    assert [tuple(row.values()) for row in records.rows] == pairs


@settings(max_examples=60)
@given(st.lists(OBJECT, min_size=1, max_size=5), st.sampled_from([None, 2]), st.booleans())
def test_json_is_read_back(rows: list[dict[str, Any]], indent: int | None, ascii_only: bool) -> None:
    def write(value: object) -> str:
        return json.dumps(value, indent=indent, ensure_ascii=ascii_only)

    assert read("a.json", write(rows).encode()).rows == rows
    # A lone object around a list of objects holds its rows there
    assume(len(rows) > 1 or not any(isinstance(value, list) for value in rows[0].values()))
    lines = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows).encode()
    for name, data in (
        ("a.jsonl", lines),
        ("a.jsonl.gz", gzip.compress(lines, 1)),
        ("a.jsonl.zst", as_zstd(lines)),
        ("a.zip", as_zip({"a.jsonl": lines})),
    ):
        assert read(name, data).rows == rows
    if len(rows) > 1:
        assert read("b.json", "\n".join(map(write, rows)).encode()).rows == rows


@given(PAIRS)
def test_tables_are_read_back(pairs: list[tuple[str, str]]) -> None:
    rows = [{"prompt": prompt, "response": response} for prompt, response in pairs]
    assert read("a.parquet", as_parquet(rows)).rows == rows
    assert read("a.arrow", as_arrow(rows, stream=True)).rows == rows
    assert read("b.arrow", as_arrow(rows, stream=False)).rows == rows


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(CELL.filter(lambda text: text[0] != "="), st.integers(-(10**9), 10**9)),
        min_size=1,
        max_size=5,
    )
)
def test_workbooks_are_read_back(pairs: list[tuple[str, int]]) -> None:
    assume(all(character.isprintable() or character in "\n\t" for text, _ in pairs for character in text))
    assert [tuple(row.values()) for row in read("a.xlsx", as_excel(pairs)).rows] == pairs


@given(
    st.lists(st.text("abc ,.\u00fc\u7b54", min_size=1).map(str.strip).filter(bool), min_size=1, max_size=6)
)
def test_paragraphs_are_read_back(paragraphs: list[str]) -> None:
    assert [row["text"] for row in read("a.md", "\n\n".join(paragraphs).encode()).rows] == paragraphs


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@settings(max_examples=30)
@given(pairs=PAIRS)
def test_encodings_that_hold_every_text_are_read_back(codec: str, pairs: list[tuple[str, str]]) -> None:
    file = io.StringIO()
    csv.writer(file).writerows([("prompt", "response"), *pairs])
    assert [tuple(row.values()) for row in read("a.csv", file.getvalue().encode(codec)).rows] == pairs
