"""The learning rate at each step: linear warm-up, then as the schedule says."""

from __future__ import annotations

import math

from studio.domain.config import TrainConfig


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """The rate of the 0-based optimizer step `step` of `steps`.

    After warm-up as transformers' schedulers give it; `warmup_stable_decay` falls linearly, and over fewer steps where
    warm-up leaves fewer. They begin warm-up with a rate of zero, so that the first step, the only one of a very short
    run, changes nothing; here it begins above zero.
    """
    peak = config.learning_rate
    assert peak is not None, "the configuration was not resolved"
    warmup = math.ceil(steps * config.warmup_ratio)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if config.scheduler == "constant":
        return peak
    if config.scheduler == "warmup_stable_decay":
        falling = min(math.ceil(steps * config.decay_ratio), steps - warmup)
        return peak * min(1.0, (steps - step) / falling)
    progress = (step - warmup) / max(1, steps - warmup)
    if config.scheduler == "linear":
        return peak * (1 - progress)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
