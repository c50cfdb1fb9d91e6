"""What reading a file gives: its records, and those that cannot be read, each with its place and its reason."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from studio.domain.errors import StudioError
from studio.domain.finding import Finding, finding
from studio.domain.text import Text

LONGEST = 32 * 2**20
"""Characters in one record; a longer one is quarantined, so that a file of any size is read in bounded memory."""
KEPT = 20_000
"""Characters that are kept of a record that cannot be read."""
TEXTS_KEPT = 20_000_000
"""So many characters of quarantined records are kept; of those after them their place and reason."""
EVERY = "all"
"""In place of a split: all of them."""
PADDED = ("parquet", "arrow", "mixed")
"""Kinds of files whose rows have nulls for what others have."""
LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
"""Half a character, which JSON can spell and no text file can hold."""


class Record(NamedTuple):
    """One record: `row` counts from 1 over all files that are read, `line` from 1 in its own (0: it has no lines)."""

    row: int
    line: int
    value: dict[str, Any]
    file: str


@dataclass(frozen=True)
class Quarantined:
    """A record that cannot be read, or that is no conversation: where it breaks, why as a whole sentence, and its first
    20,000 characters as they stand in the file, or as JSON where they could be read.

    Lines and columns count from 1; 0 where the file has none, as in Parquet, and of a whole record.
    """

    file: str
    line: int
    column: int
    reason: Text
    text: str
    row: int
    check: str = "unreadable_record"

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "reason": str(self.reason)}

    @property
    def lines(self) -> int:
        """So many lines of the file are lost to it."""
        values = self.reason.values
        return values["last"] - values["line"] + 1 if "last" in values else 1


@dataclass(frozen=True)
class Malformed:
    """What a reader gives in place of a record: why (the sentence's {row} is filled in later), where, and its text."""

    reason: Text
    line: int
    column: int
    text: str = ""


@dataclass(frozen=True)
class Slip:
    """A fault in the file that costs no record, such as a comma that is missing between two."""

    line: int
    column: int
    problem: str


@dataclass
class Part:
    """One file as it is read: `rows` gives the line and the value of each record, or a Malformed.

    `findings` and `slips` are complete once `rows` is exhausted.
    """

    kind: str
    rows: Iterator[tuple[int, Any]]
    header: tuple[str, ...] = ()
    encoding: str = "utf-8"
    delimiter: str = ""
    sheet: str = ""
    sheets: tuple[str, ...] = ()
    """All sheets of a workbook, once the first row is asked for."""
    splits: tuple[str, ...] = ()
    """Those that a JSON file is made of, once the first row is asked for."""
    findings: list[Finding] = field(default_factory=list)
    slips: list[Slip] = field(default_factory=list)


@dataclass(frozen=True)
class SourceRows:
    """The rows that stand in one of several files, from the number `first` to the number `last`."""

    file: str
    first: int
    last: int

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass
class Records:
    """The raw records of one or several files.

    `rows[i]` is record number `row_numbers[i]` and begins at line `lines[i]` of `files[i]`.
    """

    kind: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    row_numbers: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    header: tuple[str, ...] = ()
    encoding: str = "utf-8"
    sources: list[SourceRows] = field(default_factory=list)
    """Which rows are of which file; a file without rows is left out."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names that stand in any record, in the order they first appear."""
        return self.header or tuple(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def count(self) -> int:
        """Records so far, readable or not."""
        return len(self.rows) + len(self.quarantined)

    @property
    def padded(self) -> bool:
        """Whether tables are among the files, whose columns give each row nulls for what others have."""
        return self.kind in PADDED


def choose_split(source: str, splits: Sequence[str], wanted: str | None) -> str | None:
    """The wanted one of several splits, or the one for training; None where none is wanted and none is for training.

    StudioError where the wanted one is not there.
    """
    if wanted is None:
        training = [split for split in splits if split.strip().lower().startswith("train")]
        return "train" if "train" in training else next(iter(training), None)
    for split in splits:
        if split.strip().lower() == wanted.strip().lower():
            return split
    raise StudioError(
        "{source} has no split {split}.",
        "Choose one of {splits}.",
        source=source,
        split=wanted,
        splits=", ".join(splits) or "none",
    )


def about_other_splits(source: str, chosen: str, others: Sequence[str]) -> Finding:
    """That of several splits one was read."""
    return finding(
        "other_splits",
        "file",
        "info",
        (),
        "Of {source}, the split {split} was read. It also has {others}.",
        "Nothing needs to be done. The other splits can be chosen by their name.",
        source=source,
        split=chosen,
        others=", ".join(others),
    )


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


def with_whole_names(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose names can be written: half a character in one, which JSON can spell, becomes U+FFFD.

    >>> with_whole_names({"na\\ud83dme": 1})
    {'na\ufffdme': 1}
    """
    if LONE_SURROGATE.search("".join(record)):
        return {LONE_SURROGATE.sub("\ufffd", name): value for name, value in record.items()}
    return record
