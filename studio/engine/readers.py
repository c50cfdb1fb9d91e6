"""Files to raw records: JSON, JSONL, CSV and Parquet, with the place of everything that is wrong in them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.domain.errors import StudioError
from studio.domain.text import Text
from studio.engine.encodings import decode

DELIMITERS = (",", ";", "\t", "|")
_CELL_LIMIT = 2**31 - 1
_WHITESPACE = re.compile(r"[ \t\n\r]*")
_JSON_START = re.compile(r'\s*(?:\[\s*[\[{\]"]|\{\s*["}])')


@dataclass(frozen=True)
class Problem:
    """Why one record cannot be used, as a whole sentence, and where it stands."""

    row: int
    text: Text
    check: str = "unreadable_record"

    @property
    def lines(self) -> int:
        """So many lines of the file are lost to it."""
        values = self.text.values
        return values["last"] - values["line"] + 1 if "last" in values else 1


@dataclass
class Records:
    """The raw records of a file: `rows[i]` is record number `row_numbers[i]` and begins at line `lines[i]`."""

    kind: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    row_numbers: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    header: tuple[str, ...] = ()
    encoding: str = "utf-8"

    @property
    def columns(self) -> tuple[str, ...]:
        """The names that stand in any record, in the order they first appear."""
        return self.header or tuple(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def count(self) -> int:
        """Records so far, readable or not."""
        return len(self.rows) + len(self.problems)

    def add(self, value: Any, line: int) -> None:
        number = self.count + 1
        if isinstance(value, dict):
            self.rows.append(value)
            self.row_numbers.append(number)
            self.lines.append(line)
        else:
            self.reject(
                "Row {row} (line {line}) is {kind}, not an object with named fields.",
                line=line,
                kind=kind_of(value),
            )

    def reject(self, template: str, **values: Any) -> None:
        """Count a record that cannot be read; `template` says why."""
        number = self.count + 1
        self.problems.append(Problem(number, Text(template, {"row": number, **values})))


def kind_of(value: Any) -> str:
    """The JSON name of a value's type.

    >>> kind_of([1]), kind_of("a"), kind_of(None)
    ('a list', 'text', 'null')
    """
    if value is None:
        return "null"
    kinds = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), type(value).__name__)


def read_records(path: Path, max_rows: int | None = None) -> Records:
    """All records of a file, its kind recognised by its content. StudioError where the whole file cannot be read."""
    data = _bytes(path)
    if data.startswith(b"PAR1"):
        return _read_parquet(path, max_rows)
    _refuse_binary(path, data)
    text, encoding = decode(data, path.name)
    if not text.strip():
        raise StudioError("{file} is empty.", "Choose a file with at least one row.", file=path.name)
    records = _read_text(path, text, max_rows)
    records.encoding = encoding
    if not records.count:
        raise StudioError("{file} holds no rows.", "Add at least one row and try again.", file=path.name)
    return records


def _bytes(path: Path) -> bytes:
    if path.is_dir():
        raise StudioError("{path} is a folder, not a file.", "Choose one of the files in it.", path=str(path))
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise StudioError(
            "There is no file {path}.", "Check the name and the folder.", path=str(path)
        ) from None
    except OSError as error:
        raise StudioError(
            "{path} cannot be opened: {problem}.",
            "Check that the file may be read.",
            path=str(path),
            problem=error.strerror or str(error),
        ) from None


_SIGNATURES = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"ARROW1": "an Arrow file",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
}


def _refuse_binary(path: Path, data: bytes) -> None:
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            raise StudioError(
                "{file} is {kind}, not a data file.",
                "Unpack it, or save the table as CSV, JSON, JSONL or Parquet.",
                file=path.name,
                kind=kind,
            )


def _read_text(path: Path, text: str, max_rows: int | None) -> Records:
    if _JSON_START.match(text) or _mostly_objects(text):
        return _read_json_family(path, text, max_rows)
    if path.suffix.lower() in (".json", ".jsonl", ".ndjson") and sniff_delimiter(text) is None:
        return _read_json_family(path, text, max_rows)
    return _read_csv(path, text, max_rows)


def _mostly_objects(text: str) -> bool:
    """Whether most of the first lines open a JSON object, although the very first one does not."""
    lines = [line for line in text[:200_000].split("\n") if line.strip()][:50]
    return sum(line.lstrip().startswith('{"') for line in lines) * 2 > len(lines)


# ---- JSON ---------------------------------------------------------------------------------------------------------


def _read_json_family(path: Path, text: str, max_rows: int | None) -> Records:
    start = _skip(text, 0)
    if text.startswith("[", start) and not _first_line_is_list(text[start:]):
        return _read_array(path, text, start, max_rows)
    if text.startswith("{", start):
        try:
            value, end = _decode(text, start)
        except ValueError as error:
            if not _has_object_lines(text[start:]):
                raise _malformed(path, text, error, start) from None
            return _read_lines(path, text, max_rows)
        if _skip(text, end) == len(text):
            return _read_object(path, text, value, start, max_rows)
        if "\n" in text[start:end]:
            raise _malformed(
                path,
                text,
                json.JSONDecodeError("A second value follows the first", text, _skip(text, end)),
                0,
            )
    return _read_lines(path, text, max_rows)


def _first_line_is_list(text: str) -> bool:
    """Whether the first line alone is a whole list and more follows: JSON Lines of lists, not one array."""
    first, _, rest = text.partition("\n")
    if not rest.strip():
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return True


def _has_object_lines(text: str) -> bool:
    """Whether one of the lines after the first is a whole object: JSON Lines, not one pretty-printed value."""
    for line in text[:1_000_000].split("\n")[1:51]:
        try:
            if isinstance(json.loads(line), dict):
                return True
        except (ValueError, RecursionError):
            continue
    return False


def _skip(text: str, position: int) -> int:
    match = _WHITESPACE.match(text, position)
    return match.end() if match else position


_decoder = json.JSONDecoder()


def _decode(text: str, position: int) -> tuple[Any, int]:
    """The JSON value at `position` and where it ends. ValueError for anything else, absurd nesting included."""
    try:
        return _decoder.raw_decode(text, position)
    except RecursionError:
        raise json.JSONDecodeError("Too many brackets inside each other", text, position) from None


def _elements(text: str, position: int, alone: bool) -> Iterator[tuple[Any, int]]:
    """The values of the array that opens at `position`, each with the place where it begins.

    Where the array stands `alone`, nothing but white space may follow it.
    """
    position = _skip(text, position + 1)
    if text.startswith("]", position):
        _end(text, position, alone)
        return
    while True:
        value, end = _decode(text, position)
        yield value, position
        position = _skip(text, end)
        if text.startswith("]", position):
            _end(text, position, alone)
            return
        if not text.startswith(",", position):
            problem = "The array is never closed with ]" if position >= len(text) else "Expecting ',' or ']'"
            raise json.JSONDecodeError(problem, text, position)
        position = _skip(text, position + 1)
        if text.startswith("]", position):
            raise json.JSONDecodeError("A comma stands before the closing bracket", text, position)


def _end(text: str, bracket: int, alone: bool) -> None:
    position = _skip(text, bracket + 1)
    if alone and position < len(text):
        raise json.JSONDecodeError("Text after the closing bracket", text, position)


def _read_array(path: Path, text: str, start: int, max_rows: int | None, alone: bool = True) -> Records:
    records = Records("json")
    line, seen = 1, 0
    try:
        for value, position in _elements(text, start, alone):
            line += text.count("\n", seen, position)
            seen = position
            records.add(value, line)
            if max_rows is not None and len(records.rows) >= max_rows:
                break
    except ValueError as error:
        raise _malformed(path, text, error, seen) from None
    return records


def _read_object(path: Path, text: str, value: dict[str, Any], start: int, max_rows: int | None) -> Records:
    """An object with a single list of objects holds the rows there; any other object is the only row."""
    lists = [
        key for key, item in value.items() if isinstance(item, list) and item and isinstance(item[0], dict)
    ]
    keys_of_one_row = {"messages", "conversations", "conversation", "prompt", "completion", "history"}
    rows_key = lists[0] if len(lists) == 1 and lists[0].lower() not in keys_of_one_row else None
    if rows_key is None and len(value) == 1 and next(iter(value.values())) == []:
        return Records("json")
    if rows_key is None:
        records = Records("json")
        records.add(value, 1 + text.count("\n", 0, start))
        return records
    return _read_array(path, text, _members(text, start)[rows_key], max_rows, alone=False)


def _members(text: str, position: int) -> dict[str, int]:
    """Where each value of the valid object that opens at `position` begins; of keys that stand twice, the last."""
    places: dict[str, int] = {}
    position = _skip(text, position + 1)
    while not text.startswith("}", position):
        key, end = _decode(text, position)
        places[key] = _skip(text, _skip(text, end) + 1)
        _, end = _decode(text, places[key])
        position = _skip(text, end)
        if text.startswith(",", position):
            position = _skip(text, position + 1)
    return places


def _read_lines(path: Path, text: str, max_rows: int | None) -> Records:
    records = Records("jsonl")
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value, end = _decode(line, _skip(line, 0))
            if _skip(line, end) != len(line):
                raise json.JSONDecodeError("Text after the object", line, _skip(line, end))
        except ValueError as error:
            records.reject(
                "Row {row} (line {line}, character {character}) is not valid JSON: {problem}.",
                line=number,
                character=(error.pos if isinstance(error, json.JSONDecodeError) else 0) + 1,
                problem=_problem(error),
            )
            continue
        records.add(value, number)
        if max_rows is not None and len(records.rows) >= max_rows:
            break
    if records.problems and not records.rows:
        values = {"problem": "it is not an object", **records.problems[0].text.values}
        raise StudioError(
            "{file} holds no row that can be read. Line {line}, character {character}: {problem}.",
            'Correct it there. In JSONL every line is one object, such as {{"prompt": "…", "response": "…"}}.',
            file=path.name,
            line=values["line"],
            character=values.get("character", 1),
            problem=values["problem"],
        )
    return records


def _problem(error: ValueError) -> str:
    """The parser's own words; an integer of thousands of digits is refused by Python itself."""
    return error.msg if isinstance(error, json.JSONDecodeError) else "A number has too many digits"


