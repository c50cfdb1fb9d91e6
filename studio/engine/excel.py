"""Excel workbooks (.xlsx) to records: one sheet, its first row the names of the columns, a row at a time.

A workbook is a zip archive of XML (ECMA-376, part 1, chapter 18). It is read as a stream with bounds, so that a small
upload that unpacks to gigabytes, or a cell in row 1,048,576, costs neither memory nor time; errors in cells are told.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import chain, islice
from pathlib import Path
from typing import Any
from xml.parsers import expat

from studio.domain.errors import StudioError
from studio.domain.finding import finding
from studio.domain.text import Text
from studio.engine.archives import DAMAGE as DAMAGED_ARCHIVE
from studio.engine.csv_records import (
    TITLE_ROWS,
    about_titles,
    about_unnamed,
    checked_names,
    given_names,
    titles_above,
)
from studio.engine.formats import recognise
from studio.engine.records import Malformed, Part
from studio.engine.text_files import Told, shortened

_CHUNK = 2**16
_LOOKED_AT = 100
"""Rows, of a sheet without a header, of which the longest says how many columns there are."""
_MOST_COLUMNS = 16_384
_MOST_STRINGS = 2**29
"""Characters in the texts of a workbook."""
_FREE, _RATIO = 2**28, 300
"""A part may unpack to so many bytes, and beyond them to so many times its own size."""
_MOST_CELL = 2**25
_DATES = {*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)}
"""Number formats of dates and times that need not be declared (ECMA-376, part 1, 18.8.30)."""
_NOT_LETTERS = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
_CELL = re.compile(rb"<(?:\w+:)?c[\s>]")

Attributes = dict[str, str]
Rows = Iterator[tuple[int, Any]]


class _Unreadable(Exception):
    """What is wrong with a workbook."""


def read_excel(
    path: Path, name: str, sheet: str | None = None, told: Told | None = None, header: bool = True
) -> Part:
    """The records of a sheet: by default of the first visible one whose columns tell what they are, or else of the
    first with rows. Without a `header` the first row is a record, too, and the columns are numbered."""
    part = Part("excel", iter(()))
    part.rows = _rows(path, name, sheet, part, told, header)
    return part


def is_workbook(path: Path) -> bool:
    """Whether a zip archive is a workbook and not a folder of files."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except DAMAGED_ARCHIVE:
        return False
    return "[Content_Types].xml" in names and any(name.startswith("xl/") for name in names)


def _rows(path: Path, name: str, sheet: str | None, part: Part, told: Told | None, header: bool) -> Rows:
    try:
        with zipfile.ZipFile(path) as archive:
            book = _Book(archive, name)
            place = book.sheet(sheet, part)
            yield from _records(book, place, part, told, header)
    except (expat.ExpatError, _Unreadable, *DAMAGED_ARCHIVE) as error:
        raise StudioError(
            "{file} is a damaged {kind} file: {problem}.",
            "Write or download it again.",
            file=name,
            kind="Excel",
            problem=(str(error).strip() or type(error).__name__).rstrip("."),
        ) from None


def _records(book: _Book, place: str, part: Part, told: Told | None, header: bool) -> Rows:
    names: list[str] | None = None
    unread = 0
    rows = _filled(book.rows(place, told))
    if (
        not header
    ):  # cells that are empty at the end of a row are not written: the first may be shorter than others
        first = list(islice(rows, _LOOKED_AT))
        names = given_names(max((len(cells) for _, cells in first), default=0))
        part.header = tuple(names)
        rows = chain(first, rows)
    else:
        first = list(islice(rows, TITLE_ROWS + 2))
        titles = titles_above([cells for _, cells in first])
        if titles:
            part.findings.append(about_titles(book.name, titles))
        rows = chain(first[titles:], rows)
    for line, cells in rows:
        if names is None:
            names = checked_names(map(str, cells), book.name, line)
            part.header = tuple(name for name in names if name)
            continue
        wrong = next((column for column, cell in enumerate(cells, 1) if isinstance(cell, _Wrong)), None)
        if wrong is not None:
            yield line, _wrong_cell(cells, line, wrong)
        elif len(cells) > len(names):
            reason = Text(
                "Row {row} (line {line}) has {cells} cells where the header has {columns}.",
                {"line": line, "cells": len(cells), "columns": len(names)},
            )
            yield line, Malformed(reason, line, len(names) + 1, _as_text(cells))
        else:
            cells += [""] * (len(names) - len(cells))
            unread += any(cell != "" and not name for name, cell in zip(names, cells, strict=True))
            yield line, {name: cell for name, cell in zip(names, cells, strict=True) if name}
    if unread:
        part.findings.append(about_unnamed(book.name, unread))


