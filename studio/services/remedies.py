"""What could be set otherwise where a run failed or does badly: the settings of a run that would do better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.domain.config import RunConfig, TrainConfig
from studio.services.diagnoses import diagnoses
from studio.services.progress import Progress

_HIGHEST_RATE = 0.1
_SHORTEST = 64
"""Tokens: a maximum length below this would cut most rows."""
_MOST_EPOCHS = 100.0


def troubles(progress: Progress) -> list[str]:
    """What is wrong with a run: the kind of its failure, or else its diagnoses."""
    if progress.failed:
        return [progress.failed.kind]
    return [found.kind for found in diagnoses(progress)]


def remedy(trouble: str, progress: Progress, config: RunConfig) -> dict[str, Any]:
    """The settings to change, by dotted key, with their new values; {} where no setting would help.

    `config` is resolved.
    """
    train = config.train
    if trouble == "memory":
        return _smaller(train)
    rate, epochs = train.learning_rate or 0.0, train.epochs or 1.0
    if trouble in ("diverged", "diverging"):
        return {"train.learning_rate": _rounded(rate / 3)}
    if trouble == "too_slow":
        return {"train.learning_rate": min(_HIGHEST_RATE, _rounded(10 * rate))}
    if trouble in ("too_few_steps", "ended_early") and not train.max_steps:
        return {
            "train.epochs": min(_MOST_EPOCHS, _rounded(epochs * (3 if trouble == "too_few_steps" else 2)))
        }
    if trouble == "overfitting" and progress.held_out and progress.steps:
        best = min(progress.held_out.from_step(1), key=lambda point: point[1])[0]
        return {"train.epochs": _rounded(epochs * best / progress.steps)}
    return {}


def _smaller(train: TrainConfig) -> dict[str, Any]:
    """What takes less memory and changes the result least: first nothing of it, then shorter rows."""
    changes: Mapping[str, Any] = {}
    if (train.micro_batch_size or train.batch_size) > 1:
        changes = {"train.micro_batch_size": 1}
    if not train.gradient_checkpointing:
        changes = {**changes, "train.gradient_checkpointing": True}
    length = (train.max_length or 0) // 2
    return dict(changes) or ({"train.max_length": length} if length >= _SHORTEST else {})


def _rounded(value: float) -> float:
    """
    >>> _rounded(0.00013333), _rounded(2.4)
    (0.00013, 2.4)
    """
    return float(f"{value:.2g}")
