"""Raw records to conversations: the format settled, each record converted, and those that cannot be, named."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from studio.domain.chat import Conversation
from studio.domain.errors import StudioError
from studio.domain.finding import Finding, finding
from studio.domain.text import Text
from studio.engine.fields import Unconvertible
from studio.engine.formats import (
    FORMATS,
    IN_TURNS,
    SEVERAL,
    check_columns,
    convert,
    main_format,
    own_format,
    says_nothing,
    unread_fields,
    unused_fields,
)
from studio.engine.records import KEPT, LONE_SURROGATE, TEXTS_KEPT, Quarantined, Record
from studio.engine.turns import INLINE_REASONING, REASONING, without_padding

SHOWN_PROBLEMS = 20
"""So many rows that cannot be used are told one by one; the rest in one sentence."""
_NAMED, _SHOWN = 8, 60
"""So many columns of a row are named, and so much of a name is shown: where a table has none, it is a text."""


@dataclass(frozen=True)
class RowFormat:
    """How records are read: in the `format` of the file; where that is `free`, one that has another in its own.

    `columns` are those mapped by hand, `names` those of the whole file; `padded` says whether records are rows of a
    table, whose columns give each of them nulls for what others have.
    """

    format: str
    columns: dict[str, str] | None
    names: tuple[str, ...]
    padded: bool
    free: bool

    def format_of(self, record: Mapping[str, Any]) -> str:
        """The format in which a record is read."""
        if not self.free:
            return self.format
        if self.columns and not record.keys().isdisjoint(self.columns.values()):
            return "columns"
        own = own_format(record)
        alike = own in IN_TURNS and self.format in IN_TURNS
        return self.format if own is None or alike else own


@dataclass
class Converted:
    """What became of some records. Those of the parts of a file are `joined` in their order."""

    conversations: list[Conversation] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    kept: int = 0
    """Characters of quarantined records of the parts that were joined."""
    unused: dict[str, list[int]] = field(default_factory=dict)
    """Numbers of the rows whose field of that name no conversation can hold."""
    unread: dict[str, list[int]] = field(default_factory=dict)
    """The same of fields that have the name of one that is read, but are in no message of theirs."""
    thoughtful: list[int] = field(default_factory=list)
    """Numbers of the rows with reasoning at the start of an answer."""
    formats: Counter[str] = field(default_factory=Counter)
    """So many conversations were read in each format."""

    def take(self, other: Converted) -> None:
        """Add what was found in the part that follows, but for its conversations."""
        for item in other.quarantined:
            self.kept += len(item.text)
            self.quarantined.append(item if self.kept <= TEXTS_KEPT else replace(item, text=""))
        self.thoughtful += other.thoughtful
        self.formats += other.formats
        for name, rows in other.unused.items():
            self.unused.setdefault(name, []).extend(rows)
        for name, rows in other.unread.items():
            self.unread.setdefault(name, []).extend(rows)

    @property
    def format(self) -> str:
        """The format of all conversations, or `formats.SEVERAL`."""
        return next(iter(self.formats)) if len(self.formats) == 1 else SEVERAL

    @property
    def findings(self) -> list[Finding]:
        """About what was converted; `about_problems` tells of what was not."""
        unused = (_about_unused(name, rows) for name, rows in self.unused.items())
        unread = (_about_unread(name, rows) for name, rows in self.unread.items())
        return [*_about_formats(self.formats), *unused, *unread, *_about_inline_reasoning(self.thoughtful)]


def converted(records: Iterable[Record], reading: RowFormat) -> Converted:
    """Each record as a conversation, or as one that is none."""
    result = Converted()
    for number, line, value, file in records:
        record = without_padding(value) if reading.padded else value
        form = reading.format_of(record)
        if reading.free and form != "columns" and None in record.values() and own_format(record):
            # Such as the columns of a table that rows of another format have.
            record = {name: held for name, held in record.items() if held is not None}
        try:
            if _is_unwanted(record):
                raise Unconvertible(
                    "Row {row} ({place}): its response is marked as a bad one (label: false).", UNWANTED
                )
            conversation = convert(record, form, reading.columns, number, reading.names)
        except Unconvertible as error:
            unknown = reading.free and says_nothing(record, reading.columns)
            told = _of_no_format(record) if unknown else error
            result.quarantined.append(_quarantined(told, file, number, line, value))
            continue
        result.conversations.append(conversation)
        result.formats[form] += 1
        for name in unused_fields(record, form, conversation):
            result.unused.setdefault(name, []).append(number)
        for name in unread_fields(record, form):
            result.unread.setdefault(name, []).append(number)
        if any(INLINE_REASONING.match(text) for text in conversation.responses):
            result.thoughtful.append(number)
    return result


UNWANTED = "unwanted_response"
"""The check of rows whose response is said to be a bad one."""
_KTO = frozenset({"prompt", "completion", "label"})


def _is_unwanted(record: Mapping[str, Any]) -> bool:
    """Whether it is of the kind that KTO learns from (Ethayarajh et al. 2024, arXiv:2402.01306), and an example of what
    is not to be said."""
    return record.get("label") is False and record.keys() == _KTO


def settle(
    file: str,
    format: str,
    columns: dict[str, str] | None,
    names: tuple[str, ...],
    rows: Sequence[dict[str, Any]],
    padded: bool = False,
) -> RowFormat:
    """How to read a file, once it is certain that it has the columns for it. `rows` are its first ones."""
    if format not in ("auto", *FORMATS):
        raise StudioError(
            "There is no format {format}.",
            "Choose one of {formats}.",
            format=format,
            formats=", ".join(("auto", *FORMATS)),
        )
    free = format in ("auto", "columns")
    if format == "auto":
        own = main_format(names, rows) or "unknown"
        mapped = columns and (own == "unknown" or not set(columns.values()).isdisjoint(names))
        format = "columns" if mapped else own
    elif columns and format != "columns":
        raise StudioError(
            "Columns are mapped by hand, but the format is {format}.",
            "Choose the format 'columns', or remove the mapping.",
            format=format,
        )
    if format == "unknown":
        raise StudioError(
            "{file} is in no format that is recognised. Its columns: {columns}.",
            "Map its columns by hand, or name them prompt and response. The first row of a table holds the names; "
            "where it is a row already, set its header to none. Where its cells are parted by another sign, say by "
            "which.",
            file=file,
            columns=", ".join(str(name)[:_SHOWN] for name in names) or "none",
        )
    check_columns(format, names, columns, file)
    return RowFormat(format, columns, names, padded, free)


def _of_no_format(record: Mapping[str, Any]) -> Unconvertible:
    return Unconvertible(
        "Row {row} ({place}) is in no format that is recognised. Its columns: {columns}.",
        "missing_field",
        columns=", ".join(map(str, list(record)[:_NAMED])) or "none",
    )


def _quarantined(
    error: Unconvertible, file: str, row: int, line: int, record: Mapping[str, Any]
) -> Quarantined:
    place = f"{file}:{line}" if line else file
    reason = replace(error.text, values={**error.text.values, "row": row, "place": place})
    written = json.dumps(record, ensure_ascii=False, default=str)
    return Quarantined(file, line, 0, reason, LONE_SURROGATE.sub("\ufffd", written[:KEPT]), row, error.check)


def about_problems(problems: Sequence[Quarantined]) -> list[Finding]:
    """A Finding for each of those that cost most, and one for all others."""
    unwanted = [problem.row for problem in problems if problem.check == UNWANTED]
    problems = [problem for problem in problems if problem.check != UNWANTED]
    remedy = Text("Correct the row in the file and read it again. It is left out; the other rows are used.")
    # Those that cost the most lines are among them, wherever they stand.
    costly = {
        problem.row for problem in sorted(problems, key=lambda problem: -problem.lines)[:SHOWN_PROBLEMS]
    }
    shown = [problem for problem in problems if problem.row in costly]
    findings = [Finding(item.check, "file", "error", (item.row,), item.reason, remedy) for item in shown]
    rest = [problem for problem in problems if problem.row not in costly]
    if rest:
        findings.append(
            finding(
                "unreadable_record",
                "file",
                "error",
                [problem.row for problem in rest],
                "Further rows cannot be used: {count}.",
                "Correct the first ones and read the file again.",
            )
        )
    if unwanted:
        findings.append(
            finding(
                UNWANTED,
                "file",
                "info",
                unwanted,
                "Rows whose response is marked as a bad one (label: false) are left out: {count}.",
                "Nothing needs to be done: supervised fine-tuning learns the good ones alone.",
            )
        )
    return findings


def about_own_format(file: str, format: str) -> list[Finding]:
    """About a file that was read as it is, not as it was asked for."""
    return [
        finding(
            "own_format",
            "file",
            "info",
            (),
            "{file} does not have the format or the columns that were chosen and was read in its own format, {format}.",
            "Nothing needs to be done where that is right. Else choose them for this file.",
            file=file,
            format=format,
        )
    ]


def _about_formats(formats: Mapping[str, int]) -> list[Finding]:
    if len(formats) < 2:
        return []
    return [
        finding(
            "several_formats",
            "file",
            "info",
            (),
            "The rows have several formats, and each was read in its own: {formats}.",
            "Nothing needs to be done, if all of them belong into this set.",
            formats=", ".join(
                f"{name} ({count:,})" for name, count in sorted(formats.items(), key=lambda item: -item[1])
            ),
        )
    ]


def _about_unused(name: str, rows: Sequence[int]) -> Finding:
    if name.strip().lower() in REASONING:
        return finding(
            "unused_field",
            "file",
            "warning",
            rows,
            "Rows whose turns hold another reasoning in {name} than in the field before it: {count}. It is not used.",
            "Join the two into one field.",
            name=name,
        )
    return finding(
        "unused_field",
        "file",
        "warning",
        rows,
        "Rows with a field {name} beside messages that hold a system message already: {count}. The field is not used.",
        "Join the two into one system message.",
        name=name,
    )


def _about_unread(name: str, rows: Sequence[int]) -> Finding:
    return finding(
        "unused_field",
        "file",
        "warning",
        rows,
        "Rows with a field {name} that none of their messages holds: {count}. It is not used.",
        "Map the columns by hand if it belongs to what is asked or answered.",
        name=name,
    )


def _about_inline_reasoning(rows: Sequence[int]) -> list[Finding]:
    if not rows:
        return []
    return [
        finding(
            "inline_reasoning",
            "file",
            "info",
            rows,
            "Rows with reasoning between <think> and </think> at the start of an answer: {count}. It stays there, and "
            "the chat template says what becomes of it.",
            "Look at them under Template, which names the rows whose reasoning a template leaves out.",
        )
    ]
