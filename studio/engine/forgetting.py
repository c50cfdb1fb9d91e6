"""What a run does against forgetting what the model knew, and how it shows what is forgotten: docs/forgetting.md."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from studio.domain.config import TrainConfig
from studio.domain.encoded import Encoded
from studio.engine import ewc, gauge
from studio.engine.ewc import Consolidation
from studio.engine.gauge import Gauge, ShouldStop
from studio.engine.general import General
from studio.engine.steps import micro_batches
from studio.engine.trainee import Trainee


@dataclass(frozen=True)
class Forgotten:
    """Of an evaluation, as in `studio.domain.events.Metric`; None where nothing is gauged."""

    general_loss: float | None = None
    divergence: float | None = None
    forgetting: float | None = None


@dataclass(frozen=True)
class Remembering:
    """The general rows that a run holds on to and is measured on; `None` for what it does without."""

    gauge: Gauge | None = None
    consolidation: Consolidation | None = None

    def measure(self, model: Trainee, size: int, should_stop: ShouldStop) -> Forgotten:
        """Of the model in evaluation mode. Raises Stopped once `should_stop()` is true."""
        if self.gauge is None:
            return Forgotten()
        now = self.gauge.measure(model, size, should_stop)
        return Forgotten(now.loss, now.divergence, now.loss - self.gauge.start.loss)

    def add_gradients(self) -> float:
        """Add those of the penalty to an adapter whose loss has gone backward; returns the penalty in nats."""
        return self.consolidation.add_gradients() if self.consolidation else 0.0


def begin(
    model: Trainee,
    config: TrainConfig,
    general: General,
    folder: Path,
    *,
    resumed: bool,
) -> Remembering:
    """Ask the model what it knows, before its first step; a run that goes on finds it in `folder`.

    The random state is left as it was.
    """
    size = config.micro_batch_size or config.batch_size
    kept = folder / "gauge.safetensors"
    # A run that went on from a checkpoint without this file began before there was a gauge.
    measured = (
        gauge.begin(model, general, size, config.seed, kept)
        if general.gauged and (kept.is_file() or not resumed)
        else None
    )
    return Remembering(
        measured, _consolidation(model, config, general.known, folder / "ewc.safetensors", size)
    )


def _consolidation(
    model: Trainee, config: TrainConfig, known: Sequence[Encoded], file: Path, size: int
) -> Consolidation | None:
    if not config.ewc or config.method == "full":
        return None
    if file.is_file():
        return Consolidation.load(model.model, file, config.ewc)

    def loss_of(rows: Sequence[Encoded]) -> tuple[Callable[[], torch.Tensor], int]:
        batch = model.collate(rows)
        return lambda: model.loss(batch), batch.trained

    model.model.eval()
    fisher = ewc.estimate(model.model, map(loss_of, micro_batches(known, size)))
    model.model.train()
    made = Consolidation(model.model, fisher, config.ewc)
    partial = file.with_name(f".{file.name}.partial")
    made.save(partial)
    os.replace(partial, file)
    return made
