"""What the curves of a run say about how it goes, in plain sentences, each with what to do.

Each diagnosis is a function of the history alone, and would rather say nothing than be wrong: a difference counts where
it is large beside the noise of the curve that it is seen in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from studio.domain.events import Warned
from studio.services.progress import Progress

FEW_STEPS = 20
_NORMAL = 1.4826 / math.sqrt(2)
"""The standard deviation of normal noise over the median absolute difference of two such."""
_TIMES_WAVERED = 3.0
"""How far a held-out loss has to rise, over how far it ever rose before it fell again."""
_OF_MEDIAN = 1.2533
"""The standard error of a median over that of a mean."""
_SURE = 4.0
"""Standard errors that a difference has to have."""


@dataclass(frozen=True)
class Diagnosis:
    """Something to say of a run; `kind` is the name of the function that found it."""

    kind: str
    said: Warned


def diagnoses(progress: Progress) -> list[Diagnosis]:
    """What there is to say by now; that a run diverges is said alone, as the rest follows from it."""
    found = [(check.__name__, check(progress)) for check in (diverging, *_OTHERS)]
    said = [Diagnosis(kind, warned) for kind, warned in found if warned]
    return said[:1] if said and said[0].kind == diverging.__name__ else said


def diverging(progress: Progress) -> Warned | None:
    """The train loss has been rising for two stretches of steps, far above its lowest one."""
    values = progress.losses.values
    stretch = max(8, len(values) // 20)
    medians = _medians(values, stretch)
    if len(medians) < 4:
        return None
    lowest = int(np.argmin(medians[:-2]))
    low, margin = medians[lowest], _SURE * _error(values, stretch)
    rise = min(medians[-1], medians[-2]) - low
    if rise <= max(0.15 * low, 0.1, margin):
        return None
    first = len(values) - stretch * (len(medians) - lowest)
    return Warned(
        template="The train loss is rising: from {low} about step {step} to {now}.",
        remedy="Stop the run, and start it again with a third of the learning rate or a longer warm-up.",
        values={
            "low": _short(low),
            "step": int(progress.losses.steps[first + stretch // 2]),
            "now": _short(medians[-1]),
        },
    )


def overfitting(progress: Progress) -> Warned | None:
    """The held-out loss was lowest two evaluations ago or earlier, and rises by more than it ever wavered before."""
    measured = progress.held_out.from_step(1)
    if len(measured) < 3:
        return None
    best = int(np.argmin(measured.values))
    low, later = measured.values[best], measured.values[best + 1 :]
    wavered = max((after - before for before, after in pairwise(measured.values[: best + 1])), default=0.0)
    margin = max(0.02 * low, _TIMES_WAVERED * wavered)
    if len(later) < 2 or min(later[-2:]) <= low + margin or later[-1] < later[-2] - 0.25 * margin:
        return None
    return Warned(
        template="Since step {step} the held-out loss has been rising, from {best} to {now}: the run learns its rows "
        "by heart.",
        remedy="The weights of step {step} become the result, unless that is set to be the last. Next time choose "
        "fewer epochs or a lower rate, or give it more rows.",
        values={"step": int(measured.steps[best]), "best": _short(low), "now": _short(later[-1])},
    )


def too_slow(progress: Progress) -> Warned | None:
    """Neither train nor held-out loss has moved after a good part of the run, nor, where it is gauged, the model."""
    losses, before, now = progress.losses, progress.baseline, progress.measured
    if len(losses) < max(8, 0.3 * progress.steps) or before is None or now is None:
        return None
    third = max(4, len(losses) // 3)
    first, last = float(np.median(losses.values[:third])), float(np.median(losses.values[-third:]))
    fell = first - last > max(0.03 * first, _SURE * _error(losses.values, third) / 2)
    moved = len(progress.divergence) > 1 and progress.divergence[-1][1] > 0.01
    if fell or moved or abs(1 - now / before) > 0.01:
        return None
    return Warned(
        template="After {step} steps the held-out loss has hardly changed, from {before} to {now}: the learning rate "
        "is too low to move the model.",
        remedy="Stop the run, and start it again with ten times the learning rate.",
        values={"step": progress.step, "before": _short(before), "now": _short(now)},
    )


def too_few_steps(progress: Progress) -> Warned | None:
    """A run of few steps that is half done and has not learnt much."""
    before, measured = progress.baseline, progress.held_out.from_step(1)
    if not 0 < progress.steps < FEW_STEPS or 2 * progress.step < progress.steps or too_slow(progress):
        return None
    if before is None or not measured or (now := float(measured.values.min())) < 0.9 * before:
        return None
    return Warned(
        template="{steps} steps are too few to learn much: the held-out loss went from {before} to {now}.",
        remedy="More rows, more epochs or a smaller batch size make more steps.",
        values={"steps": progress.steps, "before": _short(before), "now": _short(now)},
    )


def ended_early(progress: Progress) -> Warned | None:
    """The run has come to its end while its held-out loss still fell as fast as ever."""
    measured = progress.held_out
    if progress.finished is None or progress.finished.state != "finished" or len(measured) < 5:
        return None
    values = measured.values
    place = int(np.searchsorted(measured.steps, 0.75 * measured.steps[-1]))
    total, late = values[0] - values[-1], values[place] - values[-1]
    if total < 0.05 * values[0] or late < 0.15 * total or values[-1] > values.min():
        return None
    return Warned(
        severity="info",
        template="The held-out loss was still falling when the run ended.",
        remedy="More epochs would teach it more.",
    )


_OTHERS: tuple[Callable[[Progress], Warned | None], ...] = (
    overfitting,
    too_slow,
    too_few_steps,
    ended_early,
)


def _medians(values: np.ndarray, stretch: int) -> np.ndarray:
    """Of stretches side by side, the last one ending with the last value."""
    count = len(values) // stretch
    return np.median(values[len(values) - count * stretch :].reshape(count, stretch), axis=1)


def _error(values: np.ndarray, stretch: int) -> float:
    """The standard error of the difference of two stretches' medians, from the noise between successive values."""
    noise = _NORMAL * float(np.median(np.abs(np.diff(values)))) if len(values) > 1 else 0.0
    return math.sqrt(2) * _OF_MEDIAN * noise / math.sqrt(stretch)


def _short(value: float) -> str:
    return f"{value:.3f}"
