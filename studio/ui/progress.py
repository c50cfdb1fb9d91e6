"""What the events of a run come to so far, kept up to date by reading only what is new of them."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from studio.domain.events import Checkpoint, Event, Failed, Finished, Metric, Phase, Started, Warned

if TYPE_CHECKING:
    from studio.services.jobs import Jobs

Point = tuple[float, float]
"""A step and a value."""
_KEPT = 256
"""Runs whose events are remembered; the others are read again when they are looked at."""
_AT_WORK = frozenset({"training", "evaluating", "saving"})
"""Phases that come after a worker has begun: loading follows on them only in its next life."""


@dataclass(frozen=True)
class Progress:
    """A run as its events tell it. After a resume, what was done beyond the checkpoint does not count any more."""

    seq: int = 0
    """Of the last event; 0 before the first."""
    started: Started | None = None
    phase: Phase | None = None
    latest: Metric | None = None
    """The last step's."""
    losses: tuple[Point, ...] = ()
    held_out: tuple[Point, ...] = ()
    general: tuple[Point, ...] = ()
    """Loss on general rows."""
    divergence: tuple[Point, ...] = ()
    """From the model as it was at the start, on its own answers."""
    penalties: tuple[Point, ...] = ()
    """What holding on to general skills adds to the loss."""
    rates: tuple[Point, ...] = ()
    norms: tuple[Point, ...] = ()
    saved: int = 0
    """Step of the last checkpoint."""
    warnings: tuple[Warned, ...] = ()
    failed: Failed | None = None
    finished: Finished | None = None
    seconds: float = 0.0
    """Of the worker's earlier lives."""
    since: str = ""
    """When this life began."""
    last: str = ""
    """When the last event was."""

    @property
    def steps(self) -> int:
        """Optimizer steps planned; 0 before the run knows."""
        return self.started.steps if self.started else 0

    @property
    def baseline(self) -> float | None:
        """Held-out loss before the first step."""
        return self.held_out[0][1] if self.held_out and self.held_out[0][0] == 0 else None

    @property
    def measured(self) -> float | None:
        """The held-out loss of the result, or the last one after the first step while there is none."""
        if self.finished and "eval_loss" in self.finished.metrics:
            return self.finished.metrics["eval_loss"]
        return self.held_out[-1][1] if self.held_out and self.held_out[-1][0] > 0 else None

    @property
    def forgotten(self) -> float | None:
        """How much the loss on general rows rose since the first step."""
        if len(self.general) < 2 or self.general[0][0] != 0:
            return None
        return self.general[-1][1] - self.general[0][1]

    def elapsed(self, alive: bool) -> float:
        """Seconds of work so far, over all lives of the worker."""
        if not self.since:
            return self.seconds
        end = datetime.now(timezone.utc) if alive else _time(self.last)
        return self.seconds + max(0.0, (end - _time(self.since)).total_seconds())


def after(progress: Progress, events: Iterable[Event]) -> Progress:
    """The progress once these events have come in."""
    for event in events:
        progress = replace(_after(progress, event), seq=event.seq, last=event.at)
    return progress


def _after(progress: Progress, event: Event) -> Progress:
    if isinstance(event, Phase):
        return replace(_timed(progress, event), phase=event)
    if isinstance(event, Started):
        return replace(_back_to(progress, event.step), started=event)
    if isinstance(event, Metric):
        return _measured(progress, event)
    if isinstance(event, Checkpoint):
        return replace(progress, saved=event.step)
    if isinstance(event, Warned):
        said = any((w.template, w.values) == (event.template, event.values) for w in progress.warnings)
        return progress if said else replace(progress, warnings=(*progress.warnings, event))
    if isinstance(event, Failed):
        return _closed(replace(progress, failed=event), event.at)
    if isinstance(event, Finished):
        return _closed(replace(progress, finished=event), event.at)
    return progress


def _measured(progress: Progress, event: Metric) -> Progress:
    return replace(
        progress,
        losses=_with(progress.losses, event.step, event.loss),
        held_out=_with(progress.held_out, event.step, event.eval_loss),
        general=_with(progress.general, event.step, event.general_loss),
        divergence=_with(progress.divergence, event.step, event.divergence),
        penalties=_with(progress.penalties, event.step, event.penalty),
        rates=_with(progress.rates, event.step, event.learning_rate),
        norms=_with(progress.norms, event.step, event.grad_norm),
        latest=event if event.loss is not None else progress.latest,
    )


def _with(points: tuple[Point, ...], step: int, value: float | None) -> tuple[Point, ...]:
    return points if value is None or not math.isfinite(value) else (*points, (step, value))


def _back_to(progress: Progress, step: int) -> Progress:
    """Without the steps after `step`: they are done again."""
    kept = [
        tuple(p for p in points if p[0] <= step)
        for points in (progress.losses, progress.rates, progress.norms, progress.penalties)
    ]
    # What is evaluated is measured anew where a run begins again from the start.
    evaluated = [
        tuple(p for p in points if p[0] <= step and step > 0)
        for points in (progress.held_out, progress.general, progress.divergence)
    ]
    latest = progress.latest if progress.latest and progress.latest.step <= step else None
    return replace(
        progress,
        losses=kept[0],
        rates=kept[1],
        norms=kept[2],
        penalties=kept[3],
        held_out=evaluated[0],
        general=evaluated[1],
        divergence=evaluated[2],
        latest=latest,
        saved=min(progress.saved, step),
    )


def _timed(progress: Progress, event: Phase) -> Progress:
    """Waiting is no work. A worker's life begins as it loads; one that was killed before ended with its last event."""
    if event.name == "queued":
        return _closed(progress, progress.last)
    killed = event.name == "loading" and progress.phase is not None and progress.phase.name in _AT_WORK
    if killed:
        progress = _closed(progress, progress.last)
    return progress if progress.since else replace(progress, since=event.at, failed=None, finished=None)


def _closed(progress: Progress, at: str) -> Progress:
    if not progress.since or not at:
        return progress
    lived = max(0.0, (_time(at) - _time(progress.since)).total_seconds())
    return replace(progress, seconds=progress.seconds + lived, since="")


def _time(at: str) -> datetime:
    return datetime.fromisoformat(at.replace("Z", "+00:00"))


class Watch:
    """The progress of runs for all who look at the page: each byte of an event log is read once."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._known: OrderedDict[str, tuple[Progress, int]] = OrderedDict()
        self._lock = threading.Lock()

    def progress(self, run_id: str) -> Progress:
        with self._lock:
            progress, offset = self._known.pop(run_id, (Progress(), 0))
            events, offset = self._jobs.events(run_id, offset)
            progress = after(progress, events)
            self._known[run_id] = (progress, offset)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return progress
