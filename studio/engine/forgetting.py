"""What a run does against forgetting what the model knew, and how it shows what is forgotten: docs/forgetting.md."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import torch

from studio.domain.config import TrainConfig
from studio.domain.encoded import Encoded
from studio.domain.errors import Stopped, StudioError
from studio.domain.events import Emit, Warned
from studio.engine import ewc, gauge, integrity
from studio.engine.ewc import Consolidation
from studio.engine.gauge import Gauge, ShouldStop
from studio.engine.general import ANSWER_TOKENS, General
from studio.engine.steps import micro_batches
from studio.engine.trainee import Trainee

Tell = Callable[[int, int], None]
_GAUGE, _KNOWN, _MARKER = "gauge.safetensors", "ewc.safetensors", "sealed.json"


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

    def add_gradients(self) -> float | None:
        """Add those of the penalty to an adapter whose loss has gone backward; returns the penalty in nats."""
        return float(self.consolidation.add_gradients()) if self.consolidation else None


def begin(
    model: Trainee,
    config: TrainConfig,
    general: General,
    folder: Path,
    size: int,
    should_stop: ShouldStop,
    tell: Tell = lambda done, total: None,
    writes: bool = True,
) -> Remembering:
    """Ask the model what it knows before its first step, `size` rows at once, and keep that in `folder`.

    `tell` is called with the pieces of work done and their number. The random state is left as it was. Raises Stopped
    once `should_stop()` is true; StudioError where there is nothing to hold on to. Only one of several processes
    `writes` into the folder.
    """
    holds_on = bool(config.ewc) and config.method != "full"
    if not (general.gauged or holds_on):
        return Remembering()
    known = micro_batches(general.known, size if model.packing else 1) if holds_on else ()
    gauges = ANSWER_TOKENS + 2 * len([*micro_batches(general.gauged, size)]) if general.gauged else 0
    should_stop = _counted(should_stop, gauges + len([*known]), tell)
    if writes:
        shutil.rmtree(folder, ignore_errors=True)
    cuda = [torch.cuda.current_device()] if model.device == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        model.model.eval()
        gauged = gauge.begin(model, general, size, config.seed, should_stop) if general.gauged else None
        model.model.train()
        consolidation = _consolidation(model, config, general, size, should_stop) if holds_on else None
    if not writes:
        return Remembering(gauged, consolidation)
    with integrity.written_whole(folder) as temporary:
        if gauged:
            gauged.save(temporary / _GAUGE)
        if consolidation:
            consolidation.save(temporary / _KNOWN)
        integrity.seal(temporary, _MARKER, {})
    return Remembering(gauged, consolidation)


def _counted(should_stop: ShouldStop, total: int, tell: Tell) -> ShouldStop:
    """As `should_stop`, which is asked once for each piece of work; answers that end early leave some out."""
    asked = count()

    def counted() -> bool:
        tell(min(next(asked), total), total)
        return should_stop()

    return counted


def resume(model: Trainee, config: TrainConfig, folder: Path, emit: Emit) -> Remembering:
    """What `begin` kept, for a run that goes on. StudioError where it cannot do so without."""
    try:
        integrity.verify(folder, _MARKER)
    except integrity.Damaged as problem:
        return _without(config, folder, problem, emit)
    kept = folder / _GAUGE
    known = folder / _KNOWN
    return Remembering(
        gauge.load(kept) if kept.is_file() else None,
        Consolidation.load(model.model, known, config.ewc) if known.is_file() else None,
    )


def _without(config: TrainConfig, folder: Path, problem: integrity.Damaged, emit: Emit) -> Remembering:
    if config.ewc and config.method != "full":
        raise StudioError(
            "What the run holds on to cannot be read: {file} is missing or damaged.",
            "Start a new run with the same settings.",
            file=f"{folder.name}/{problem.file}",
        )
    if folder.is_dir():  # a run from before there was a gauge has none
        emit(
            Warned(
                template="What is forgotten is not measured any more: {file} is missing or damaged.",
                remedy="The run itself goes on as before. Check the disk.",
                values={"file": f"{folder.name}/{problem.file}"},
            )
        )
    return Remembering()


def _consolidation(
    model: Trainee, config: TrainConfig, general: General, size: int, should_stop: ShouldStop
) -> Consolidation:
    if not general.known:
        raise StudioError(
            "No general row fits into the maximum length, so there is nothing to hold on to.",
            "Raise the maximum length, or switch off holding on to general skills.",
        )

    def loss_of(rows: Sequence[Encoded]) -> tuple[Callable[[], torch.Tensor], int]:
        if should_stop():
            raise Stopped
        batch = model.collate(rows)
        return lambda: model.loss(batch), batch.trained

    parts = micro_batches(general.known, size if model.packing else 1)
    with _without_dropout(model.model):
        fisher = ewc.estimate(model.model, map(loss_of, parts))
    return Consolidation(model.model, fisher, config.ewc)


@contextlib.contextmanager
def _without_dropout(model: torch.nn.Module) -> Iterator[None]:
    """In training mode but for dropout, as activations are made again in the backward pass only then."""
    silenced = [
        module for module in model.modules() if isinstance(module, torch.nn.Dropout) and module.training
    ]
    for module in silenced:
        module.eval()
    try:
        yield
    finally:
        for module in silenced:
            module.train()
