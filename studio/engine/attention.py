"""Attention over rows that lie end to end in one sequence: each row sees itself only, and nothing is padded."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface

NAME = "studio_rows"
"""What `model.set_attn_implementation` is given. It has no mask function, so transformers builds no dense mask."""
_SHORT = 256
"""Tokens up to which a row's scores are held as a whole; beyond it they would take more memory than they save time."""


def rows_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    row_lengths: tuple[int, ...] = (),
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each row.

    `query` is (1, heads, tokens, head size), `key` and `value` the same with their own number of heads; `row_lengths`
    sum to tokens and come through the model's forward. Returns (1, tokens, heads, head size).
    """
    lengths = list(row_lengths) or [query.shape[2]]
    grouped = key.shape[1] != query.shape[1]
    outputs = []
    rows = zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True)
    for length, (q, k, v) in zip(lengths, rows, strict=True):
        windowed = sliding_window is not None and length > sliding_window
        if length <= _SHORT and query.device.type == "cpu" and not windowed and not dropout:
            # On a CPU in a third of the time of its flash kernel.
            # Under autocast queries and keys are float32 where they were rotated, and values are not.
            scale = scaling or q.shape[-1] ** -0.5
            outputs.append(_ByProducts.apply(q.to(v.dtype), k.to(v.dtype), v, scale))
            continue
        mask = _band(length, sliding_window, query.device) if sliding_window and windowed else None
        outputs.append(
            functional.scaled_dot_product_attention(
                q, k, v, mask, dropout, is_causal=mask is None, scale=scaling, enable_gqa=grouped
            )
        )
    return torch.cat(outputs, 2).transpose(1, 2), None


class _ByProducts(torch.autograd.Function):
    """Causal attention of one row as two batched products each way; of L x L scores only the shares P are kept.

    With Q scaled: P = softmax(Q K' where not later), O = P V; dV = P' dO, dS = P * (dP - rowsum(P dP)) with dP = dO V',
    dQ = dS K, dK = dS' Q. Heads that share a key are stacked along the positions, so that no key or value is copied,
    and the sums over such heads are the products' own.
    """

    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scaling: float) -> torch.Tensor:
        heads, length, size = q.shape[1:]
        stacked = (q * scaling).reshape(len(k[0]), -1, size)
        scores = torch.bmm(stacked, k[0].transpose(1, 2)).view(heads, length, length)
        scores.add_(_later(q.device, q.dtype)[:length, :length])
        shares = functional.softmax(scores, -1).view(len(k[0]), -1, length)
        ctx.save_for_backward(stacked, k, v, shares)
        ctx.scaling = scaling
        return torch.bmm(shares, v[0]).view(1, heads, length, size)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        stacked, k, v, shares = ctx.saved_tensors
        given = grad.reshape(stacked.shape)
        grad_v = torch.bmm(shares.transpose(1, 2), given)
        grad_shares = torch.bmm(given, v[0].transpose(1, 2))
        grad_scores = torch._softmax_backward_data(grad_shares, shares, -1, shares.dtype)
        grad_q = torch.bmm(grad_scores, k[0]).mul_(ctx.scaling).view(grad.shape)
        return grad_q, torch.bmm(grad_scores.transpose(1, 2), stacked)[None], grad_v[None], None


@cache
def _later(device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """What is added to the scores of up to `_SHORT` positions: minus infinity where a key comes after its query."""
    return torch.full((_SHORT, _SHORT), -torch.inf, device=device, dtype=dtype).triu_(1)


def _band(length: int, window: int, device: torch.device) -> torch.Tensor:
    """True where a position may look: itself and the `window - 1` before it."""
    positions = torch.arange(length, device=device)
    distance = positions[:, None] - positions[None, :]
    return (distance >= 0) & (distance < window)


def register() -> None:
    """Make the function known to transformers under `NAME`; doing so again changes nothing."""
    AttentionInterface.register(NAME, rows_attention)