def _filled(rows: Iterator[tuple[int, list[Any]]]) -> Iterator[tuple[int, list[Any]]]:
    """The rows with any cell, without the empty cells at their end."""
    for line, cells in rows:
        while cells and cells[-1] == "":
            cells.pop()
        if cells:
            yield line, cells


class _Wrong(str):
    """What a cell says that holds an error instead of a value."""


def _wrong_cell(cells: list[Any], line: int, column: int) -> Malformed:
    reason = Text(
        "Row {row} (line {line}, column {column}): the cell holds {error} instead of a value.",
        {"line": line, "column": column, "error": str(cells[column - 1])},
    )
    return Malformed(reason, line, column, _as_text(cells))


def _as_text(cells: list[Any]) -> str:
    return shortened("\t".join(map(str, cells)))


class _Book:
    """The parts of a workbook that say where its cells are and what they mean."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self.archive = archive
        self.name = name
        main = next(
            (target for _, kind, target in self._relations("") if kind.endswith("/officeDocument")),
            "xl/workbook.xml",
        )
        if main.endswith(".bin"):
            raise StudioError(
                "{file} is a binary Excel workbook.",
                "Save it as .xlsx or CSV, and choose that file.",
                file=name,
            )
        self.from_1904 = False
        self.sheets: list[tuple[str, str, bool]] = []
        self._open_book(main)

    def _open_book(self, main: str) -> None:
        relations = self._relations(main)
        places = {key: target for key, kind, target in relations if kind.endswith("/worksheet")}

        def start(tag: str, attributes: Attributes) -> None:
            if tag == "workbookPr":
                self.from_1904 = attributes.get("date1904") in ("1", "true")
            elif tag == "sheet" and (place := places.get(attributes.get("id", ""))):
                hidden = attributes.get("state", "visible") != "visible"
                self.sheets.append((attributes.get("name", ""), place, hidden))

        self._parse(main, start)
        others = {kind.rpartition("/")[2]: target for _, kind, target in relations}
        self.strings = self._strings(others["sharedStrings"]) if "sharedStrings" in others else []
        self.dates = self._date_styles(others["styles"]) if "styles" in others else frozenset()

    def sheet(self, wanted: str | None, part: Part) -> str:
        """The place of a sheet; further ones that hold cells are told."""
        if not self.sheets:
            raise _Unreadable("it has no sheet with cells")
        names = [name for name, _, _ in self.sheets]
        if wanted is not None and wanted not in names:
            raise StudioError(
                "{file} has no sheet {sheet}.",
                "Choose one of {sheets}.",
                file=self.name,
                sheet=wanted,
                sheets=", ".join(names),
            )
        visible = [sheet for sheet in self.sheets if not sheet[2]] or self.sheets
        chosen = wanted if wanted is not None else self._likeliest(visible)
        part.sheet, part.sheets = chosen, tuple(names)
        others = [name for name, place, _ in self.sheets if name != chosen and self._holds_cells(place)]
        if others:
            part.findings.append(
                finding(
                    "further_sheets",
                    "file",
                    "info",
                    (),
                    "Of {file}, the sheet {sheet} was read. Others hold cells too: {others}.",
                    "Put their rows into the same sheet, if they are needed, or choose another.",
                    file=self.name,
                    sheet=chosen,
                    others=", ".join(others),
                )
            )
        return self.sheets[names.index(chosen)][1]

    def _likeliest(self, sheets: list[tuple[str, str, bool]]) -> str:
        """The first sheet whose columns tell what they are; else the first with rows below them, or with any cell."""
        best, most = sheets[0][0], 0
        for name, place, _ in sheets if len(sheets) > 1 else ():
            try:
                rows = list(islice(_filled(self.rows(place, None)), 2))
            except (expat.ExpatError, _Unreadable, *DAMAGED_ARCHIVE):
                continue  # told when this sheet is asked for
            told = bool(rows) and recognise(map(str, rows[0][1]), ()) is not None
            if (worth := len(rows) + told) > most:
                best, most = name, worth
        return best

    def rows(self, place: str, told: Told | None) -> Iterator[tuple[int, list[Any]]]:
        """The number and the cells of each row of a sheet; what is left out between them is an empty text."""
        reader = _SheetReader(self)
        size = self.archive.getinfo(place).file_size or 1
        packed = Path(self.archive.filename or "").stat().st_size
        for done in self._feed(place, reader.start, reader.end, reader.text):
            if told:
                told(min(packed, packed * done // size))
            yield from reader.done
            reader.done.clear()

    def _holds_cells(self, place: str) -> bool:
        with self.archive.open(place) as file:
            return bool(_CELL.search(file.read(_CHUNK)))

    def _relations(self, part: str) -> list[tuple[str, str, str]]:
        """Key, kind and target of what a part refers to."""
        folder, _, file = part.rpartition("/")
        place = f"{folder}/_rels/{file}.rels".lstrip("/")
        found: list[tuple[str, str, str]] = []

        def start(tag: str, attributes: Attributes) -> None:
            target = attributes.get("Target", "")
            if tag == "Relationship" and attributes.get("TargetMode") != "External":
                whole = target.lstrip("/") if target.startswith("/") else f"{folder}/{target}".lstrip("/")
                found.append((attributes.get("Id", ""), attributes.get("Type", ""), whole))

        if place in self.archive.namelist():
            self._parse(place, start)
        return found

    def _strings(self, place: str) -> list[str]:
        """The texts that cells refer to by their number; the hints on pronunciation (rPh) are no part of them."""
        strings: list[str] = []
        pieces: list[str] = []
        depth = {"rPh": 0, "t": 0}
        size = 0

        def start(tag: str, attributes: Attributes) -> None:
            if tag in depth:
                depth[tag] += 1
            elif tag == "si":
                pieces.clear()

        def end(tag: str) -> None:
            nonlocal size
            if tag in depth:
                depth[tag] -= 1
            elif tag == "si":
                strings.append(_unescaped("".join(pieces)))
                size += len(strings[-1]) + 50
                if size > _MOST_STRINGS:
                    raise _Unreadable("it holds more text than can be read at once; save it as CSV")

        def text(data: str) -> None:
            if depth["t"] and not depth["rPh"]:
                pieces.append(data)

        self._parse(place, start, end, text)
        return strings

    def _date_styles(self, place: str) -> frozenset[int]:
        """The numbers of the cell styles that show dates or times."""
        formats: dict[str, str] = {}
        styles: list[str] = []
        inside = [False]

        def start(tag: str, attributes: Attributes) -> None:
            if tag == "numFmt":
                formats[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
            elif tag == "cellXfs":
                inside[0] = True
            elif tag == "xf" and inside[0]:
                styles.append(attributes.get("numFmtId", "0"))

        def end(tag: str) -> None:
            if tag == "cellXfs":
                inside[0] = False

        self._parse(place, start, end)
        dates = {key for key, code in formats.items() if _shows_date(code)} | {
            str(number) for number in _DATES if str(number) not in formats
        }
        return frozenset(number for number, style in enumerate(styles) if style in dates)

    def _parse(
        self,
        place: str,
        start: Callable[[str, Attributes], None],
        end: Callable[[str], None] | None = None,
        text: Callable[[str], None] | None = None,
    ) -> None:
        for _ in self._feed(place, start, end, text):
            pass

    def _feed(
        self,
        place: str,
        start: Callable[[str, Attributes], None],
        end: Callable[[str], None] | None,
        text: Callable[[str], None] | None,
    ) -> Iterator[int]:
        """Parse a part by handlers that get names without their namespaces. Yield the bytes that are done."""
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.StartElementHandler = lambda tag, attributes: start(
            tag.rpartition(" ")[2], {key.rpartition(" ")[2]: value for key, value in attributes.items()}
        )
        if end:
            parser.EndElementHandler = lambda tag: end(tag.rpartition(" ")[2])
        if text:
            parser.CharacterDataHandler = text
        most = max(_FREE, _RATIO * self.archive.getinfo(place).compress_size)
        done = 0
        with self.archive.open(place) as file:
            while chunk := file.read(_CHUNK):
                done += len(chunk)
                if done > most:
                    raise _Unreadable("it unpacks to more than a workbook of its size does")
                parser.Parse(chunk, False)
                yield done
        parser.Parse(b"", True)
        yield done


def _refuse_doctype(*_: Any) -> None:
    raise _Unreadable("it declares entities, which no workbook does")


class _SheetReader:
    """Handlers that turn the XML of a sheet into rows."""

    def __init__(self, book: _Book) -> None:
        self.book = book
        self.done: list[tuple[int, list[Any]]] = []
        self.row = 0
        self.cells: list[Any] = []
        self.kind = ""
        self.style = 0
        self.value: list[str] = []
        self.size = 0
        self.reading = False
        self.phonetic = False

    def start(self, tag: str, attributes: Attributes) -> None:
        if tag == "c":
            self._open_cell(attributes)
        elif tag in ("v", "t"):
            self.reading = not self.phonetic
        elif tag == "row":
            number = attributes.get("r", "")
            self.row = int(number) if number.isascii() and number.isdigit() else self.row + 1
            self.cells = []
        elif tag == "rPh":
            self.phonetic = True

    def _open_cell(self, attributes: Attributes) -> None:
        found = _REFERENCE.fullmatch(attributes.get("r", ""))
        column = _column(found[1]) if found else len(self.cells) + 1
        if not len(self.cells) < column <= _MOST_COLUMNS:
            raise _Unreadable(f"a cell of row {self.row} is not in its place")
        self.cells += [""] * (column - 1 - len(self.cells))
        self.kind = attributes.get("t", "n")
        style = attributes.get("s", "")
        self.style = int(style) if style.isascii() and style.isdigit() else 0
        self.value, self.size = [], 0

    def text(self, data: str) -> None:
        if self.reading:
            self.value.append(data)
            self.size += len(data)
            if self.size > _MOST_CELL:
                raise _Unreadable(f"a cell of row {self.row} is too long")

    def end(self, tag: str) -> None:
        if tag in ("v", "t"):
            self.reading = False
        elif tag == "c":
            self.cells.append(self._value("".join(self.value)))
        elif tag == "row":
            self.done.append((self.row, self.cells))
        elif tag == "rPh":
            self.phonetic = False

    def _value(self, text: str) -> Any:
        if self.kind == "s":
            strings = self.book.strings
            known = text.isascii() and text.isdigit() and int(text) < len(strings)
            return strings[int(text)] if known else _Wrong("a text that is missing")
        if self.kind in ("str", "inlineStr"):
            return _unescaped(text)
        if self.kind == "e":
            return _Wrong(text)
        if self.kind == "b":
            return text == "1"
        if self.kind == "d" or not text:
            return text
        return self._number(text)

    def _number(self, text: str) -> Any:
        try:
            number = float(text)
        except ValueError:
            return _Wrong(text)
        if self.style in self.book.dates and 0 <= number < 2_958_466:
            return _date(number, self.book.from_1904)
        return int(number) if number.is_integer() and abs(number) < 1e15 else number


def _column(letters: str) -> int:
    """The number of a column: A is 1."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number


def _shows_date(code: str) -> bool:
    """Whether a number format shows days, hours or the like.

    >>> _shows_date("yyyy-mm-dd"), _shows_date('0.0 "days"'), _shows_date("[Red]0")
    (True, False, False)
    """
    return bool(re.search("[dmyhs]", _NOT_LETTERS.sub("", code.partition(";")[0]), re.IGNORECASE))


def _date(number: float, from_1904: bool) -> str:
    """A day, a time of day or both, as ISO 8601 writes them. Excel takes 1900 for a leap year."""
    seconds = round(number * 86_400)
    if from_1904:
        moment = datetime(1904, 1, 1) + timedelta(seconds=seconds)
    else:
        moment = datetime(1899, 12, 30 if number >= 60 else 31) + timedelta(seconds=seconds)
    if number < 1:
        return moment.strftime("%H:%M:%S")
    return moment.isoformat(" ") if seconds % 86_400 else moment.date().isoformat()


def _unescaped(text: str) -> str:
    """The text with the characters that XML cannot hold, which are written as _x000D_."""
    if "_x" not in text:
        return text
    plain = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
