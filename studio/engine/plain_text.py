"""Plain text to records: each paragraph, or the whole document, in the field `text`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import TextIOWrapper
from typing import Any

from studio.domain.finding import finding
from studio.engine.csv_records import evenness, sniff_delimiter, table_widths
from studio.engine.encodings import DAMAGE
from studio.engine.records import LONGEST, Part
from studio.engine.text_files import TextFile, damaged, lines, too_long

SUFFIXES = (".txt", ".text", ".md", ".markdown")
_NAME = re.compile(r"[^\W\d][\w .\-/()]{0,39}")

Rows = Iterator[tuple[int, Any]]


def read_plain_text(source: TextFile, documents: bool = False) -> Part:
    """The paragraphs of a text, which blank lines part; with `documents`, the text as a whole."""
    part = Part("text", iter(()), ("text",), source.encoding.name)
    part.rows = _rows(source, part, documents)
    return part


def looks_like_table(source: TextFile) -> bool:
    """Whether a text file is a table: rows equally wide, and a first row that could be the names of columns."""
    if source.suffix in (".md", ".markdown"):
        return False
    head = source.head()
    delimiter = sniff_delimiter(head)
    if delimiter is None:
        return False
    widths = table_widths(head, delimiter)
    names = head.lstrip().partition("\n")[0].strip().split(delimiter)
    return (
        len(widths) > 1 and evenness(widths) > 0.9 and all(_NAME.fullmatch(name.strip('"')) for name in names)
    )


def _rows(source: TextFile, part: Part, documents: bool) -> Rows:
    count = 0
    with source.open(None) as file:
        for line, text in _documents(file) if documents else _paragraphs(file, _fences(source)):
            if len(text) >= LONGEST:
                yield line, too_long(text, line)
            elif DAMAGE in text:
                yield line, damaged(text, line, source.encoding)
            else:
                count += 1
                yield line, {"text": text}
    part.findings.append(
        finding(
            "plain_text",
            "file",
            "info",
            (),
            "{file} is plain text; records with the field text were made of it: {made}.",
            "Nothing needs to be done. A table or JSON Lines says more exactly what belongs together.",
            file=source.name,
            made=count,
        )
    )


def _fences(source: TextFile) -> bool:
    return source.suffix in (".md", ".markdown")


def _documents(file: TextIOWrapper) -> Iterator[tuple[int, str]]:
    text = file.read(LONGEST)
    if text.strip():
        yield 1, text


def _paragraphs(file: TextIOWrapper, fences: bool) -> Iterator[tuple[int, str]]:
    """The paragraphs with their first lines; in Markdown, blank lines inside of fences do not part them."""
    held: list[str] = []
    size, start, fenced = 0, 1, False
    for number, line in enumerate(lines(file), start=1):
        if fences and line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        if line.strip() or (fenced and held):
            start = start if held else number
            if size < LONGEST:
                held.append(line)
                size += len(line)
        elif held:
            yield start, "".join(held).rstrip("\n")
            held, size = [], 0
    if held:
        yield start, "".join(held).rstrip("\n")
