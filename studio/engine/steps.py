"""Which rows make up which optimizer step: known before a run, and by the seed alone."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

Row = TypeVar("Row")


@dataclass(frozen=True)
class Steps:
    """The `count` steps of a run: `epochs` over `rows` rows in effective batches of `batch_size`."""

    rows: int
    batch_size: int
    count: int
    seed: int

    @property
    def steps_an_epoch(self) -> int:
        return math.ceil(self.rows / self.batch_size)

    def batch(self, step: int) -> list[int]:
        """Indices of the rows behind the 0-based optimizer step; the last batch of an epoch may be smaller."""
        epoch, place = divmod(step, self.steps_an_epoch)
        order = _order(self.rows, self.seed, epoch)
        return list(order[place * self.batch_size : (place + 1) * self.batch_size])

    def epoch_at(self, steps_done: int) -> float:
        """Epochs completed after so many steps."""
        whole, part = divmod(steps_done, self.steps_an_epoch)
        return whole + min(1.0, part * self.batch_size / self.rows)


@lru_cache(maxsize=4)
def _order(rows: int, seed: int, epoch: int) -> tuple[int, ...]:
    order = list(range(rows))
    random.Random(seed * 1_000_003 + epoch).shuffle(order)
    return tuple(order)


def plan_steps(rows: int, batch_size: int, epochs: float, max_steps: int | None, seed: int) -> Steps:
    """How many optimizer steps `epochs` make, no more than `max_steps`; at least one."""
    steps = max(1, math.ceil(round(epochs * math.ceil(rows / batch_size), 6)))
    return Steps(rows, batch_size, min(steps, max_steps) if max_steps else steps, seed)


def micro_batches(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    """The rows of one step in the portions that pass through the model at once."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
