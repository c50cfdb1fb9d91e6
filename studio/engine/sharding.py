"""FSDP: each process holds a part of the weights, their gradients and averages, and sees a layer whole as it passes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from studio.engine.batches import Batch
    from studio.engine.ranks import Ranks
    from studio.engine.trainee import Trainee


class Whole(torch.nn.Module):
    """A model with its loss as one module: what no layer holds is there from its beginning to its end.

    The studio computes the loss from the decoder's output and the output layer's weight, past the model's own forward;
    torch gathers weights where a module is called.
    """

    def __init__(self, trainee: Trainee) -> None:
        super().__init__()
        self.model = trainee.model
        self._loss = trainee.own_loss

    def forward(self, batch: Batch, noise_seeds: Sequence[int]) -> torch.Tensor:
        return self._loss(batch, noise_seeds)


def shard(trainee: Trainee, ranks: Ranks) -> Any:
    """Leave on this process its part of each weight; returns the module to call for the loss.

    Gradients are summed over the processes, not averaged: each loss is a share of one mean already.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(ranks.device, (ranks.size,))
    for layer in _layers(trainee.base):
        fully_shard(layer, mesh=mesh)
    whole: Any = fully_shard(Whole(trainee), mesh=mesh, reshard_after_forward=False)
    for module in whole.modules():
        if hasattr(module, "set_gradient_divide_factor"):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    return whole


@contextlib.contextmanager
def gathered(whole: Any) -> Iterator[None]:
    """With what no layer holds in place, for calls of the model past `Whole`; all processes make them alike."""
    whole.unshard()
    try:
        yield
    finally:
        whole.reshard()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor that is held in parts; all processes ask for it alike."""
    found: torch.Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return found


def part(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor."""
    held: Any = tensor
    found: torch.Tensor = held.to_local() if hasattr(held, "to_local") else tensor
    return found


def like(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """A whole tensor, held in parts as the other one is."""
    if not hasattr(other, "full_tensor"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    held: Any = other
    return distribute_tensor(tensor.to(held.device), held.device_mesh, held.placements)


def _layers(base: torch.nn.Module) -> list[torch.nn.Module]:
    """What the model is a pile of: the entries of its longest list of modules."""
    lists = [module for module in base.modules() if isinstance(module, torch.nn.ModuleList)]
    return [*max(lists, key=len)] if lists else []
