"""How fast finished runs of each kind were on this machine, for later estimates."""

from __future__ import annotations

from pathlib import Path

from studio.domain.config import RunConfig
from studio.services.files import read_json, write_json


def look_up(file: Path, config: RunConfig) -> float | None:
    """Tokens a second that the last run of this kind reached, or None where there was none."""
    speed = (read_json(file) or {}).get(_kind(config))
    return float(speed) if speed else None


def record(file: Path, config: RunConfig, tokens_per_second: float) -> None:
    write_json(file, {**(read_json(file) or {}), _kind(config): round(tokens_per_second, 1)})


def _kind(config: RunConfig) -> str:
    """What decides the speed of a run; its data hardly does, as speed is counted in real tokens."""
    train = config.train
    return "|".join(
        map(
            str,
            (
                config.model.id,
                train.method,
                train.dtype,
                train.rank,
                train.dora,
                train.adapter_start,
                train.target_modules,
                train.dropout > 0,
                train.optimizer,
                train.micro_batch_size,
                "plain" if train.plain else train.packing,
                train.gradient_checkpointing,
            ),
        )
    )
