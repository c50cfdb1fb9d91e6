"""No time is told before there is a basis for it, and work that an earlier try has done does not count."""

from __future__ import annotations

from studio.services.pace import Pace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_time_is_told_once_some_seconds_and_some_of_the_work_are_behind_one() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    assert pace.a_second(0) is None
    clock.now += 1
    assert pace.seconds_left(50, 100) is None  # a second only
    clock.now += 9
    assert pace.seconds_left(4, 100) is None  # a twenty-fifth only
    assert pace.seconds_left(50, 100) == 10.0
    assert pace.a_second(50) == 5.0
    assert pace.seconds_left(100, 100) == 0.0


def test_what_was_done_before_does_not_count() -> None:
    clock = Clock()
    pace = Pace(80, clock)
    clock.now += 10
    assert pace.seconds_left(80, 100) is None
    assert pace.seconds_left(90, 100) == 10.0
