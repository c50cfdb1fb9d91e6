"""What the events of a run come to so far, kept up to date by reading only what is new of them."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from studio.domain.events import (
    Checkpoint,
    Event,
    Failed,
    Finished,
    Metric,
    Phase,
    Sample,
    Started,
    Warned,
)
from studio.services.series import Point, Series

SERIES: dict[str, str] = {
    "losses": "loss",
    "held_out": "eval_loss",
    "general": "general_loss",
    "divergence": "divergence",
    "penalties": "penalty",
    "rates": "learning_rate",
    "norms": "grad_norm",
    "speeds": "tokens_per_second",
    "memory": "memory_bytes",
}
"""The series of `Progress`, and which value of a metric each is made of."""
_EVALUATED = frozenset({"held_out", "general", "divergence"})
"""Those that are measured before the first step too."""
_KEPT = 256
"""Runs whose events are remembered; the others are read again when they are looked at."""
_PACE = 20
"""Steps from whose times the pace is told."""
_AT_WORK = frozenset({"training", "evaluating", "saving"})
"""Phases that come after a worker has begun: loading follows on them only in its next life."""


@dataclass(frozen=True)
class Progress:
    """A run as its events tell it. After a resume, what was done beyond the checkpoint does not count any more."""

    started: Started | None = None
    phase: Phase | None = None
    latest: Metric | None = None
    """The last step's."""
    losses: Series = field(default_factory=Series)
    held_out: Series = field(default_factory=Series)
    general: Series = field(default_factory=Series)
    """Loss on general rows."""
    divergence: Series = field(default_factory=Series)
    """From the model as it was at the start, on its own answers."""
    penalties: Series = field(default_factory=Series)
    """What holding on to general skills adds to the loss."""
    rates: Series = field(default_factory=Series)
    norms: Series = field(default_factory=Series)
    speeds: Series = field(default_factory=Series)
    """Tokens a second."""
    memory: Series = field(default_factory=Series)
    """Bytes."""
    samples: tuple[Sample, ...] = ()
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
    pace: tuple[tuple[str, int], ...] = ()
    """Time and step of the last metrics of this life."""

    @property
    def steps(self) -> int:
        """Optimizer steps planned; 0 before the run knows."""
        return self.started.steps if self.started else 0

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self.latest.step if self.latest else self.started.step if self.started else 0

    @property
    def baseline(self) -> float | None:
        """Held-out loss before the first step."""
        return self.held_out.at(0)

    @property
    def measured(self) -> float | None:
        """The held-out loss of the result, or the last one after the first step while there is none."""
        if self.finished and "eval_loss" in self.finished.metrics:
            return self.finished.metrics["eval_loss"]
        return self.held_out[-1][1] if self.held_out and self.held_out[-1][0] > 0 else None

    @property
    def forgotten(self) -> float | None:
        """How much the loss on general rows rose from the start to the result, or to the last evaluation so far."""
        before = self.general.at(0)
        if before is None or len(self.general) < 2:
            return None
        result = self.finished.metrics.get("result_step") if self.finished else None
        now = self.general.at(result) if result is not None else None
        return (self.general[-1][1] if now is None else now) - before

    @property
    def metrics(self) -> dict[str, float]:
        """The figures of a run by name: the latest ones, and those it ended with."""
        found: dict[str, float] = {}
        if self.latest:
            found["steps"] = float(self.latest.step)
            for name in ("loss", "tokens_per_second", "tokens", "trained_tokens", "memory_bytes"):
                value = getattr(self.latest, name)
                if value is not None:
                    found[name] = float(value)
        if self.held_out:
            found["eval_loss"] = self.held_out[-1][1]
        if self.baseline is not None:
            found["eval_loss_before"] = self.baseline
        if self.forgotten is not None:
            found["forgetting"] = self.forgotten
        return found | (dict(self.finished.metrics) if self.finished else {})

    @property
    def seconds_left(self) -> float | None:
        """From the pace of the last steps, evaluations and checkpoints included."""
        if len(self.pace) < 2 or not self.steps:
            return None
        (first_at, first), (last_at, last) = self.pace[0], self.pace[-1]
        took = (_time(last_at) - _time(first_at)).total_seconds()
        return took / max(1, last - first) * (self.steps - self.step)

    def elapsed(self, alive: bool) -> float:
        """Seconds of work so far, over all lives of the worker."""
        if not self.since:
            return self.seconds
        end = datetime.now(timezone.utc) if alive else _time(self.last)
        return self.seconds + max(0.0, (end - _time(self.since)).total_seconds())


def after(progress: Progress, events: Iterable[Event]) -> Progress:
    """The progress once these events have come in."""
    reading = _Reading(progress)
    for event in events:
        reading.take(event)
    return reading.done()


class _Reading:
    """A progress under way: points are gathered and put into their series together, once for many events."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.points: dict[str, list[Point]] = {name: [] for name in SERIES}
        self.latest = progress.latest
        self.last = progress.last
        self.pace = list(progress.pace)

    def take(self, event: Event) -> None:
        if isinstance(event, Metric):
            self._measured(event)
        elif isinstance(event, Started):
            self.progress = replace(_back_to(self.done(), event.step), started=event, pace=())
            self.latest, self.pace = self.progress.latest, []
        else:
            self.progress = _after(replace(self.progress, last=self.last), event)
        self.last = event.at

    def done(self) -> Progress:
        grown = {
            name: getattr(self.progress, name).followed_by(points)
            for name, points in self.points.items()
            if points
        }
        self.points = {name: [] for name in SERIES}
        self.progress = replace(
            self.progress, **grown, latest=self.latest, last=self.last, pace=tuple(self.pace)
        )
        return self.progress

    def _measured(self, event: Metric) -> None:
        for name, value_of in SERIES.items():
            value = getattr(event, value_of)
            if value is not None and math.isfinite(value):
                self.points[name].append((event.step, value))
        if event.loss is not None:
            self.latest = event
        if event.step:
            self.pace = [*self.pace[1 - _PACE :], (event.at, event.step)]


def _after(progress: Progress, event: Event) -> Progress:
    if isinstance(event, Phase):
        return replace(_timed(progress, event), phase=event)
    if isinstance(event, Sample):
        return replace(progress, samples=(*progress.samples, event))
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


def _back_to(progress: Progress, step: int) -> Progress:
    """Without the steps after `step`: they are done again. From the start, what came before it is measured anew."""
    kept = {
        name: getattr(progress, name).up_to(-1 if step == 0 and name in _EVALUATED else step)
        for name in SERIES
    }
    return replace(
        progress,
        **kept,
        samples=tuple(sample for sample in progress.samples if sample.step <= step and step > 0),
        latest=progress.latest if progress.latest and progress.latest.step <= step else None,
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


Read = Callable[[str, int], tuple[list[Event], int]]
"""The next events of a run from a byte on, and the byte to go on from: the same one where there are none."""


class Watch:
    """The progress of runs for all who look at them: each byte of an event log is read once."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._known: OrderedDict[str, tuple[Progress, int]] = OrderedDict()
        self._lock = threading.Lock()

    def progress(self, run_id: str) -> Progress:
        with self._lock:
            progress, offset = self._known.pop(run_id, (Progress(), 0))
            reading = _Reading(progress)
            while True:
                events, end = self._read(run_id, offset)
                for event in events:
                    reading.take(event)
                if end == offset:
                    break
                offset = end
            progress = reading.done()
            self._known[run_id] = (progress, offset)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return progress

    def forget(self, run_id: str) -> None:
        with self._lock:
            self._known.pop(run_id, None)
