"""A measured value by step: every point in little memory, and as few of them as a drawing needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

Point = tuple[float, float]
"""A step and a value."""


class Series(Sequence[Point]):
    """Points in the order of their steps; never changes. Sixteen bytes a point, so that 100,000 steps are no burden."""

    __slots__ = ("steps", "values")

    def __init__(self, points: Iterable[Point] = ()) -> None:
        self.steps, self.values = np.array([*points], dtype=np.float64).reshape(-1, 2).T

    @classmethod
    def of(cls, steps: np.ndarray, values: np.ndarray) -> Series:
        made = cls.__new__(cls)
        made.steps, made.values = steps, values
        return made

    def followed_by(self, points: Sequence[Point]) -> Series:
        if not points:
            return self
        more = Series(points)
        return Series.of(np.concatenate((self.steps, more.steps)), np.concatenate((self.values, more.values)))

    def up_to(self, step: int) -> Series:
        """Without what came after `step`."""
        kept = self.steps <= step
        return Series.of(self.steps[kept], self.values[kept])

    def from_step(self, step: int) -> Series:
        """Without what came before `step`."""
        kept = self.steps >= step
        return Series.of(self.steps[kept], self.values[kept])

    def at(self, step: float) -> float | None:
        """The value at a step, where there is one."""
        place = int(np.searchsorted(self.steps, step))
        return float(self.values[place]) if place < len(self) and self.steps[place] == step else None

    def thinned(self, limit: int) -> Series:
        """About `limit` points at most: of each stretch the lowest and the highest, so that no spike is lost.

        >>> list(Series([(1, 5), (2, 1), (3, 9), (4, 2), (5, 3), (6, 4)]).thinned(4))
        [(2.0, 1.0), (3.0, 9.0), (4.0, 2.0), (6.0, 4.0)]
        """
        count = len(self)
        if count <= limit:
            return self
        stretch = -(-2 * count // limit)
        whole = count - count % stretch
        rows = self.values[:whole].reshape(-1, stretch)
        starts = np.arange(0, whole, stretch)
        kept = [starts + rows.argmin(1), starts + rows.argmax(1)]
        if whole < count:
            rest = self.values[whole:]
            kept.append(np.array([whole + rest.argmin(), whole + rest.argmax()]))
        places = np.unique(np.concatenate([*kept, [count - 1]]))
        return Series.of(self.steps[places], self.values[places])

    def smoothed(self, span: float, limit: int) -> Series:
        """The exponential moving average over about `span` points, unbiased at the start (as Adam's): `limit` points.

        Of more points than that, stretches are taken as their mean, each weighing as much as its points together.

        >>> list(Series([(1, 4.0), (2, 2.0)]).smoothed(3, 100))
        [(1.0, 4.0), (2.0, 2.6666666666666665)]
        """
        stretch = max(1, -(-len(self) // limit))
        starts = np.arange(0, len(self), stretch)
        if not len(starts):
            return self
        counts = np.diff([*starts, len(self)])
        means = np.add.reduceat(self.values, starts) / counts
        ends = self.steps[starts + counts - 1]
        keep = 1 - 2 / (max(span, 1) + 1)
        total = weight = 0.0
        found = []
        for step, mean, count in zip(ends, means, counts, strict=True):
            share = keep ** int(count)
            total, weight = share * total + (1 - share) * mean, share * weight + (1 - share)
            found.append((step, total / weight))
        return Series(found)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Point]:
        return zip(self.steps.tolist(), self.values.tolist(), strict=True)

    @overload
    def __getitem__(self, place: int) -> Point: ...
    @overload
    def __getitem__(self, place: slice) -> Series: ...
    def __getitem__(self, place: int | slice) -> Point | Series:
        if isinstance(place, slice):
            return Series.of(self.steps[place], self.values[place])
        return float(self.steps[place]), float(self.values[place])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Series({list(self)!r})"
