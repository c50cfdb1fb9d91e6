"""CSV and TSV to records: any delimiter, quotes, line breaks inside cells; a quote that never closes costs one row."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from io import StringIO
from typing import Any

from studio.domain.errors import StudioError
from studio.domain.finding import Finding, finding
from studio.domain.text import Text
from studio.engine.encodings import DAMAGE, readable
from studio.engine.formats import recognise, says_nothing
from studio.engine.records import LONGEST, Malformed, Part
from studio.engine.text_files import TextFile, damaged, lines, shortened

DELIMITERS = (",", ";", "\t", "|", "^", "~", "\x1f", "\x01")
_HEAD = 200_000
_MOST_LINES = 20_000
"""Lines in one record, and lines that are searched for the record after a broken one."""
_DECLARED = re.compile(r"sep=(.)\s*", re.IGNORECASE)

Rows = Iterator[tuple[int, Any]]


def read_csv(source: TextFile, delimiter: str | None = None, header: bool = True) -> Part:
    """The records of a table in text; its delimiter is recognised where none is given.

    Without a `header` the first row is a record, too, and the columns are numbered.
    """
    part = Part("csv", iter(()), encoding=source.encoding.name)
    part.rows = _Table(source, delimiter, part, header).rows()
    return part


def given_names(count: int) -> list[str]:
    """Names for the columns of a table that has none: two are a prompt and its response, others are numbered.

    >>> given_names(2), given_names(3)
    (['prompt', 'response'], ['column_1', 'column_2', 'column_3'])
    """
    return ["prompt", "response"] if count == 2 else [f"column_{number}" for number in range(1, count + 1)]


def sniff_delimiter(text: str) -> str | None:
    """The delimiter that splits the first records most evenly; None where no delimiter gives two columns.

    >>> sniff_delimiter("prompt;response\\na, b, c;d\\n")
    ';'
    """
    best, best_score = None, (0.0, 0)
    for delimiter in DELIMITERS:
        widths = table_widths(text[:_HEAD], delimiter)
        if not widths or widths[0] < 2:
            continue
        score = evenness(widths), widths[0]
        if score > best_score:
            best, best_score = delimiter, score
    return best or _unusual_delimiter(text[:_HEAD])


def _unusual_delimiter(text: str) -> str | None:
    """Any other sign that parts the first line into names of columns by which a format is recognised."""
    head = text.lstrip().partition("\n")[0][:_LONGEST_HEAD]
    for sign in dict.fromkeys(re.findall(r"[^\w\s\"'.-]|[\x00-\x08\x0e-\x1f]", head)):
        names = [name.strip().strip("\"'") for name in head.split(sign)]
        if all(names) and recognise(names, ()) and evenness(table_widths(text, sign)) > _MOST:
            return sign
    return None


_LONGEST_HEAD, _MOST = 1_000, 0.5


def evenness(widths: list[int]) -> float:
    """Which share of the records is as wide as the first."""
    return sum(width == widths[0] for width in widths) / len(widths)


def table_widths(text: str, delimiter: str, quote: str = '"') -> list[int]:
    """So many cells has each of the first 50 records."""
    csv.field_size_limit(LONGEST)
    widths: list[int] = []
    try:
        for cells in csv.reader(StringIO(text, newline=""), delimiter=delimiter, quotechar=quote):
            if cells:
                widths.append(len(cells))
            if len(widths) == 50:
                break
    except csv.Error:
        return widths  # told with its place when the whole file is read
    return widths


class _Table:
    """A table in text. Where most quotes in cells are written as \\", they are read as doubled ones; where cells stand
    in single quotes, these part them."""

    def __init__(self, source: TextFile, delimiter: str | None, part: Part, named: bool) -> None:
        self.source = source
        self.part = part
        self.named = named
        head = source.head(_HEAD)
        declared = _DECLARED.fullmatch(head.partition("\n")[0])
        self.declared = bool(declared)
        self.delimiter = delimiter or (declared[1] if declared else None) or sniff_delimiter(head) or ","
        part.delimiter = self.delimiter
        self.escaped = _escapes_quotes(head, self.delimiter)
        self.quote = _quote(head, self.delimiter)
        self.waiting: deque[str] = deque()
        self.taken: list[str] = []
        self.physical: Iterator[str] = iter(())
        self.quoted: deque[bool] = deque(maxlen=50)

    def rows(self) -> Rows:
        """Each record with its line; Malformed where its quotes or its width are wrong."""
        csv.field_size_limit(LONGEST)
        with self.source.open("") as file:
            self.physical = map(_with_doubled_quotes, lines(file)) if self.escaped else lines(file)
            names, line = self._header()
            self.part.header = tuple(name for name in names if name)
            unnamed: list[int] = [place for place, name in enumerate(names) if not name]
            unread = 0
            width, taken = len(names), self.taken
            reader = self._reader()
            while True:
                taken.clear()
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    lost = self._lost(width)
                    yield line, _unclosed(lost, line, self.delimiter, self.quote, str(error))
                    line += len(lost)
                    reader = self._reader()
                    continue
                if cells is None:
                    break
                start, line = line, line + len(taken)
                if len(cells) != width:
                    while len(cells) > width and not cells[-1]:
                        cells.pop()
                    if not cells or cells == [""]:
                        continue
                    if len(cells) != width:
                        yield start, _wrong_width(taken, start, len(cells), width)
                        continue
                elif cells == [""]:
                    continue
                if DAMAGE in taken[0] or (len(taken) > 1 and any(DAMAGE in piece for piece in taken)):
                    yield start, damaged("".join(taken), start, self.source.encoding)
                    continue
                self.quoted.append(taken[0].startswith(self.quote))
                if unnamed:
                    unread += any(cells[place] for place in unnamed)
                    yield start, {name: cell for name, cell in zip(names, cells, strict=True) if name}
                else:
                    yield start, dict(zip(names, cells, strict=True))
            if unread:
                self.part.findings.append(about_unnamed(self.source.name, unread))

    def _reader(self) -> Iterator[list[str]]:
        return csv.reader(self._feed(), delimiter=self.delimiter, quotechar=self.quote, strict=True)

    def _feed(self) -> Iterator[str]:
        """The lines for one record after the other; `taken` holds those of the one in hand."""
        waiting, taken, physical = self.waiting, self.taken, self.physical
        while True:
            line = waiting.popleft() if waiting else next(physical, "")
            if not line:
                return
            taken.append(line)
            if len(line) >= LONGEST or len(taken) > _MOST_LINES:
                raise csv.Error("the row is too long")
            yield line

    def _header(self) -> tuple[list[str], int]:
        """The names of the columns, and the number of the line where the records begin."""
        ahead = _Ahead([], self.waiting, self.physical, self.quote)
        position = 1 if self.declared else 0
        while (line := ahead.line(position)) and not line.strip():
            position += 1
        try:
            names, end = _parse_record(ahead, position, self.delimiter)
        except csv.Error as error:
            raise StudioError(
                "{file}, line {line}: the row of column names cannot be read ({problem}).",
                "Close the quotes in that line.",
                file=self.source.name,
                line=position + 1,
                problem=str(error),
            ) from None
        if not self.named:
            self.waiting.extendleft(reversed(ahead.lines[position:]))
            return given_names(len(names)), position + 1
        if not any(name.strip() for name in names[1:]):
            names, position, end = self._below_titles(ahead, names, position, end)
        self.waiting.extendleft(reversed(ahead.lines[end:]))
        return checked_names(names, self.source.name, position + 1), end + 1

    def _below_titles(
        self, ahead: _Ahead, names: list[str], position: int, end: int
    ) -> tuple[list[str], int, int]:
        """The names of the columns below a title, where there is one, and the lines where they begin and end."""
        records, after = [(names, position, end)], end
        with suppress(csv.Error):
            while len(records) < TITLE_ROWS + 2 and (line := ahead.line(after)):
                if line.strip():
                    cells, following = _parse_record(ahead, after, self.delimiter)
                    records.append((cells, after, following))
                    after = following
                else:
                    after += 1
        titles = titles_above([cells for cells, _, _ in records])
        if titles:
            self.part.findings.append(about_titles(self.source.name, titles))
        return records[titles]

    def _lost(self, width: int) -> list[str]:
        """The lines of the broken record in hand; those after them are read again."""
        ahead = _Ahead(list(self.taken), self.waiting, self.physical, self.quote)
        all_quoted = len(self.quoted) >= 3 and all(self.quoted)
        end = _resume(ahead, self.delimiter, width, all_quoted)
        self.waiting.extendleft(reversed(ahead.lines[end:]))
        return ahead.lines[:end]


def checked_names(names: Iterable[str], file: str, line: int) -> list[str]:
    """The column names without the white space around them. StudioError where two are the same."""
    names = [name.strip() for name in names]
    unreadable = next((name for name in names if DAMAGE in name), None)
    if unreadable:
        raise StudioError(
            "{file}, line {line}: the column name {name} holds bytes that are no text.",
            "Write the names of the columns again and save the file as UTF-8.",
            file=file,
            line=line,
            name=readable(unreadable)[:_SHOWN],
        )
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice:
        raise StudioError(
            "{file}, line {line}: two columns are named {name}.",
            "Rename one of them.",
            file=file,
            line=line,
            name=twice[:_SHOWN],
        )
    return names


def about_unnamed(file: str, rows: int) -> Finding:
    """That cells without a column name were not read."""
    return finding(
        "unnamed_column",
        "file",
        "warning",
        (),
        "{file} has cells in columns that have no name, in rows: {unread}. They are not read.",
        "Give these columns a name in the first row, if their cells are needed.",
        file=file,
        unread=rows,
    )


TITLE_ROWS = 5
"""Rows above the names of the columns, at most."""


def titles_above(records: Sequence[Sequence[Any]]) -> int:
    """How many of a table's first records are a title above the names of its columns: they have one cell each, which is
    no column's name, and what follows are names that make a format.

    >>> titles_above([["FAQ 2024"], ["question", "answer"], ["Why?"]]), titles_above([["text"], ["a"], ["b", "c"]])
    (1, 0)
    """
    filled = [[str(cell).strip() for cell in record] for record in records]
    place = next((place for place, cells in enumerate(filled) if any(cells[1:]) or not cells[0]), 0)
    if not 0 < place <= TITLE_ROWS or len(records) < place + 2:
        return 0
    named = any(not says_nothing({cells[0]: ""}, None) for cells in filled[:place])
    return place if not named and recognise(filled[place], ()) else 0


def about_titles(file: str, rows: int) -> Finding:
    """That what stands above the names of the columns was not read."""
    return finding(
        "title_rows",
        "file",
        "info",
        (),
        "Above the column names of {file} stands a title. It is not read; its rows: {titles}.",
        "Nothing needs to be done.",
        file=file,
        titles=rows,
    )


def _wrong_width(taken: Sequence[str], start: int, cells: int, columns: int) -> Malformed:
    if len(taken) == 1:
        reason = Text(
            "Row {row} (line {line}) has {cells} cells where the header has {columns}.",
            {"line": start, "cells": cells, "columns": columns},
        )
    else:
        reason = Text(
            "Row {row} (lines {line} to {last}) has {cells} cells where the header has {columns}. All of these lines "
            "are left out.",
            {"line": start, "last": start + len(taken) - 1, "cells": cells, "columns": columns},
        )
    return Malformed(reason, start, 1, shortened("".join(taken)))


def _unclosed(lost: Sequence[str], start: int, delimiter: str, quote: str, problem: str) -> Malformed:
    if len(lost) == 1:
        reason = Text(
            "Row {row} (line {line}) cannot be read: its quotes do not close properly ({problem}).",
            {"line": start, "problem": problem},
        )
    else:
        reason = Text(
            "Row {row} (lines {line} to {last}) cannot be read: a quote is not closed properly ({problem}). All of "
            "these lines are left out.",
            {"line": start, "last": start + len(lost) - 1, "problem": problem},
        )
    line, column = _wrong_quote(lost, delimiter, quote)
    return Malformed(reason, start + line, column, shortened("".join(lost[:_SHOWN])))


_SHOWN = 100
"""Lines of a broken record that are looked at to say where, and characters of a column's name that are said."""


