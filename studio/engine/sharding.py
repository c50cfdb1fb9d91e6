"""FSDP: each process holds a part of the weights, and sees a layer whole as it passes.

What is trained in full is held by torch's FSDP, gradients and averages with it; the frozen base under an adapter by
`FrozenShards`. Either way one layer after the other is brought to the device and into its type.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from studio.engine import fused_layers, fused_norm
from studio.engine.frozen_shards import FrozenShards

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
    fused_layers.fuse(trainee.base)
    for layer in layers(trainee.base):
        fully_shard(layer.float(), mesh=mesh)
    for parameter in trainee.base.parameters():  # those of the layers are in parts and of that type already
        if not hasattr(parameter, "full_tensor"):
            parameter.data = parameter.data.float()
    whole: Any = fully_shard(Whole(trainee), mesh=mesh, reshard_after_forward=False)
    for module in whole.modules():
        if hasattr(module, "set_gradient_divide_factor"):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    return whole


def shard_frozen(trainee: Trainee, ranks: Ranks) -> FrozenShards:
    """Leave on this process its part of each frozen layer, under an adapter that all hold alike."""

    def brought(layer: torch.nn.Module) -> None:
        if next(layer.parameters()).device.type != torch.device(trainee.device).type:  # 4-bit ones are there
            layer.to(trainee.device)
        fused_layers.fuse(layer)

    shards = FrozenShards(layers(trainee.base), ranks, brought)
    if next(trainee.base.parameters()).device.type != torch.device(trainee.device).type:
        trainee.model.to(trainee.device)
    fused_norm.fuse(trainee.model)
    return shards


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


def layers(base: torch.nn.Module) -> list[torch.nn.Module]:
    """What the model is a pile of: the entries of its longest list of modules."""
    lists = [module for module in base.modules() if isinstance(module, torch.nn.ModuleList)]
    return [*max(lists, key=len)] if lists else []
