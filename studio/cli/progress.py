"""How far a verb is: a bar where standard error is a terminal, a line now and then where it is a file or a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from studio.cli.printing import clock

if TYPE_CHECKING:
    from tqdm import tqdm

REDRAWN = 0.1
"""Seconds from one drawing of a bar to the next, at least."""
LINE_EVERY = 30.0
"""Seconds from one line about a phase to the next, at least."""


class Progress(Protocol):
    """What a verb says of its work: it is also the engine's and the services' progress callback."""

    def __call__(self, phase: str, done: float, total: float) -> None:
        """`done` of `total` of a phase is done; a total of 0 is unknown."""

    def step(self, step: int, note: str) -> None:
        """So much of the present phase is done, and what there is to say about it."""

    def note(self, line: str) -> None:
        """A line that stays."""

    def end(self, whole: bool) -> None:
        """The present phase is over: done, or broken off."""


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Progress as standard error can show it; whatever was begun is ended at the end."""
    progress: Progress = Bar(sys.stderr) if sys.stderr.isatty() else Lines(sys.stderr)
    whole = False
    try:
        yield progress
        whole = True
    finally:
        progress.end(whole)


class Bar:
    """A bar for each phase, drawn anew at most every `REDRAWN` seconds."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.phase = ""
        self.bar: tqdm[None] | None = None

    def __call__(self, phase: str, done: float, total: float) -> None:
        if self.bar is None or phase != self.phase:
            self.end(True)
            self.phase, self.bar = phase, self._begun(phase, int(done), total)
        self.bar.total = total or None
        self._move(int(done))

    def step(self, step: int, note: str) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)
            self._move(step)

    def note(self, line: str) -> None:
        from tqdm import tqdm

        tqdm.write(line, file=self.out)

    def end(self, whole: bool) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _begun(self, phase: str, done: int, total: float) -> tqdm[None]:
        from tqdm import tqdm

        in_bytes = phase == "download" or (phase != "check" and total > 1_000_000)
        return tqdm(
            total=total or None,
            initial=done,
            desc=phase,
            unit="B" if in_bytes else " rows" if phase == "check" else "",
            unit_scale=in_bytes,
            mininterval=REDRAWN,
            miniters=1,
            file=self.out,
        )

    def _move(self, done: int) -> None:
        if self.bar is not None:
            self.bar.update(done - self.bar.n)


class Lines:
    """One line where a phase begins and one where it ends; between them one every `LINE_EVERY` seconds."""

    def __init__(self, out: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self.out = out
        self.now = now
        self.phase = ""
        self.first = self.done = self.total = 0.0
        self.begun = self.said = 0.0

    def __call__(self, phase: str, done: float, total: float) -> None:
        if phase != self.phase:
            self.end(True)
            self.phase, self.first = phase, done
            self.begun = self.said = self.now()
            self.note(f"{phase} …")
        self.total = total
        self._move(done)

    def step(self, step: int, note: str) -> None:
        if self.phase:
            self._move(step, note)

    def note(self, line: str) -> None:
        print(line, file=self.out, flush=True)

    def end(self, whole: bool) -> None:
        if self.phase:
            whole = whole and self.done >= self.total
            how = "done in" if whole else f"ended{self._share()} after"
            self.note(f"{self.phase}: {how} {clock(self.now() - self.begun)}")
            self.phase = ""

    def _move(self, done: float, note: str = "") -> None:
        self.done = done
        if self.now() - self.said >= LINE_EVERY:
            self.said = self.now()
            parts = [f"{self.phase}{self._share()}", self._left(), note]
            self.note(", ".join(part for part in parts if part))

    def _share(self) -> str:
        return f" at {100 * self.done / self.total:.0f} %" if self.total else ""

    def _left(self) -> str:
        """The time left at the pace of this phase so far."""
        moved = self.done - self.first
        if not self.total or moved <= 0:
            return ""
        return f"{clock((self.now() - self.begun) / moved * (self.total - self.done))} left"