def _wrong_quote(lost: Sequence[str], delimiter: str, quote: str) -> tuple[int, int]:
    """Line (from 0) and column (from 1) of the quote that closes too early, or else of the last that opens."""
    opened, inside, after = (0, 1), False, False
    for line, text in enumerate(lost[:_SHOWN]):
        fresh = not inside
        for column, character in enumerate(text, start=1):
            if inside and after:
                if character == quote:
                    after = False
                    continue
                if character not in (delimiter, "\r", "\n"):
                    return line, column - 1
                inside = after = False
            if inside:
                after = character == quote
            elif character == quote and fresh:
                inside, opened = True, (line, column)
            fresh = not inside and character == delimiter
    return opened


class _Ahead:
    """Lines that are looked at before they are read."""

    def __init__(self, taken: list[str], waiting: deque[str], physical: Iterator[str], quote: str) -> None:
        self.lines = taken
        self.quote = quote
        self.waiting = waiting
        self.physical = physical
        self.most = len(taken) + _MOST_LINES
        self.left = LONGEST

    def line(self, index: int) -> str:
        """The line; empty at the end of the file and where no more are looked at."""
        while index >= len(self.lines) and len(self.lines) < self.most and self.left > 0:
            line = self.waiting.popleft() if self.waiting else next(self.physical, "")
            if not line:
                break
            self.lines.append(line)
            self.left -= len(line)
        return self.lines[index] if index < len(self.lines) else ""