def _malformed(path: Path, text: str, error: ValueError, start: int) -> StudioError:
    position = error.pos if isinstance(error, json.JSONDecodeError) else start
    return StudioError(
        "{file}, line {line}, character {character}: it is not valid JSON ({problem}).",
        "Correct it there. A JSON file is one list of objects, [{{…}}, {{…}}]; with one object a line it is JSONL.",
        file=path.name,
        line=text.count("\n", 0, position) + 1,
        character=position - text.rfind("\n", 0, position),
        problem=_problem(error),
    )


# ---- CSV ----------------------------------------------------------------------------------------------------------


def sniff_delimiter(text: str) -> str | None:
    """The delimiter that splits the first records most evenly; None where no delimiter gives two columns.

    >>> sniff_delimiter("prompt;response\\na, b, c;d\\n")
    ';'
    """
    best, best_score = None, (0.0, 0)
    for delimiter in DELIMITERS:
        widths = _widths(text[:200_000], delimiter)
        if not widths or widths[0] < 2:
            continue
        even = sum(width == widths[0] for width in widths) / len(widths)
        if (even, widths[0]) > best_score:
            best, best_score = delimiter, (even, widths[0])
    return best


def _widths(text: str, delimiter: str) -> list[int]:
    csv.field_size_limit(_CELL_LIMIT)
    widths: list[int] = []
    try:
        for cells in csv.reader(iter(text.splitlines(keepends=True)), delimiter=delimiter):
            if cells:
                widths.append(len(cells))
            if len(widths) == 50:
                break
    except csv.Error:
        return widths  # told with its place when the whole file is read
    return widths


