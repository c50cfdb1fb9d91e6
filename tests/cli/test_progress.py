"""Progress on standard error: a calm bar on a terminal, a few lines in a log."""

from __future__ import annotations

import io
import time

import pytest

from studio.cli.progress import LINE_EVERY, REDRAWN, Bar, Lines, shown_progress


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_log_gets_one_line_where_a_phase_begins_and_one_where_it_ends() -> None:
    log, clock = io.StringIO(), Clock()
    lines = Lines(log, clock)
    for done in range(1001):
        clock.seconds = done * 0.02
        lines("download", done, 1000)
    lines("convert", 0, 10)
    clock.seconds += 5
    lines("convert", 10, 10)
    lines.end(True)
    assert log.getvalue().splitlines() == [
        "download …",
        "download: done in 0:20",
        "convert …",
        "convert: done in 0:05",
    ]


def test_a_long_phase_says_every_half_minute_how_far_it_is() -> None:
    log, clock = io.StringIO(), Clock()
    lines = Lines(log, clock)
    lines("training", 0, 100)
    for step in range(1, 71):
        clock.seconds = float(step)
        lines.step(step, f"loss {1 / step:.2f}")
    assert log.getvalue().splitlines() == [
        "training …",
        "training at 30 %, 1:10 left, loss 0.03",
        "training at 60 %, 0:40 left, loss 0.02",
    ]


def test_a_resumed_run_is_timed_from_where_it_went_on() -> None:
    log, clock = io.StringIO(), Clock()
    lines = Lines(log, clock)
    lines("training", 80, 100)
    clock.seconds = LINE_EVERY
    lines.step(90, "")
    assert log.getvalue().splitlines()[1:] == ["training at 90 %, 0:30 left"]


def test_what_breaks_off_is_not_called_done() -> None:
    log = io.StringIO()
    lines = Lines(log, Clock())
    lines("training", 31, 100)
    lines.end(True)
    lines("loading", 0, 0)
    lines.end(False)
    lines("saving", 0, 0)
    lines.end(True)
    assert log.getvalue().splitlines() == [
        "training …",
        "training: ended at 31 % after 0:00",
        "loading …",
        "loading: ended after 0:00",
        "saving …",
        "saving: done in 0:00",
    ]


def test_a_bar_is_drawn_no_more_often_than_it_can_be_read() -> None:
    terminal = io.StringIO()
    bar = Bar(terminal)
    begun = time.monotonic()
    for done in range(20_000):
        bar("convert", done, 20_000)
    bar.end(True)
    drawn = terminal.getvalue().count("\r")
    assert drawn <= (time.monotonic() - begun) / REDRAWN + 3
    assert "19999/20000" in terminal.getvalue()


def test_where_standard_error_is_no_terminal_nothing_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress() as progress:
        for done in range(100):
            progress("unpack", done, 100)
        progress.note("a line")
    assert capsys.readouterr().err == "unpack …\na line\nunpack: ended at 99 % after 0:00\n"
