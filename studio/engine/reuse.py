"""What an earlier survey saw of rows, found again by what the rows say: only rows that are new need to be looked at.

It is exact for the same checks: what a check sees of one row depends on nothing but its texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from xxhash import xxh3_64_intdigest

from studio.domain.chat import Conversation
from studio.engine.checks import scoring
from studio.engine.checks.registry import CHECKS, row_number, shorten
from studio.engine.checks.scoring import Looked
from studio.engine.checks.sketches import FIELDS, Sketches

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Whole = NDArray[numpy.int64]
    Keys = NDArray[numpy.uint64]

SKETCHES, _SEEN = "sketches.npy", "seen.npy"
_NOT_THERE = -1


def keys_of(lines: Sequence[bytes]) -> Keys:
    """Of each row, as `rows.encoded` writes it, 64 bits that are equal for rows that say the same; shape (rows,)."""
    import numpy

    said = (line[line.index(b",") :] for line in lines)  # without the row's number
    return numpy.fromiter(map(xxh3_64_intdigest, said), dtype=numpy.uint64, count=len(lines))


def keep(folder: Path, keys: Keys, looked: Looked) -> None:
    """Write the sketches of a survey's rows, and by what the rows can be found again.

    That has the shape (3, rows): keys in ascending order, the rows' positions, and a bit for each check of one row that
    flagged it.
    """
    import numpy

    numbers, flags = numpy.array(looked.numbers), numpy.zeros(len(keys), dtype=numpy.uint64)
    for bit, name in enumerate(_row_checks()):
        if name in looked.flagged:
            flags[numpy.searchsorted(numbers, looked.flagged[name][0])] |= numpy.uint64(1 << bit)
    order = numpy.argsort(keys)
    numpy.save(folder / SKETCHES, looked.table)
    numpy.save(folder / _SEEN, numpy.stack((keys[order], order.astype(numpy.uint64), flags[order])))


def look(conversations: Sequence[Conversation], keys: Keys, earlier: Seen | None) -> Looked:
    """As `scoring.look`, but rows that an earlier survey knows are not looked at again."""
    import numpy

    places = earlier.places(keys) if earlier else numpy.full(len(keys), _NOT_THERE)
    new = numpy.flatnonzero(places == _NOT_THERE)
    fresh = scoring.look([conversations[position] for position in new.tolist()])
    if earlier is None or len(new) == len(keys):
        return fresh
    known = numpy.flatnonzero(places != _NOT_THERE)
    table = numpy.empty(len(keys), dtype=FIELDS)
    table[new], table[known] = fresh.table, earlier.sketches_at(places[known])
    numbers = tuple(row_number(conversations, position) for position in range(len(conversations)))
    flags = earlier.flags[places[known]]
    flagged: dict[str, tuple[tuple[int, ...], str]] = {}
    for bit, name in enumerate(_row_checks()):
        again = known[(flags >> numpy.uint64(bit)) & numpy.uint64(1) == 1].tolist()
        rows, example = fresh.flagged.get(name, ((), ""))
        both = sorted([*rows, *(numbers[position] for position in again)])
        if both:
            if not rows or both[0] != rows[0]:
                example = _shown(name, conversations[again[0]])
            flagged[name] = tuple(both), example
    return Looked(numbers, flagged, table)


class Seen:
    """What the survey in a folder saw."""

    def __init__(self, folder: Path) -> None:
        import numpy

        self._keys, self._positions, self.flags = numpy.load(
            folder / _SEEN, mmap_mode="r", allow_pickle=False
        )
        self._sketches: Sketches = numpy.load(folder / SKETCHES, mmap_mode="r", allow_pickle=False)

    def places(self, keys: Keys) -> Whole:
        """Where among the flags each row stands, or -1."""
        import numpy

        places = numpy.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        return numpy.where(self._keys[places] == keys, places, _NOT_THERE)

    def sketches_at(self, places: Whole) -> Sketches:
        return self._sketches[self._positions[places].astype("int64")]


@lru_cache(maxsize=1)
def seen_in(folder: Path | None) -> Seen | None:
    """What is kept in a folder; None where there is nothing, or no longer."""
    try:
        return Seen(folder) if folder else None
    except OSError:
        return None


def _row_checks() -> list[str]:
    return [check.id for check in CHECKS.values() if check.look is not None]


def _shown(name: str, conversation: Conversation) -> str:
    see = CHECKS[name].look
    assert see is not None
    return shorten(see(conversation))
