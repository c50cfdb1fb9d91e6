"""The axes of a chart: how far they reach, where their marks stand, and how these are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """The upright axis: its ends, its named values, and whether equal distances are equal ratios."""

    low: float
    high: float
    marks: Sequence[float]
    log: bool = False

    def share(self, value: float) -> float:
        """How high a value stands: 0 at the low end, 1 at the high one.

        >>> Axis(1, 100, (1, 10, 100), log=True).share(10)
        0.5
        """
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def labels(self) -> list[str]:
        """How the marks are written: with as many decimals as tell them all, or on a log axis each with its own."""
        if self.log:
            return [f"{mark:,.6g}" for mark in self.marks]
        places = decimals(self.marks)
        return [f"{mark:,.{places}f}" for mark in self.marks]


def roomy(low: float, high: float) -> Axis:
    """An axis for these values with room below them, so that it stands still while they fall, as a loss does.

    It begins at 0 once the values fill half of the way there.

    >>> roomy(2.9, 3.1).marks, roomy(0.2, 3.1).marks
    ([1.0, 1.5, 2.0, 2.5, 3.0, 3.5], [0.0, 1.0, 2.0, 3.0, 4.0])
    """
    if high <= 0:
        return Axis(-1.0, 1.0, (-1.0, 0.0, 1.0))
    return _even(0.45 * low if 0.45 * low > 0.25 * high else 0.0, high)


def fitted(low: float, high: float) -> Axis:
    """An axis that these values fill; what changes by less than a twentieth does not look as if it changed much.

    >>> fitted(2.9, 3.1).marks, fitted(0.0, 0.07).marks
    ([2.9, 2.95, 3.0, 3.05, 3.1], [0.0, 0.02, 0.04, 0.06, 0.08])
    """
    missing = 0.05 * max(abs(low), abs(high)) - (high - low)
    if missing > 0:
        low, high = low - missing / 2, high + missing / 2
    return _even(low, high) if high > low else Axis(-1.0, 1.0, (-1.0, 0.0, 1.0))


def logarithmic(low: float, high: float) -> Axis:
    """An axis of ratios for these values, which are above 0.

    >>> logarithmic(0.03, 2.0).marks, logarithmic(1.1, 1.9).marks
    ((0.05, 0.1, 0.2, 0.5, 1.0, 2.0), (1.2, 1.4, 1.6, 1.8))
    """
    low, high = low / 1.05, high * 1.05
    powers = [10.0**n for n in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    many = [float(f"{power * factor:g}") for power in powers for factor in (1, 2, 5)]
    marks = [mark for mark in many if low <= mark <= high]
    if len(marks) > 8:
        within = [power for power in powers if low <= power <= high]
        marks = within[:: -(-len(within) // 8)]
    elif len(marks) < 3:
        marks = [mark for mark in _even(low, high).marks if low <= mark <= high]
    return Axis(low, high, tuple(marks), log=True)


def _even(floor: float, top: float) -> Axis:
    unit = nice((top - floor) / 5)
    low = math.floor(floor / unit + 1e-9)
    high = max(low + 1, math.ceil(top / unit - 1e-9))
    marks = [float(f"{mark * unit:.12g}") for mark in range(low, high + 1)]
    return Axis(marks[0], marks[-1], marks)


def decimals(marks: Sequence[float]) -> int:
    """How many decimals tell all marks exactly.

    >>> decimals([0.0, 0.5, 1.0]), decimals([0.0, 0.00025]), decimals([0.0, 20.0])
    (1, 5, 0)
    """
    return max(len(f"{mark:.9f}".rstrip("0").partition(".")[2]) for mark in marks)


def step_marks(last: int) -> list[int]:
    """Whole steps to be named below the chart: about six, 0 and the end among them.

    >>> step_marks(38)
    [0, 10, 20, 30, 38]
    >>> step_marks(2)
    [0, 1, 2]
    """
    unit = max(1, int(nice(last / 6)))
    marks = [mark for mark in range(0, last, unit) if last - mark > 0.6 * unit or mark == 0]
    return [*marks, last]


def nice(length: float) -> float:
    """The next length of 1, 2 or 5 times a power of ten.

    >>> nice(0.3), nice(7), nice(12)
    (0.5, 10.0, 20.0)
    """
    power = 10.0 ** math.floor(math.log10(length))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= length * (1 - 1e-9))
