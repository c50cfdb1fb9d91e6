"""Changes to rows before they are made: what repairs would do, and what becomes of later steps when one is undone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from studio.domain.chat import Conversation
from studio.domain.errors import StudioError
from studio.domain.finding import Finding
from studio.domain.history import RowChange, Step
from studio.domain.text import Text
from studio.engine.checks import CHECKS, Cleaned, clean
from studio.engine.checks.touching import clean_touched
from studio.engine.rows import Rows, numbered
from studio.engine.selection import Selection
from studio.engine.survey import sketches_of

SAFE = (
    "mojibake",
    "control_characters",
    "whitespace",
    "empty_response",
    "empty_prompt",
    "duplicate_exact",
)
"""Repairs that need no judgement: they mend how a text is written, or drop a row that teaches nothing."""

StepChanges = tuple[Step, Sequence[RowChange]]


def repairs(
    conversations: Sequence[Conversation], checks: Iterable[str], findings: Iterable[Finding] = ()
) -> list[RowChange]:
    """What the repairs of some checks would make of which rows, in the order of the file. All rows have a number.

    `findings` are what the checks found in them, by which those of a survey are told that need to be read. StudioError
    for a check that does not exist or has no repair.
    """
    return made_by(conversations, cleaned(conversations, checks, findings))


def cleaned(
    conversations: Sequence[Conversation], checks: Iterable[str], findings: Iterable[Finding] = ()
) -> Cleaned:
    """As `clean`; of rows that were surveyed, with these findings, only those that the repairs touch."""
    if isinstance(conversations, Rows):
        return clean_touched(conversations, findings, sketches_of(conversations), checks)
    return clean(conversations, checks)


def made_by(conversations: Sequence[Conversation], cleaned: Cleaned) -> list[RowChange]:
    """The changes that repairs made, one a row however many there were on the way."""
    after = {conversation.row: conversation for conversation in cleaned.conversations}
    by_row: dict[int, dict[str, None]] = {}
    for change in cleaned.changes:
        by_row.setdefault(change.row, {})[change.check] = None
    return [
        RowChange(row.row, row, after.get(row.row), _titles(by_row[row.row]), tuple(by_row[row.row]))
        for row in numbered(conversations, by_row.keys())
        if after.get(row.row) != row
    ]


def selected(conversations: Sequence[Conversation], found: Selection) -> list[RowChange]:
    """What a selection would drop, with why."""
    return [RowChange(item.row, conversations[item.position], None, (item.reason,)) for item in found.left]


def amended(conversations: Iterable[Conversation], changes: Iterable[RowChange]) -> Iterator[Conversation]:
    """The rows with the changes made, one after the other."""
    by_row = {change.row: change.after for change in changes}
    new = (by_row.get(row.row, row) for row in conversations)
    return (row for row in new if row is not None)


def without(
    undone: StepChanges, later: Sequence[StepChanges]
) -> tuple[list[list[RowChange]], dict[int, Conversation | None]]:
    """Later steps as they are without an earlier one, and what the rows that it touched are in the end.

    Repairs that look at one row alone are applied anew to these rows. What a person wrote, and what was decided by
    comparing rows, cannot be: StudioError where such a step touched one of them.
    """
    step, changes = undone
    rows: dict[int, Conversation | None] = {change.row: change.before for change in changes}
    anew = []
    for other, made in later:
        if other.kind == "select" and step.dropped:
            raise _depends(step, other, next(change.row for change in changes if change.dropped))
        untouched = [change for change in made if change.row not in rows]
        touched = {change.row: change for change in made if change.row in rows}
        redone = _redone(step, other, touched, {number: row for number, row in rows.items() if row})
        rows.update({change.row: change.after for change in redone})
        anew.append(sorted([*untouched, *redone], key=lambda change: change.row))
    return anew, rows


def _redone(
    undone: Step, step: Step, made: dict[int, RowChange], rows: dict[int, Conversation]
) -> list[RowChange]:
    """What a step makes of rows that read differently now; `made` is what it made of some of them before."""
    if step.kind == "drop":
        return [replace(made[number], before=row) for number, row in rows.items() if number in made]
    alone = [name for name in step.asked.get("checks", ()) if name in CHECKS and CHECKS[name].look]
    for change in made.values():
        if step.kind != "repair" or not set(change.checks) <= set(alone):
            raise _depends(undone, step, change.row)
    spared = set(step.asked.get("spared", ()))
    return repairs([row for number, row in rows.items() if number not in spared], alone)


def _depends(undone: Step, later: Step, row: int) -> StudioError:
    return StudioError(
        "Step {later} depends on what step {step} did to row {row}.",
        "Undo step {later} first.",
        step=undone.number,
        later=later.number,
        row=row,
    )


def _titles(checks: Iterable[str]) -> tuple[Text, ...]:
    return tuple(Text(CHECKS[check].title) for check in checks)
