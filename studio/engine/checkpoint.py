"""Everything a run needs to go on as if it had not stopped, in safetensors and JSON; whole or absent."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from studio.domain.errors import StudioError

_MARKER = "progress.json"


@dataclass(frozen=True)
class Progress:
    """Where a run stood when the checkpoint was written."""

    step: int
    tokens: int
    trained_tokens: int
    seconds: float
    train_seconds: float
    loss: float
    eval_loss: float | None
    evaluated_step: int


def save(
    folder: Path,
    weights: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    keep: int,
) -> Path:
    """Write checkpoints/step-<n>/ and delete all but the newest `keep`. The marker file is written last.

    `weights` are the trained tensors by parameter name.
    """
    target = folder / f"step-{progress.step:06d}"
    temporary = folder / f".step-{progress.step:06d}.partial"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        save_file(_contiguous(weights), temporary / "weights.safetensors")
        tensors, steps = _flatten(optimizer)
        save_file(tensors, temporary / "optimizer.safetensors")
        save_file(_random_state(), temporary / "random.safetensors")
        (temporary / _MARKER).write_text(
            json.dumps({**asdict(progress), "optimizer_steps": steps}), encoding="utf-8"
        )
        for file in temporary.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for old in complete(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def complete(folder: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first."""
    return sorted(path.parent for path in folder.glob(f"step-*/{_MARKER}"))


def latest(folder: Path) -> Path | None:
    found = complete(folder)
    return found[-1] if found else None


def read_progress(checkpoint: Path) -> Progress:
    data = _read(checkpoint)
    data.pop("optimizer_steps")
    return Progress(**data)


def restore(
    checkpoint: Path, parameters: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer
) -> Progress:
    """Put weights, optimizer and random state back in place. Raises StudioError where they do not fit the model."""
    weights = load_file(checkpoint / "weights.safetensors")
    if set(weights) != set(parameters):
        raise StudioError(
            "The checkpoint {checkpoint} is of another model or adapter.",
            "Start a new run with these settings.",
            checkpoint=checkpoint.name,
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
    _unflatten(
        optimizer, load_file(checkpoint / "optimizer.safetensors"), _read(checkpoint)["optimizer_steps"]
    )
    random_state = load_file(checkpoint / "random.safetensors")
    torch.set_rng_state(random_state["cpu"])
    if "cuda" in random_state and torch.cuda.is_available():
        torch.cuda.set_rng_state(random_state["cuda"])
    return read_progress(checkpoint)


def _read(checkpoint: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((checkpoint / _MARKER).read_text(encoding="utf-8"))
    return data


def _contiguous(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _random_state() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _flatten(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """AdamW's state by parameter index: its moments as tensors, its step counts as numbers."""
    tensors: dict[str, torch.Tensor] = {}
    steps: dict[str, float] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if name == "step":
                steps[str(index)] = float(value)
            else:
                tensors[f"{index}.{name}"] = value.detach().cpu().contiguous()
    return tensors, steps


def _unflatten(
    optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor], steps: dict[str, float]
) -> None:
    state = optimizer.state_dict()
    rebuilt: dict[int, dict[str, torch.Tensor]] = {
        int(index): {"step": torch.tensor(step, dtype=torch.float32)} for index, step in steps.items()
    }
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        rebuilt[int(index)][name] = tensor
    optimizer.load_state_dict({**state, "state": rebuilt})
