"""How far the loading of a model is: one number from 0 to 1, of which each stage has a portion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

Step = Callable[[float], None]
"""Is told the share that is done, from 0 to 1."""
Stage = Literal["programs", "weights", "adapters"]
"""The libraries that compute, the tensors of the base (of both models after full tuning), and what stands on it."""
BEGINS: dict[Stage, float] = {"programs": 0.0, "weights": 0.4, "adapters": 0.9}
"""Where each stage begins. For a small model the libraries take the longest, for a large one its weights."""


def overall(stage: Stage, share: float) -> float:
    """
    >>> overall("programs", 0.5), overall("adapters", 1.0)
    (0.2, 1.0)
    """
    stages = get_args(Stage)
    following = stages[stages.index(stage) + 1 :]
    end = BEGINS[following[0]] if following else 1.0
    return BEGINS[stage] + share * (end - BEGINS[stage])


def stage_at(share: float) -> Stage:
    """
    >>> stage_at(0.1), stage_at(0.4), stage_at(1.0)
    ('programs', 'weights', 'adapters')
    """
    return max((stage for stage in BEGINS if BEGINS[stage] <= share), key=BEGINS.__getitem__)
