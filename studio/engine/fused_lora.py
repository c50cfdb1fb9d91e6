"""LoRA's forward and backward as one operation a layer: keeps its input and the product with A, and no copies.

Layers that read the same input, such as those of queries, keys and values, are one layer with their outputs side by
side: the weights W and the A's lie one below another, and the B's, each times its scale, stand on a diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
from torch.nn import functional


class _LoraLinear(torch.autograd.Function):
    """x W^T + scale (x A^T) B^T, with W frozen. Products are made in the type of W; A and B keep theirs."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1])
        out, down = _product(flat, weight, bias, a, b, scale)
        ctx.save_for_backward(flat, weight, a, b, down)
        ctx.scale, ctx.shape = scale, x.shape
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        flat, weight, a, b, down = ctx.saved_tensors
        grad = grad.reshape(-1, grad.shape[-1])
        grad_down, grad_b = _grad_of_b(grad, b, down, ctx.scale)
        grad_a = (grad_down.T @ flat).to(a.dtype)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = _grad_of_x(grad, grad_down, weight, a).view(ctx.shape)
        return grad_x, None, None, grad_a, grad_b, None


class _GatedLoraLinear(torch.autograd.Function):
    """The same of x = silu(gate) * up. Only gate and up are kept: x and silu(gate) are made again for the gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        gate: torch.Tensor,
        up: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        flat = functional.silu(gate).mul_(up).reshape(-1, gate.shape[-1])
        out, down = _product(flat, weight, bias, a, b, scale)
        ctx.save_for_backward(gate, up, weight, a, b, down)
        ctx.scale = scale
        return out.view(*gate.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        gate, up, weight, a, b, down = ctx.saved_tensors
        grad = grad.reshape(-1, grad.shape[-1])
        grad_down, grad_b = _grad_of_b(grad, b, down, ctx.scale)
        grad_x = _grad_of_x(grad, grad_down, weight, a).view(gate.shape)
        grad_gate = torch.ops.aten.silu_backward(grad_x * up, gate)
        opened = functional.silu(gate)
        grad_up = grad_x.mul_(opened)
        grad_a = (grad_down.T @ opened.mul_(up).view(len(grad), -1)).to(a.dtype)
        return grad_gate, grad_up, None, None, grad_a, grad_b, None


def _product(
    flat: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    a: torch.Tensor,
    b: torch.Tensor,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The layer's output, and the product with A."""
    down = functional.linear(flat, a.to(weight.dtype))
    out = functional.linear(flat, weight, bias)
    return out.addmm_(down, b.to(weight.dtype).T, alpha=scale), down


def _grad_of_b(
    grad: torch.Tensor, b: torch.Tensor, down: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradients at the product with A, and at B."""
    grad_down = (grad @ b.to(grad.dtype)).mul_(scale)
    return grad_down, (grad.T @ down).to(b.dtype).mul_(scale)


def _grad_of_x(
    grad: torch.Tensor, grad_down: torch.Tensor, weight: torch.Tensor, a: torch.Tensor
) -> torch.Tensor:
    return (grad @ weight).addmm_(grad_down, a.to(weight.dtype))


def fuse(model: torch.nn.Module) -> int:
    """Give every plain LoRA layer of a PeftModel the fused operation; returns how many got it.

    Left as PEFT has them: layers on a quantised base, with dropout, DoRA, a LoRA bias, or more than one adapter.
    """
    fused = 0
    for module in model.modules():
        if is_plain(module):
            module.forward = MethodType(_forward, module)
            fused += 1
    return fused


def is_plain(layer: Any) -> bool:
    """Whether it is a LoRA layer that the fused operation gives the output of."""
    from peft.tuners.lora import Linear

    if type(layer) is not Linear:
        return False
    name = layer.active_adapters[0]
    return (
        len(layer.active_adapters) == 1
        and type(layer.get_base_layer()) is torch.nn.Linear
        and type(layer.lora_dropout[name]) is torch.nn.Identity
        and not layer.lora_variant
        and not layer.fan_in_fan_out
        and layer.lora_B[name].bias is None
        and not layer.get_base_layer().weight.requires_grad
    )


def _forward(layer: Any, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    weight, *rest = _parts(layer)
    out: torch.Tensor = _LoraLinear.apply(x.to(weight.dtype), weight, *rest)
    return out


def gated(layer: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """A plain LoRA layer's output for silu(gate) * up; by itself while something watches it (`studio.engine.ewc`)."""
    if layer._forward_hooks:
        watched: torch.Tensor = layer(functional.silu(gate) * up)
        return watched
    weight, *rest = _parts(layer)
    out: torch.Tensor = _GatedLoraLinear.apply(gate.to(weight.dtype), up.to(weight.dtype), weight, *rest)
    return out


def _parts(layer: Any) -> tuple[Any, ...]:
    """Weight, bias, A, B and scale."""
    name, base = layer.active_adapters[0], layer.get_base_layer()
    return (
        base.weight,
        base.bias,
        layer.lora_A[name].weight,
        layer.lora_B[name].weight,
        layer.scaling[name],
    )


class Joined:
    """Plain LoRA layers on one input, as one. Their frozen weights become parts of one tensor: none is held twice."""

    def __init__(self, layers: Sequence[Any]) -> None:
        bases = [layer.get_base_layer() for layer in layers]
        self._layers = layers
        self.sizes = [base.out_features for base in bases]
        self._weight = torch.cat([base.weight.detach() for base in bases])
        self._bias = None if bases[0].bias is None else torch.cat([base.bias.detach() for base in bases])
        for base, part in zip(bases, self._weight.split(self.sizes), strict=True):
            base.weight.data = part

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The layers' outputs side by side; each by itself while something watches them (`studio.engine.ewc`)."""
        if any(layer._forward_hooks for layer in self._layers):
            return torch.cat([layer(x) for layer in self._layers], -1)
        downs, ups = [], []
        for layer in self._layers:
            name = layer.active_adapters[0]
            downs.append(layer.lora_A[name].weight)
            ups.append(layer.scaling[name] * layer.lora_B[name].weight)
        x = x.to(self._weight.dtype)
        out: torch.Tensor = _LoraLinear.apply(
            x, self._weight, self._bias, torch.cat(downs), torch.block_diag(*ups), 1.0
        )
        return out


def join(layers: Sequence[Any]) -> Joined | None:
    """None where they are not all plain LoRA layers of the same kind."""
    if not all(is_plain(layer) for layer in layers):
        return None
    kinds = {
        (base.weight.dtype, base.weight.device, base.in_features, base.bias is None)
        for base in (layer.get_base_layer() for layer in layers)
    }
    return Joined(layers) if len(kinds) == 1 else None
