"""How fast work goes, and how long its rest takes: told only once there is a basis for it."""

from __future__ import annotations

import time
from collections.abc import Callable

_BASIS_SECONDS = 5.0
_BASIS_SHARE = 0.1
"""So long and so much of the work must be behind one: what comes first is no measure of the rest."""


class Pace:
    """Of one stretch of work. What was done before it began, as by an earlier try, takes no time and does not count."""

    def __init__(self, done: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._first = done
        self._clock = clock
        self._begun = clock()

    def a_second(self, done: float) -> float | None:
        """How much is done in a second; None as long as nothing is."""
        passed = self._clock() - self._begun
        return (done - self._first) / passed if done > self._first and passed > 0 else None

    def seconds_left(self, done: float, total: float) -> float | None:
        """None as long as there is no basis."""
        pace = self.a_second(done)
        young = self._clock() - self._begun < _BASIS_SECONDS
        if pace is None or young or done - self._first < _BASIS_SHARE * (total - self._first):
            return None
        return max(0.0, total - done) / pace
