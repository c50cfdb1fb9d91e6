"""Runs side by side: the figures that they are judged by, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from studio.domain.config import RunConfig
from studio.domain.run import Run
from studio.services.jobs import Jobs
from studio.services.progress import Progress


@dataclass(frozen=True)
class Candidate:
    """A run with what it did and how it was set; `config` is resolved once its worker has begun."""

    run: Run
    progress: Progress
    config: RunConfig

    def figure(self, name: str) -> float | None:
        return FIGURES[name](self)

    def to_json(self) -> dict[str, Any]:
        figures = {name: self.figure(name) for name in FIGURES}
        return {"id": self.run.id, "name": self.run.name, "state": self.run.state, **figures}


FIGURES: dict[str, Callable[[Candidate], float | None]] = {
    "held_out_loss": lambda one: one.progress.measured,
    "held_out_loss_before": lambda one: one.progress.baseline,
    "train_loss": lambda one: one.progress.latest.loss if one.progress.latest else None,
    "forgetting": lambda one: one.progress.forgotten,
    "divergence": lambda one: one.progress.divergence[-1][1] if len(one.progress.divergence) > 1 else None,
    "seconds": lambda one: round(one.progress.elapsed(False), 1),
    "steps": lambda one: float(one.progress.step),
    "learning_rate": lambda one: one.config.train.learning_rate,
    "rank": lambda one: None if one.config.train.method == "full" else float(one.config.train.rank),
    "epochs": lambda one: one.config.train.epochs,
}
"""By what runs can be put in order, the lowest first. Losses in nats a token; the held-out loss is the result's."""
USUAL = "held_out_loss"


def candidates(jobs: Jobs, runs: Sequence[str]) -> list[Candidate]:
    """StudioError where there is no such run, or its settings cannot be read."""
    return [Candidate(jobs.get(run), jobs.progress(run), jobs.config(run)) for run in runs]


def ordered(found: Sequence[Candidate], by: str) -> list[Candidate]:
    """The lowest first; what has no such figure comes last."""

    def place(one: Candidate) -> tuple[bool, float]:
        figure = one.figure(by)
        return (figure is None, figure or 0.0)

    return sorted(found, key=place)


def differences(found: Sequence[Candidate]) -> dict[str, list[Any]]:
    """By dotted key, the values of the settings that are not the same in all runs, one a run."""
    flat = [_flat(one.config) for one in found]
    keys = dict.fromkeys(key for values in flat for key in values)
    values = {key: [one.get(key) for one in flat] for key in keys}
    return {key: each for key, each in values.items() if any(value != each[0] for value in each)}


def _flat(config: RunConfig) -> dict[str, Any]:
    sections = config.model_dump(mode="json")
    sections.pop("name")
    return {
        f"{section}.{key}": value for section, values in sections.items() for key, value in values.items()
    }
