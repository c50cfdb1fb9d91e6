"""Text files in the encoding that was recognised: lines of bounded length, and bytes that are told as they are read."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from studio.domain.text import Text
from studio.engine.encodings import DAMAGE, MARK_DAMAGE, Encoding, damage_is_marked, readable
from studio.engine.records import KEPT, LONGEST, Malformed

Told = Callable[[int], None]
"""Is told how many bytes of a file have been read so far."""

_BUFFER = 2**20
_STEP = 2**18


class CountedFile(io.FileIO):
    """A file that tells now and then, and at its end, how many of its bytes were read."""

    def __init__(self, path: Path, told: Told | None) -> None:
        super().__init__(path)
        self.told = told
        self.taken = 0
        self.due = 0

    def readinto(self, buffer: Any) -> int | None:
        count = super().readinto(buffer)
        self.taken += count or 0
        if self.told and (self.taken >= self.due or not count):
            self.due = self.taken + _STEP
            self.told(self.taken)
        return count


@dataclass(frozen=True)
class TextFile:
    """A text file: where it lies, its name for a person, its encoding, and the extension it should have."""

    path: Path
    name: str
    encoding: Encoding
    suffix: str = ""
    told: Told | None = None

    def open(self, newline: str | None) -> io.TextIOWrapper:
        """Its text; bytes that are no text come as DAMAGE. `newline` as in Python's `open`."""
        damage_is_marked()
        raw = io.BufferedReader(CountedFile(self.path, self.told), _BUFFER)
        return io.TextIOWrapper(raw, encoding=self.encoding.codec, errors=MARK_DAMAGE, newline=newline)

    def head(self, characters: int = 200_000) -> str:
        """Its first characters."""
        with replace(self, told=None).open("") as file:
            return file.read(characters)


def lines(file: io.TextIOWrapper) -> Iterator[str]:
    """The lines with their ends; one longer than LONGEST comes in pieces."""
    return iter(partial(file.readline, LONGEST), "")


def damaged(text: str, line: int, encoding: Encoding, column: int = 1) -> Malformed:
    """The record in `text`, which begins at `line` and `column` and holds bytes that are no text."""
    before = text[: text.index(DAMAGE)]
    breaks = before.count("\n")
    column = len(before) - before.rfind("\n") if breaks else column + len(before)
    return Malformed(
        Text(
            "Row {row} (line {line}, character {character}) holds bytes that are no {encoding} text.",
            {"line": line + breaks, "character": column, "encoding": encoding.label},
        ),
        line + breaks,
        column,
        shortened(text),
    )


def too_long(text: str, line: int) -> Malformed:
    """The record in `text`, which begins at `line` and is longer than LONGEST."""
    values = {"line": line, "limit": LONGEST // 10**6}
    return Malformed(
        Text("Row {row} (line {line}) is longer than {limit} million characters.", values),
        line,
        1,
        shortened(text),
    )


def shortened(text: str) -> str:
    """So much of a record's text as is kept."""
    return readable(text[:KEPT].rstrip("\r\n"))
