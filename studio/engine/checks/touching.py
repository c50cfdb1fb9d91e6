"""Repairs of rows that were checked already: only the rows that they touch are read, so that a million can be repaired.

The result is that of `cleaning.clean`, but that a row which only comes to light as a copy once copies of another kind
are gone is left for the next check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from studio.domain.chat import Conversation
from studio.domain.finding import Finding
from studio.engine.checks.cleaning import Change, Cleaned, change_of, choose, clean
from studio.engine.checks.registry import Check
from studio.engine.checks.sketches import Sketches, sketched
from studio.engine.rows import RowsByNumber

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray


def clean_touched(
    rows: RowsByNumber, findings: Iterable[Finding], sketches: Sketches, check_ids: Iterable[str]
) -> Cleaned:
    """The rows that the chosen repairs touch as they are then, those that are left out missing; and every change.

    `findings` are those of the rows as they are, `sketches` theirs too. StudioError as for `clean`.
    """
    checks = choose(check_ids)
    found = {finding.check: finding.rows for finding in findings}
    state = _State(rows, sketches)
    alone = [check.id for check in checks if check.look]
    state.mend({row for name in alone for row in found.get(name, ())}, alone)
    for check in checks:
        if check.judge:
            changed = state.compare(check, found.get(check.id, ()))
            state.mend(changed, alone)
    return Cleaned([row for row in state.now.values() if row], state.changes)


@dataclass
class _State:
    """The rows while they are repaired."""

    rows: RowsByNumber
    sketches: Sketches
    now: dict[int, Conversation | None] = field(default_factory=dict)
    """Those that were touched, by number; None where one is dropped."""
    changes: list[Change] = field(default_factory=list)

    def mend(self, numbers: Iterable[int], checks: Sequence[str]) -> None:
        """Repair rows that need no other row for it."""
        wanted = [row for row in self._read(sorted(numbers)) if row]
        if not (wanted and checks):
            return
        cleaned = clean(wanted, checks)
        self.changes += cleaned.changes
        left = {row.row: row for row in cleaned.conversations}
        for change in cleaned.changes:
            self.now[change.row] = left.get(change.row)

    def compare(self, check: Check, known: Sequence[int]) -> list[int]:
        """Apply a repair that compares rows; the numbers of those that read differently then.

        `known` are the rows that it found before any was touched.
        """
        assert check.judge
        assert check.repair
        places = self._left()
        rows = _Amended(self.rows, places, self.now)
        if self.now:
            evidence = check.judge(rows, self._table(rows, places))
        else:
            evidence = {place: "" for number in known if (place := rows.position(number)) is not None}
        repaired = check.repair(rows, evidence)
        for place, new in sorted(repaired.items()):
            old = rows[place]
            if new != old:
                self.changes.append(change_of(old.row, check.id, old, new))
                self.now[old.row] = new
        return [rows[place].row for place, new in repaired.items() if new]

    def _read(self, numbers: Iterable[int]) -> Iterator[Conversation | None]:
        for number in numbers:
            if number in self.now:
                yield self.now[number]
            elif (place := self.rows.position(number)) is not None:
                yield self.rows[place]

    def _left(self) -> NDArray[numpy.int64]:
        """The positions of the rows that are not dropped."""
        import numpy

        dropped = numpy.array([number for number, row in self.now.items() if row is None], dtype=numpy.int64)
        return numpy.flatnonzero(~numpy.isin(self.rows.numbers, dropped))

    def _table(self, rows: _Amended, places: NDArray[numpy.int64]) -> Sketches:
        table = self.sketches[places]
        changed = sorted(number for number, row in self.now.items() if row)
        spots = [spot for number in changed if (spot := rows.position(number)) is not None]
        table[spots] = sketched([rows[spot] for spot in spots])
        return table


class _Amended(RowsByNumber):
    """Rows as they are now, without those that are dropped."""

    def __init__(
        self, rows: RowsByNumber, places: NDArray[numpy.int64], now: Mapping[int, Conversation | None]
    ) -> None:
        self._rows, self._places, self._now = rows, places, now
        self.numbers = rows.numbers[places]

    def _at(self, position: int) -> Conversation:
        return self._now.get(int(self.numbers[position])) or self._rows[int(self._places[position])]
