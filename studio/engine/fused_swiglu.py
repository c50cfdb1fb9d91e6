"""SwiGLU, silu(gate) * up, as one operation: keeps gate and up alone and writes both gradients into one tensor.

With t the sigmoid of the gate g:  h = g t u,  du = dh g t,  dg = dh u (t + g t (1 - t)).
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional


class _SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_and_up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate_and_up)
        gate, up = gate_and_up.chunk(2, -1)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (gate_and_up,) = ctx.saved_tensors
        gate, up = gate_and_up.chunk(2, -1)
        out = torch.empty_like(gate_and_up)
        grad_gate, grad_up = out.chunk(2, -1)
        active = functional.silu(gate)
        torch.mul(grad, active, out=grad_up)
        torch.mul(grad, up, out=active)
        torch.ops.aten.silu_backward.grad_input(active, gate, grad_input=grad_gate)
        return out


def swiglu(gate_and_up: torch.Tensor) -> torch.Tensor:
    """(..., 2 x size), the gate before what it gates, to (..., size)."""
    out: torch.Tensor = _SwiGlu.apply(gate_and_up)
    return out
