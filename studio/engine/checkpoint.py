"""Everything a run needs to go on as if it had not stopped, in safetensors and JSON; whole or absent."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from studio.domain.errors import StudioError
from studio.engine import integrity, sharding
from studio.engine.ranks import ALONE, Ranks

_MARKER, _BEST_MARKER = integrity.CHECKPOINT, integrity.BEST
_WEIGHTS = "weights.safetensors"


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
    best_loss: float | None = None
    """The lowest held-out loss after the first step, nats a token."""
    best_step: int = 0
    since_best: int = 0
    """Evaluations since then."""
    rows_at_once: int | None = None
    """Where memory ran out: the rows that pass through the model at once since."""
    calm_losses: Sequence[float] = ()
    """Of the latest steps, without those that were wild; see divergence.py."""
    wild_steps: int = 0
    answered_step: int = -1
    """Of the latest sample answers."""


def save(
    folder: Path,
    weights: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    keep: int,
    ranks: Ranks = ALONE,
) -> Path:
    """Write checkpoints/step-<n>/ and delete all but the newest `keep`. The marker file is written last.

    `weights` are the tensors that the base does not have, by name. Of the best weights, those stay that a checkpoint
    which is kept speaks of. A step that was saved before is not saved again: nothing happened since. Of several
    processes all call this, and the leader writes, with the random states of all.
    """
    target = of_step(folder, progress.step)
    if ranks.from_leader(float(target.is_dir())):
        return target
    random = _random_state(ranks)
    if not (ranks.leads or ranks.sharded):
        return target
    held = _contiguous(weights)
    tensors, steps = _flatten(optimizer)
    if not ranks.leads:
        return target
    with integrity.written_whole(target) as temporary:
        save_file(held, temporary / _WEIGHTS)
        save_file(tensors, temporary / "optimizer.safetensors")
        save_file(random, temporary / "random.safetensors")
        integrity.seal(temporary, _MARKER, {**asdict(progress), "optimizer_steps": steps})
    _delete_old(folder, keep)
    return target


def _delete_old(folder: Path, keep: int) -> None:
    written = complete(folder)
    spoken_of = set()
    for path in written[-keep:]:
        with suppress(integrity.Damaged):
            spoken_of.add(best(folder, read_progress(path).best_step))
    for old in [*written[:-keep], *(path for path in folder.glob("best-*") if path not in spoken_of)]:
        shutil.rmtree(old, ignore_errors=True)


def save_best(folder: Path, weights: dict[str, torch.Tensor], step: int, ranks: Ranks = ALONE) -> None:
    """Write checkpoints/best-<step>/: the weights alone, which a run cannot go on from, but end with."""
    held = _contiguous(weights) if ranks.leads or ranks.sharded else {}
    if not ranks.leads:
        return
    with integrity.written_whole(best(folder, step)) as temporary:
        save_file(held, temporary / _WEIGHTS)
        integrity.seal(temporary, _BEST_MARKER, {"step": step})


def best(folder: Path, step: int) -> Path:
    return folder / f"best-{step:06d}"


def of_step(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}"


def complete(folder: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first."""
    return sorted(path.parent for path in folder.glob(f"step-*/{_MARKER}"))


def verify(checkpoint: Path) -> None:
    """Raises integrity.Damaged where a file of a checkpoint, or of the best weights, is not as it was written."""
    integrity.verify(checkpoint, _BEST_MARKER if checkpoint.name.startswith("best-") else _MARKER)


def read_progress(checkpoint: Path) -> Progress:
    data = integrity.read(checkpoint, _MARKER)
    data.pop("optimizer_steps")
    return Progress(**data)


def restore(
    checkpoint: Path, tensors: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer, rank: int = 0
) -> Progress:
    """Put weights, optimizer and random state back in place. Raises StudioError where they do not fit the model.

    A process of more than wrote the checkpoint keeps the random state that it has.
    """
    restore_weights(checkpoint, tensors)
    steps = integrity.read(checkpoint, _MARKER)["optimizer_steps"]
    _unflatten(optimizer, load_file(checkpoint / "optimizer.safetensors"), steps)
    random_state = load_file(checkpoint / "random.safetensors")
    suffix = _of(rank)
    if f"cpu{suffix}" in random_state:
        torch.set_rng_state(random_state[f"cpu{suffix}"])
    if f"cuda{suffix}" in random_state and torch.cuda.is_available():
        torch.cuda.set_rng_state(random_state[f"cuda{suffix}"])
    return read_progress(checkpoint)


def restore_weights(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Put the weights alone back in place."""
    weights = load_file(folder / _WEIGHTS)
    if set(weights) != set(tensors):
        raise StudioError(
            "The checkpoint {checkpoint} is of another model or adapter.",
            "Start a new run with these settings.",
            checkpoint=folder.name,
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(sharding.like(weights[name], tensor))


def _contiguous(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: sharding.whole(tensor.detach()).cpu().contiguous() for name, tensor in tensors.items()}


def _random_state(ranks: Ranks) -> dict[str, torch.Tensor]:
    """That of each process, the leader's without a number."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    if ranks.size == 1:
        return state
    return {
        f"{name}{_of(rank)}": found
        for name, own in state.items()
        for rank, found in enumerate(ranks.gather(own))
    }


def _of(rank: int) -> str:
    return f".{rank}" if rank else ""


def _flatten(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """AdamW's state by parameter index: its averages as tensors, its step counts as numbers.

    torch counts steps in float32 tensors and bitsandbytes in integers: each count is written as the kind it is. Read
    from `state`, as bitsandbytes' `state_dict` nests its tensors.
    """
    tensors: dict[str, torch.Tensor] = {}
    steps: dict[str, float] = {}
    for index, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state[parameter].items():
            if name == "step":
                steps[str(index)] = value if isinstance(value, int) else float(value)
            else:
                tensor = sharding.whole(value.detach()).cpu().contiguous()
                # bitsandbytes' tables of 8-bit values are one for all parameters, which safetensors refuses
                tensors[f"{index}.{name}"] = tensor.clone() if name.startswith("qmap") else tensor
    return tensors, steps


def _unflatten(
    optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor], steps: dict[str, float]
) -> None:
    state = optimizer.state_dict()
    rebuilt: dict[int, dict[str, Any]] = {
        int(index): {"step": step if isinstance(step, int) else torch.tensor(step, dtype=torch.float32)}
        for index, step in steps.items()
    }
    parameters = _parameters(optimizer)
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        rebuilt[int(index)][name] = sharding.like(tensor, parameters[int(index)])
    optimizer.load_state_dict({**state, "state": rebuilt})
    if getattr(optimizer, "is_paged", False):
        _page(optimizer)


def _page(optimizer: Any) -> None:
    """bitsandbytes loads paged averages into the GPU's own memory: put them back where they can be paged."""
    for parameter in _parameters(optimizer):
        state = optimizer.state[parameter]
        for name in ("state1", "state2"):
            loaded = state[name]
            state[name] = optimizer.get_state_buffer(parameter, dtype=loaded.dtype)
            state[name].copy_(loaded)


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    """In the order of their indices in a `state_dict`."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
