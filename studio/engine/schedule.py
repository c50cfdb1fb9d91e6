"""The learning rate at each step: linear warm-up, then cosine, linear or constant."""

from __future__ import annotations

import math

from studio.domain.config import Scheduler


def learning_rate(step: int, steps: int, peak: float, warmup_ratio: float, scheduler: Scheduler) -> float:
    """The rate of the 0-based optimizer step `step` of `steps`.

    After warm-up as transformers' schedulers give it. They begin warm-up with a rate of zero, so that the first step,
    the only one of a very short run, changes nothing; here it begins above zero.
    """
    warmup = math.ceil(steps * warmup_ratio)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if scheduler == "constant":
        return peak
    progress = (step - warmup) / max(1, steps - warmup)
    if scheduler == "linear":
        return peak * (1 - progress)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
