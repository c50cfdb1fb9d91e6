"""A loss that is no number, or that explodes: when a run has diverged, and how it goes on from before that.

A step is wild where its loss lies above the median of the latest 16 calm ones by more than 2 nats, and by more than six
times their noise; eight wild steps on end are a divergence. Odd batches are none, nor is a loss that was always high:
2 nats a token are seven times the perplexity, and wild steps never move the median. The noise is taken from the
differences between successive steps, so that a loss that falls fast does not pass for a noisy one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from studio.domain.errors import StudioError
from studio.domain.events import Emit, Warned
from studio.engine import recovery

WILD_STEPS = 8
SHARE = 4
"""Each divergence divides the learning rate by this."""
_CALM_STEPS = 16
_FIRST = 4
"""Steps before which there is nothing to compare with."""
_TIMES_NOISE = 6.0
_MARGIN = 2.0
_NORMAL = 1.4826 / math.sqrt(2)
"""The standard deviation of normal noise over the median absolute difference of two such."""


def limit(calm: Sequence[float]) -> float:
    """The loss above which a step is wild, after these calm ones."""
    if len(calm) < _FIRST:
        return math.inf
    noise = _NORMAL * statistics.median(abs(after - before) for before, after in pairwise(calm))
    return statistics.median(calm) + max(_TIMES_NOISE * noise, _MARGIN)


def after(calm: Sequence[float], wild_steps: int, loss: float) -> tuple[list[float], int]:
    """The latest calm losses, and the wild steps on end, once a step had this loss."""
    if loss > limit(calm):
        return [*calm], wild_steps + 1
    return [*calm, loss][-_CALM_STEPS:], 0


def check_number(step: int, loss: float, norm: float) -> None:
    """Raises StudioError where the loss or the gradient of the 1-based step is no number; before the step is taken."""
    if math.isfinite(loss) and math.isfinite(norm):
        return
    if step == 1 and not math.isfinite(loss):
        raise StudioError(
            "The loss of the very first step is no number: the base model or its number format is broken.",
            "Start a new run in another number format, or get the model anew.",
        )
    raise Diverged(
        "The loss is no longer a number at step {step}: training has diverged.", _REMEDY, step=step
    )


def check_calm(step: int, calm: Sequence[float], wild_steps: int, loss: float) -> None:
    """Raises Diverged where the last `wild_steps` losses, `loss` the latest, are too many after the calm ones."""
    if wild_steps < WILD_STEPS:
        return
    raise Diverged(
        "The loss has exploded since step {step}, from {usual} to {loss} nats a token: training has diverged.",
        _REMEDY,
        step=step - wild_steps + 1,
        usual=f"{statistics.median(calm):.2f}",
        loss=f"{loss:.2f}",
    )


_REMEDY = (
    "Resume it: it goes on from the last checkpoint before that, with a quarter of the learning rate. Or start a new "
    "run with a lower one."
)


class Diverged(StudioError):
    """The run cannot go on as it is, but from an earlier checkpoint and more slowly it can."""


def remember(folder: Path, calm_step: int) -> None:
    """Note a divergence among a run's checkpoints, and set aside those that no calm step was done from.

    That of the last calm step itself is one of them: its weights are those that the first wild loss is of.
    """
    for path in recovery.checkpoints(folder):
        if recovery.step_of(path) >= calm_step:
            recovery.set_aside(path, "diverged")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"divergence-{_times(folder) + 1}-after-step-{calm_step:06d}").touch()


def rate_share(folder: Path, step: int, emit: Emit) -> float:
    """The share of the planned learning rate that a run goes on with after `step`; less than 1 is said."""
    times = _times(folder)
    if times:
        emit(
            Warned(
                template="Training has diverged before: it goes on from step {step} with 1/{divisor} of the learning "
                "rate.",
                values={"step": step, "divisor": SHARE**times},
            )
        )
    return 1 / SHARE**times


def _times(folder: Path) -> int:
    return len([*folder.glob("divergence-*")])
