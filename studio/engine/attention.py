"""Attention over rows that lie end to end in one sequence: each row sees itself only, and nothing is padded."""

from __future__ import annotations

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
        if length <= _SHORT and query.device.type == "cpu" and not windowed:
            outputs.append(_by_products(q, k, v, scaling or q.shape[-1] ** -0.5, dropout))
            continue
        mask = _band(length, sliding_window, query.device) if sliding_window and windowed else None
        outputs.append(
            functional.scaled_dot_product_attention(
                q, k, v, mask, dropout, is_causal=mask is None, scale=scaling, enable_gqa=grouped
            )
        )
    return torch.cat(outputs, 2).transpose(1, 2), None


def _by_products(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scaling: float, dropout: float
) -> torch.Tensor:
    """The same as two batched products, which on a CPU take a third of the time of its flash kernel for short rows.

    Heads that share a key are stacked along the positions, so that no key or value is copied.
    """
    heads, length, size = q.shape[1:]
    groups = k.shape[1]
    stacked = (q * scaling).reshape(groups, -1, size)
    scores = torch.bmm(stacked, k[0].transpose(1, 2)).view(heads, length, length)
    later = torch.ones(length, length, dtype=torch.bool, device=q.device).triu_(1)
    shares = functional.softmax(scores.masked_fill(later, -torch.inf), -1, dtype=torch.float32).to(v.dtype)
    shares = functional.dropout(shares, dropout) if dropout else shares
    return torch.bmm(shares.view(groups, -1, length), v[0]).view(1, heads, length, size)


def _band(length: int, window: int, device: torch.device) -> torch.Tensor:
    """True where a position may look: itself and the `window - 1` before it."""
    positions = torch.arange(length, device=device)
    distance = positions[:, None] - positions[None, :]
    return (distance >= 0) & (distance < window)


def register() -> None:
    """Make the function known to transformers under `NAME`; doing so again changes nothing."""
    AttentionInterface.register(NAME, rows_attention)