def _parse_record(ahead: _Ahead, start: int, delimiter: str) -> tuple[list[str], int]:
    """The cells of the record that begins at a line, and the line after it."""
    position = start

    def feed() -> Iterator[str]:
        nonlocal position
        while line := ahead.line(position):
            position += 1
            yield line

    return next(csv.reader(feed(), delimiter=delimiter, quotechar=ahead.quote, strict=True), []), position


def _resume(ahead: _Ahead, delimiter: str, width: int, all_quoted: bool) -> int:
    """Where to read on after a record whose quotes do not close: the next line that begins a whole record.

    In a file whose rows all begin with a quote, such a line is looked for first. Without any, all lines are lost.
    """
    if all_quoted:
        index = 1
        while line := ahead.line(index):
            if line.startswith(ahead.quote) and _begins_whole(ahead, index, delimiter, width):
                return index
            index += 1
    index = 1
    while ahead.line(index):
        if _begins_whole(ahead, index, delimiter, width):
            return index
        index += 1
    return len(ahead.lines)


def _begins_whole(ahead: _Ahead, start: int, delimiter: str, width: int) -> bool:
    """Whether a whole record begins here and is not just a line inside the broken cell that looks like one.

    What follows must be a record too; one whose own quotes are wrong does.
    """
    try:
        cells, end = _parse_record(ahead, start, delimiter)
    except csv.Error:
        return False
    if len(cells) != width or sum(line.count(ahead.quote) for line in ahead.lines[start:end]) % 2:
        return False
    after = end
    while (line := ahead.line(after)) and not line.strip():
        after += 1
    try:
        return not line or len(_parse_record(ahead, after, delimiter)[0]) == width
    except csv.Error:
        return True