def _read_csv(path: Path, text: str, max_rows: int | None) -> Records:
    delimiter = sniff_delimiter(text) or ","
    lines = _lines(text)
    csv.field_size_limit(_CELL_LIMIT)
    header, position = _header(path, lines, delimiter)
    records = Records("csv", header=tuple(name for name in header if name))
    while position < len(lines):
        start = position
        try:
            cells, position = _parse_record(lines, start, delimiter)
        except csv.Error as error:
            position = _resume(lines, start, delimiter, len(header), _all_quoted(lines, records))
            _reject_lines(records, start, position, str(error))
            continue
        if not cells or cells == [""]:
            continue
        while len(cells) > len(header) and not cells[-1]:
            cells.pop()
        if len(cells) != len(header):
            _reject_width(records, start, position, len(cells), len(header))
            continue
        records.add({name: cell for name, cell in zip(header, cells, strict=True) if name}, start + 1)
        if max_rows is not None and len(records.rows) >= max_rows:
            break
    return records


def _reject_lines(records: Records, start: int, end: int, problem: str) -> None:
    if end - start == 1:
        records.reject(
            "Row {row} (line {line}) cannot be read: its quotes do not close properly ({problem}).",
            line=start + 1,
            problem=problem,
        )
    else:
        records.reject(
            "Row {row} (lines {line} to {last}) cannot be read: a quote is not closed properly ({problem}). All of "
            "these lines are left out.",
            line=start + 1,
            last=end,
            problem=problem,
        )


