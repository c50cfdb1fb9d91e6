"""Cross-entropy straight from hidden states: logits exist for some positions at a time and only where trained."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

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
            part, wanted = hidden[start : start + CHUNK], labels[start : start + CHUNK]
            logits = (part @ weight.T).float()
            log_sum = torch.logsumexp(logits, -1)
            loss += (log_sum - logits.gather(1, wanted[:, None]).squeeze(1)).sum()
            grad = logits.sub_(log_sum[:, None]).exp_()
            grad[torch.arange(len(wanted), device=grad.device), wanted] -= 1
            grad = grad.to(weight.dtype)
            grad_hidden[start : start + CHUNK] = grad @ weight
            if grad_weight is not None:
                grad_weight += grad.T @ part
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.weight_dtype = weight.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        if grad_weight is not None:
            grad_weight = (grad_weight * scale).to(ctx.weight_dtype)
        return grad_hidden * scale.to(grad_hidden.dtype), grad_weight, None


def head_loss(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Summed cross-entropy in nats, a float32 scalar.

    `hidden` is (positions, size), `weight` (vocabulary, size) of the same dtype, `labels` (positions,), none ignored.
    """
    if not torch.is_grad_enabled():
        parts = [
            functional.cross_entropy(
                (hidden[i : i + CHUNK] @ weight.T).float(), labels[i : i + CHUNK], reduction="sum"
            )
            for i in range(0, len(hidden), CHUNK)
        ]
        return torch.stack(parts).sum()
    return _HeadLoss.apply(hidden, weight, labels)