# ---- Quotes that are escaped with a backslash ---------------------------------------------------------------------

_ESCAPE = re.compile(r'\\(["\\])')


def _with_doubled_quotes(line: str) -> str:
    return _ESCAPE.sub(lambda found: '""' if found[1] == '"' else "\\", line)


def _escapes_quotes(head: str, delimiter: str) -> bool:
    """Whether the first records are whole only if \\" stands for a quote."""
    if '\\"' not in head:
        return False
    physical = list(StringIO(head, newline=""))
    return not _whole(physical, delimiter) and _whole(map(_with_doubled_quotes, physical), delimiter)


def _quote(head: str, delimiter: str) -> str:
    """What cells are quoted with: a single quote where cells begin with it, and more records are as wide as the first
    then."""
    if delimiter == "'" or head.count(f"{delimiter}'") + head.count("\n'") < 2:
        return '"'
    double, single = (evenness(table_widths(head, delimiter, quote) or [0]) for quote in "\"'")
    return "'" if single > double else '"'


def _whole(physical: Iterable[str], delimiter: str) -> bool:
    """Whether all records are equally wide and their quotes close; the last may break off."""
    widths = set()
    try:
        for cells in csv.reader(physical, delimiter=delimiter, strict=True):
            if cells:
                widths.add(len(cells))
    except csv.Error as error:
        return len(widths) == 1 and "unexpected end" in str(error)
    return len(widths) == 1