def _reject_width(records: Records, start: int, end: int, cells: int, columns: int) -> None:
    if end - start == 1:
        records.reject(
            "Row {row} (line {line}) has {cells} cells where the header has {columns}.",
            line=start + 1,
            cells=cells,
            columns=columns,
        )
    else:
        records.reject(
            "Row {row} (lines {line} to {last}) has {cells} cells where the header has {columns}. All of these lines "
            "are left out.",
            line=start + 1,
            last=end,
            cells=cells,
            columns=columns,
        )


def _lines(text: str) -> list[str]:
    """Physical lines with their ends; only line feeds and carriage returns end one."""
    return re.findall(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+", text)


def _header(path: Path, lines: list[str], delimiter: str) -> tuple[list[str], int]:
    position = next(index for index, line in enumerate(lines) if line.strip())
    try:
        names, end = _parse_record(lines, position, delimiter)
    except csv.Error as error:
        raise StudioError(
            "{file}, line {line}: the row of column names cannot be read ({problem}).",
            "Close the quotes in that line.",
            file=path.name,
            line=position + 1,
            problem=str(error),
        ) from None
    names = [name.strip() for name in names]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice:
        raise StudioError(
            "{file}, line {line}: two columns are named {name}.",
            "Rename one of them.",
            file=path.name,
            line=position + 1,
            name=twice,
        )
    return names, end


def _parse_record(lines: list[str], start: int, delimiter: str) -> tuple[list[str], int]:
    """The cells of the record that begins at `lines[start]`, and the index of the line after it."""
    taken = 0

    def feed() -> Iterator[str]:
        nonlocal taken
        for index in range(start, len(lines)):
            taken += 1
            yield lines[index]

    first = lines[start]
    if '"' not in first:
        return next(csv.reader([first], delimiter=delimiter, strict=True)), start + 1
    cells = next(csv.reader(feed(), delimiter=delimiter, strict=True))
    return cells, start + taken


def _all_quoted(lines: list[str], records: Records) -> bool:
    """Whether the last rows all begin with a quote; said of three rows at least."""
    last = records.lines[-50:]
    return len(last) >= 3 and all(lines[line - 1].startswith('"') for line in last)


def _resume(lines: list[str], start: int, delimiter: str, width: int, all_quoted: bool) -> int:
    """Where to read on after a record whose quotes do not close: the next line that begins a whole record.

    In a file whose rows all begin with a quote, such a line is looked for first. Without any, the rest is lost.
    """
    rest = range(start + 1, len(lines))
    if all_quoted:
        for index in rest:
            if lines[index].startswith('"') and _begins_whole(lines, index, delimiter, width):
                return index
    return next((index for index in rest if _begins_whole(lines, index, delimiter, width)), len(lines))


def _begins_whole(lines: list[str], start: int, delimiter: str, width: int) -> bool:
    """Whether a whole record begins here and is not just a line inside the broken cell that looks like one.

    What follows must be a record too; one whose own quotes are wrong does.
    """
    try:
        cells, end = _parse_record(lines, start, delimiter)
    except csv.Error:
        return False
    if len(cells) != width or sum(line.count('"') for line in lines[start:end]) % 2:
        return False
    after = next((index for index in range(end, len(lines)) if lines[index].strip()), None)
    try:
        return after is None or len(_parse_record(lines, after, delimiter)[0]) == width
    except csv.Error:
        return True


# ---- Parquet ------------------------------------------------------------------------------------------------------


def _read_parquet(path: Path, max_rows: int | None) -> Records:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise StudioError(
            "{file} is a damaged Parquet file: {problem}.",
            "Write or download it again.",
            file=path.name,
            problem=str(error).splitlines()[0].rstrip("."),
        ) from None
    if table.num_rows == 0:
        raise StudioError("{file} holds no rows.", "Add at least one row and try again.", file=path.name)
    records = Records("parquet", header=tuple(table.column_names))
    for value in table.slice(0, max_rows).to_pylist():
        records.add(value, 0)
    return records
