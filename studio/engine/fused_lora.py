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
        down = functional.linear(flat, a.to(weight.dtype))
        out = functional.linear(flat, weight, bias)
        out.addmm_(down, b.to(weight.dtype).T, alpha=scale)
        ctx.save_for_backward(flat, weight, a, b, down)
        ctx.scale, ctx.shape = scale, x.shape
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        flat, weight, a, b, down = ctx.saved_tensors
        grad = grad.reshape(-1, grad.shape[-1])
        grad_down = (grad @ b.to(weight.dtype)).mul_(ctx.scale)
        grad_a = (grad_down.T @ flat).to(a.dtype)
        grad_b = (grad.T @ down).to(b.dtype).mul_(ctx.scale)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad @ weight).addmm_(grad_down, a.to(weight.dtype)).view(ctx.shape)
        return grad_x, None, None, grad_a, grad_b, None


def fuse(model: torch.nn.Module) -> int:
    """Give every plain LoRA layer of a PeftModel the fused operation; returns how many got it.

    Left as PEFT has them: layers on a quantised base, with dropout, DoRA, a LoRA bias, or more than one adapter.
    """
    from peft.tuners.lora import Linear

    fused = 0
    for module in model.modules():
        if type(module) is Linear and _is_plain(module):
            module.forward = MethodType(_forward, module)
            fused += 1
    return fused


def _is_plain(layer: Any) -> bool:
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
    name, base = layer.active_adapters[0], layer.get_base_layer()
    x = x.to(base.weight.dtype)
    out: torch.Tensor = _LoraLinear.apply(
        x, base.weight, base.bias, layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    )
    return out


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
    from peft.tuners.lora import Linear

    if not all(type(layer) is Linear and _is_plain(layer) for layer in layers):
        return None
    kinds = {
        (base.weight.dtype, base.weight.device, base.in_features, base.bias is None)
        for base in (layer.get_base_layer() for layer in layers)
    }
    return Joined(layers) if len(kinds) == 1 else None
