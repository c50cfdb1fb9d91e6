"""Cross-entropy straight from hidden states: logits exist for some positions at a time and only where trained."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from studio.engine.sizes import rounded

CHUNK = 256
"""Positions whose logits exist at once."""


class _HeadLoss(torch.autograd.Function):
    """Sum of the cross-entropies of `hidden @ weight.T`; the gradients are made in the forward pass, chunk by chunk,
    so that no chunk's logits outlive it (the idea of Liger Kernel's fused linear cross-entropy, arXiv:2410.10989)."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if weight.requires_grad else None
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for start in range(0, len(hidden), CHUNK):
            part, wanted, count = _chunk(hidden, labels, start)
            shares, total, nats = _exponentials((part @ weight.T).float(), wanted)
            loss += nats[:count].sum()
            # Before it is rounded: the gradient of a token that is nearly certain is a small difference.
            shares[torch.arange(len(wanted), device=shares.device), wanted] -= total[:, 0]
            shares = shares.to(weight.dtype)
            grad_hidden[start : start + count] = (shares @ weight).div_(total)[:count]
            if grad_weight is not None:
                grad_weight += shares.T @ (part / total).to(weight.dtype)
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.weight_dtype = weight.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        if grad_weight is not None:
            grad_weight = (grad_weight * scale).to(ctx.weight_dtype)
        return grad_hidden * scale.to(grad_hidden.dtype), grad_weight, None


def _exponentials(
    logits: torch.Tensor, wanted: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """exp(logits - largest), written over them; its sums (positions, 1); and the cross-entropies (positions, 1).

    One exponential a logit serves loss and gradient: the first that is returned over the second is the softmax.
    """
    logits.sub_(logits.amax(-1, keepdim=True))
    known = logits.gather(1, wanted[:, None])
    total = logits.exp_().sum(-1, keepdim=True)
    return logits, total, total.log() - known


def _chunk(hidden: torch.Tensor, labels: torch.Tensor, start: int) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Hidden states and labels from `start` on, and how many: on a CPU with zeros behind them, up to a rounded size."""
    part, wanted = hidden[start : start + CHUNK], labels[start : start + CHUNK]
    count = len(wanted)
    more = rounded(count) - count if hidden.device.type == "cpu" else 0
    if more:
        part, wanted = functional.pad(part, (0, 0, 0, more)), functional.pad(wanted, (0, more))
    return part, wanted, count


def head_loss(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Summed cross-entropy in nats, a float32 scalar.

    `hidden` is (positions, size), `weight` (vocabulary, size) of the same dtype, `labels` (positions,), none ignored.
    """
    if not torch.is_grad_enabled():
        parts = []
        for start in range(0, len(hidden), CHUNK):
            part, wanted, count = _chunk(hidden, labels, start)
            nats = functional.cross_entropy((part @ weight.T).float(), wanted, reduction="none")
            parts.append(nats[:count].sum())
        return torch.stack(parts).sum()
    return _HeadLoss.apply(hidden, weight, labels)
