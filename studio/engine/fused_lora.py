"""LoRA's forward and backward as one operation a layer: keeps its input and the product with A, and no copies."""

from __future__ import annotations

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
