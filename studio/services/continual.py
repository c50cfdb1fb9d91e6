"""Continual tuning: a run that goes on with an earlier run's adapter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from studio.domain.config import RunConfig
from studio.domain.errors import StudioError
from studio.domain.finding import Finding, finding
from studio.engine.tuned import TunedRun
from studio.services.files import explained
from studio.services.run_files import RunFiles
from studio.services.store import Store
from studio.services.trained import read_trained

_METHOD = "method.txt"
"""Beside the copied adapter: how the earlier run trained it."""


def continued(store: Store, config: RunConfig) -> tuple[RunConfig, list[Finding]]:
    """The configuration with what the earlier adapter fixes, its shape and scale, and a sentence that says so.

    Raises StudioError where the earlier run has no adapter, or another base model.
    """
    if config.model.adapter is None:
        return config, []
    earlier = _earlier(store, config)
    if config.train.method == "full":
        raise StudioError(
            "A run that continues from an adapter trains an adapter, but the method is {method}.",
            "Choose LoRA or QLoRA, or start from the base model.",
            method="full",
        )
    fitted = fitting(config, earlier.weights, earlier.config.train.method)
    said = finding(
        "continued",
        "split",
        "info",
        (),
        "The run goes on from the adapter of {run}: rank {rank} and alpha {alpha} are those of that adapter.",
        "Its learning rate may be lower than that of a new adapter: what was learnt stays.",
        run=earlier.name,
        rank=fitted.train.rank,
        alpha=f"{fitted.train.alpha:g}",
    )
    return fitted, [said]


def fitting(config: RunConfig, adapter: Path, method: str) -> RunConfig:
    """The configuration with the shape of an adapter; `method` is what an open one becomes."""
    shape = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    return config.with_values(
        {
            "train.method": config.train.method if config.train.method != "auto" else method,
            "train.rank": shape["r"],
            "train.alpha": shape["lora_alpha"],
            "train.target_modules": sorted(shape["target_modules"]),
            "train.rank_stabilized": shape["use_rslora"],
            "train.dora": shape["use_dora"],
            "train.adapter_start": "zero",
        }
    )


def refitted(config: RunConfig, files: RunFiles) -> RunConfig:
    """As `continued`, from the copy that the run keeps."""
    if not files.begun_with.is_dir():
        return config
    return fitting(config, files.begun_with, (files.begun_with / _METHOD).read_text(encoding="utf-8"))


def copy_adapter(store: Store, config: RunConfig, files: RunFiles) -> None:
    """Into the new run's folder, so that it can be repeated when the earlier run is gone."""
    if config.model.adapter is None:
        return
    earlier = _earlier(store, config)
    with explained(files.begun_with):
        shutil.copytree(earlier.weights, files.begun_with)
        (files.begun_with / _METHOD).write_text(earlier.config.train.method, encoding="utf-8")


def _earlier(store: Store, config: RunConfig) -> TunedRun:
    assert config.model.adapter is not None
    earlier = read_trained(RunFiles(store.run_dir(config.model.adapter)))
    if earlier.kind != "adapter":
        raise StudioError(
            "The run {run} has no finished adapter to continue from.",
            "Let it finish, or choose another run.",
            run=earlier.name,
        )
    if earlier.config.model.id != config.model.id or earlier.config.model.revision != config.model.revision:
        raise StudioError(
            "The adapter of {run} belongs to the base model {base}, not to {model}.",
            "Choose the model {base}, or start with a new adapter.",
            run=earlier.name,
            base=earlier.config.model.id,
            model=config.model.id,
        )
    return earlier
