"""Elastic weight consolidation for adapters: what mattered to what the model knew is held on to.

Kirkpatrick et al. 2017 (arXiv:1612.00796) add L/2 sum F (w - w0)^2 to the loss, where F is the diagonal of the Fisher
information over earlier data. An adapter changes the weight of a linear layer, (out, in), by s B A. With F factored as
K-FAC does (Martens and Grosse 2015, arXiv:1503.05671), F_ij = g_i h_j, where h are the second moments of the layer's
inputs and g those of the gradient at its outputs, the sum over all weights is a product of two small matrices:

    sum_ij g_i h_j (s B A)_ij^2  =  s^2 <B' diag(g) B, A diag(h) A'>

so neither the change nor F is ever as large as the weights, and the base may be quantised. F is a trained token's
share, as the loss is: at a strength of 1 the penalty is what the mean loss on the earlier data is expected to rise by.
docs/forgetting.md derives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import parametrize

from studio.domain.errors import StudioError


@dataclass(frozen=True)
class Fisher:
    """One linear layer's Fisher information in factored diagonal form, float32."""

    inputs: torch.Tensor
    """(in,): mean square of each input."""
    outputs: torch.Tensor
    """(out,): sum of the squared gradients of each output, a trained token."""


def adapted_layers(model: torch.nn.Module) -> dict[str, Any]:
    """The LoRA layers of a PeftModel by name."""
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def estimate(
    model: torch.nn.Module, losses: Iterable[tuple[Callable[[], torch.Tensor], int]]
) -> dict[str, Fisher]:
    """The Fisher information of every adapted layer over some batches.

    `losses` are pairs of a function that computes a batch's summed loss and its number of trained tokens; without
    padding, as that would count among the inputs. Layers that nothing passes through, such as those for images, are
    left out. No gradient is left on the parameters.
    """
    trained = 0
    with _watched(adapted_layers(model)) as moments:
        for loss, tokens in losses:
            loss().backward()
            trained += tokens
    model.zero_grad(set_to_none=True)
    return {
        name: Fisher(moment.inputs / moment.positions, moment.outputs / trained)
        for name, moment in moments.items()
        if moment.positions
    }


@dataclass
class _Moments:
    inputs: torch.Tensor
    outputs: torch.Tensor
    positions: int = 0


@contextmanager
def _watched(layers: Mapping[str, Any]) -> Iterator[dict[str, _Moments]]:
    """Sums of squares of what goes into each layer and of the gradients that come back to it."""
    moments = {
        name: _Moments(
            torch.zeros(layer.in_features, device=_device(layer)),
            torch.zeros(layer.out_features, device=_device(layer)),
        )
        for name, layer in layers.items()
    }

    def watch(moment: _Moments) -> Callable[[Any, Any, torch.Tensor], None]:
        def after(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            flat = inputs[0].detach().flatten(0, -2)
            moment.inputs += flat.float().square().sum(0)
            moment.positions += len(flat)
            if output.requires_grad:
                output.register_hook(back)

        def back(gradient: torch.Tensor) -> None:
            moment.outputs += gradient.detach().flatten(0, -2).float().square().sum(0)

        return after

    hooks = [layer.register_forward_hook(watch(moments[name])) for name, layer in layers.items()]
    try:
        yield moments
    finally:
        for hook in hooks:
            hook.remove()


def _device(layer: Any) -> torch.device:
    device: torch.device = next(layer.parameters()).device
    return device


class Consolidation:
    """The penalty on an adapter under training, against the adapter as it was when this was made."""

    def __init__(self, model: torch.nn.Module, fisher: Mapping[str, Fisher], strength: float) -> None:
        self._strength = strength
        layers = adapted_layers(model)
        self._parts = {name: _Part(layers[name], known) for name, known in fisher.items()}

    def add_gradients(self) -> torch.Tensor:
        """Add the penalty's gradients to those of the adapter; returns the penalty in nats, one number."""
        parts = [part.add_gradients(self._strength) for part in self._parts.values()]
        return self._strength * torch.stack(parts).sum()

    def save(self, file: Path) -> None:
        """What a run that goes on needs: the Fisher information, and the adapter that it began with."""
        from safetensors.torch import save_file

        save_file(
            {
                f"{name}/{key}": tensor.contiguous()
                for name, part in self._parts.items()
                for key, tensor in part.state().items()
            },
            file,
        )

    @classmethod
    def load(cls, model: torch.nn.Module, file: Path, strength: float) -> Consolidation:
        """As it was saved. StudioError where the file is not of this adapter."""
        from safetensors.torch import load_file

        found: dict[str, dict[str, torch.Tensor]] = {}
        for key, tensor in load_file(file).items():
            name, _, kind = key.rpartition("/")
            found.setdefault(name, {})[kind] = tensor
        layers = adapted_layers(model)
        if not found or not set(found) <= set(layers):
            raise StudioError(
                "What the run knows of its general data does not fit its adapter.",
                "Start a new run.",
            )
        made = cls(
            model, {name: Fisher(kept["inputs"], kept["outputs"]) for name, kept in found.items()}, strength
        )
        for name, part in made._parts.items():
            part.begin_at(found[name]["a"], found[name]["b"])
        return made


class _Part:
    """One layer's share of the penalty."""

    def __init__(self, layer: Any, fisher: Fisher) -> None:
        adapter = layer.active_adapters[0]
        self.a = _trained(layer.lora_A[adapter])
        """(rank, in)"""
        self.b = _trained(layer.lora_B[adapter])
        """(out, rank)"""
        self._scale: float = layer.scaling[adapter]
        self._h = fisher.inputs.to(self.a.device)
        self._g = fisher.outputs.to(self.b.device)[:, None]
        self.begin_at(self.a, self.b)

    def begin_at(self, a: torch.Tensor, b: torch.Tensor) -> None:
        """Measure changes from this adapter on."""
        self._a0 = a.detach().float().clone().to(self.a.device)
        self._b0 = b.detach().float().clone().to(self.b.device)
        self._from_zero = not bool(self._b0.any())

    def state(self) -> dict[str, torch.Tensor]:
        return {"inputs": self._h, "outputs": self._g[:, 0], "a": self._a0, "b": self._b0}

    @torch.no_grad()
    def add_gradients(self, strength: float) -> torch.Tensor:
        """Half the weighted square of the change from the start, which is s (B A - B0 A0) = s [B, -B0] [A; A0]."""
        rank, a, b = len(self.a), self.a.float(), self.b.float()
        if not self._from_zero:
            a, b = torch.cat([a, self._a0]), torch.cat([b, -self._b0], 1)
        weighted = b * self._g
        inner, outer = (a * self._h) @ a.T, b.T @ weighted
        square = self._scale**2
        _add(self.b, (weighted @ inner[:, :rank]).mul_(strength * square))
        _add(self.a, (outer[:rank] @ a * self._h).mul_(strength * square))
        return (inner * outer).sum() * (square / 2)


def _trained(matrix: Any) -> torch.nn.Parameter:
    """What is trained of an adapter's matrix: of PiSSA's, which has a fixed half beside it, the other half.

    The fixed half is the trained one as it began, negated: what the adapter adds is its change from the start.
    """
    if parametrize.is_parametrized(matrix, "weight"):
        original: torch.nn.Parameter = matrix.parametrizations.weight.original
        return original
    weight: torch.nn.Parameter = matrix.weight
    return weight


def _add(parameter: torch.nn.Parameter, gradient: torch.Tensor) -> None:
    if parameter.grad is None:
        parameter.grad = gradient.to(parameter.dtype)
    else:
        parameter.grad += gradient
