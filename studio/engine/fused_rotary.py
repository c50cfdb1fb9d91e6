"""Rotary position embedding in three passes over queries and keys instead of seven; nothing of them is kept.

With the halves x1 and x2 of a head, and c and s the cosines and sines of its position:

    y1 = c1 x1 - s1 x2,  y2 = c2 x2 + s2 x1        dx1 = c1 dy1 + s2 dy2,  dx2 = c2 dy2 - s1 dy1
"""

from __future__ import annotations

from typing import Any

import torch


class _Rotary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.dtype = x.dtype
        (x1, x2), (s1, s2) = x.chunk(2, -1), sin.chunk(2, -1)
        out = x * cos
        y1, y2 = out.chunk(2, -1)
        y1.addcmul_(x2, s1, value=-1)
        y2.addcmul_(x1, s2)
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        cos, sin = ctx.saved_tensors
        (g1, g2), (s1, s2) = grad.chunk(2, -1), sin.chunk(2, -1)
        out = grad * cos
        d1, d2 = out.chunk(2, -1)
        d1.addcmul_(g2, s2)
        d2.addcmul_(g1, s1, value=-1)
        return out.to(ctx.dtype), None, None


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """`x` is (rows, heads, positions, head size), `cos` and `sin` (rows, positions, head size)."""
    out: torch.Tensor = _Rotary.apply(x, cos[:, None], sin[:, None])
    return out
