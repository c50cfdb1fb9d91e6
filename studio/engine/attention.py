"""Attention over rows that lie end to end in one sequence: each row sees itself only."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from transformers import AttentionInterface

from studio.engine.sizes import rounded

NAME = "studio_rows"
"""What `model.set_attn_implementation` is given. It has no mask function, so transformers builds no dense mask."""
_BLOCK = 256
"""Queries whose scores exist at once."""
KEPT = 512
"""Tokens up to which a row's shares are held for the backward pass; those of longer rows are made again, since they
grow with the square of the length."""


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
    come through the model's forward. Returns (1, tokens, heads, head size): zeros for tokens behind the last row.
    """
    lengths = tuple(row_lengths) or (query.shape[2],)
    behind = query.shape[2] - sum(lengths)
    if len(query) > 1 or behind < 0 or query.shape[2] != key.shape[2]:
        raise ValueError(f"Rows of {lengths} tokens in queries {query.shape} and keys {key.shape}")
    windowed = sliding_window is not None and max(lengths) > sliding_window
    alike = query.shape[-1] == value.shape[-1]  # not in multi-head latent attention
    if query.device.type == "cpu" and alike and not windowed and not dropout:
        # On a CPU in a quarter to a third of the time of its flash kernel in bfloat16.
        # Under autocast queries and keys are float32 where they were rotated, and values are not.
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        out: torch.Tensor = _ByProducts.apply(
            query.to(value.dtype), key.to(value.dtype), value, lengths, scale
        )
        return out, None
    grouped = key.shape[1] != query.shape[1]
    outputs = []
    parts = (*lengths, behind) if behind else lengths
    rows = zip(query.split(parts, 2), key.split(parts, 2), value.split(parts, 2), strict=True)
    for length, (q, k, v) in zip(lengths, rows, strict=False):
        banded = sliding_window is not None and length > sliding_window
        mask = _band(length, sliding_window, query.device) if sliding_window and banded else None
        outputs.append(
            functional.scaled_dot_product_attention(
                q, k, v, mask, dropout, is_causal=mask is None, scale=scaling, enable_gqa=grouped
            )
        )
    if behind:
        outputs.append(query.new_zeros((*outputs[0].shape[:2], behind, outputs[0].shape[3])))
    return torch.cat(outputs, 2).transpose(1, 2), None


class _Block(NamedTuple):
    """Queries of a row, and the keys that they may look at: those from the row's start to the last of the queries.

    Computed with are as many as make up a rounded length: what lies behind the row, of others or of none. Their keys
    come later than its queries, which therefore do not look at them. What they would see themselves is not written
    down, and is given no gradient.
    """

    queries: slice
    keys: slice
    real: int
    """Of the queries, those that are the row's."""
    ends_row: bool
    kept: bool

    @property
    def own(self) -> slice:
        return slice(self.queries.start, self.queries.start + self.real)

    @property
    def own_keys(self) -> slice:
        return slice(self.keys.start, self.own.stop)


def _blocks(lengths: tuple[int, ...], tokens: int) -> list[_Block]:
    blocks, start = [], 0
    for length in lengths:
        end, wide = start + length, min(start + rounded(length), tokens)
        for first in range(start, end, _BLOCK):
            last = min(first + _BLOCK, wide)
            real = min(last, end) - first
            blocks.append(
                _Block(slice(first, last), slice(start, last), real, first + real == end, length <= KEPT)
            )
        start = end
    return blocks


class _ByProducts(torch.autograd.Function):
    """Causal attention as two batched products each way, a block of queries at a time.

    With Q scaled: P = softmax(Q K' where not later), O = P V; dV = P' dO, dS = P * (dP - rowsum(P dP)) with dP = dO V',
    dQ = dS K, dK = dS' Q. Heads that share a key are stacked along the positions, so that no key or value is copied,
    and the sums over such heads are the products' own. All blocks write into one output and into one of each gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, lengths: tuple[int, ...], scaling: float
    ) -> torch.Tensor:
        out = _by_position(q, sum(lengths))
        kept = []
        for block in _blocks(lengths, q.shape[2]):
            shares = _shares(_stacked(q, block, k.shape[1], scaling), k, block)
            seen = torch.bmm(shares, v[0, :, block.keys])
            out[0, :, block.own].copy_(seen.view(q.shape[1], -1, q.shape[-1])[:, : block.real])
            if block.kept:
                kept.append(shares)
        ctx.save_for_backward(q, k, v, *kept)
        ctx.lengths, ctx.scaling = lengths, scaling
        return out.transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        q, k, v, *kept = ctx.saved_tensors
        grad = grad.transpose(1, 2)
        grad_q, grad_k, grad_v = (_by_position(one, sum(ctx.lengths)) for one in (q, k, v))
        # From the last on: the last block of a row is the one that has looked at all of its keys.
        for block in reversed(_blocks(ctx.lengths, q.shape[2])):
            stacked = _stacked(q, block, k.shape[1], ctx.scaling)
            shares = kept.pop() if block.kept else _shares(stacked, k, block)
            given = _stacked(grad, block, k.shape[1])
            given.view(q.shape[1], -1, q.shape[-1])[:, block.real :].zero_()
            grad_shares = torch.bmm(given, v[0, :, block.keys].transpose(1, 2))
            grad_scores = torch._softmax_backward_data(grad_shares, shares, -1, shares.dtype)
            grad_stacked = torch.bmm(grad_scores, k[0, :, block.keys]).mul_(ctx.scaling)
            grad_q[0, :, block.own].copy_(grad_stacked.view(q.shape[1], -1, q.shape[-1])[:, : block.real])
            write = torch.Tensor.copy_ if block.ends_row else torch.Tensor.add_
            own, count = block.own_keys, block.own_keys.stop - block.own_keys.start
            write(grad_k[0, :, own], torch.bmm(grad_scores.transpose(1, 2), stacked)[:, :count])
            write(grad_v[0, :, own], torch.bmm(shares.transpose(1, 2), given)[:, :count])
        return grad_q, grad_k, grad_v, None, None


def _by_position(like: torch.Tensor, written: int) -> torch.Tensor:
    """Room for what has this shape, (1, heads, tokens, size), with a position's heads side by side in memory: zeros
    behind the first `written` tokens."""
    room = like.new_empty(like.transpose(1, 2).shape).transpose(1, 2)
    room[0, :, written:].zero_()
    return room


def _stacked(x: torch.Tensor, block: _Block, key_heads: int, scaling: float = 1.0) -> torch.Tensor:
    """A block's queries times the scaling: (key heads, queries of all heads that share the key, size)."""
    part = x[0, :, block.queries]
    stacked = torch.mul(part, scaling, out=part.new_empty(part.shape))
    return stacked.view(key_heads, -1, x.shape[-1])


def _shares(stacked: torch.Tensor, k: torch.Tensor, block: _Block) -> torch.Tensor:
    """How much of each key a query takes: (key heads, queries of all heads that share the key, keys)."""
    scores = torch.bmm(stacked, k[0, :, block.keys].transpose(1, 2))
    count = block.queries.stop - block.queries.start
    scores.view(-1, count, scores.shape[-1])[..., -count:].add_(_later(_BLOCK, k.dtype)[:count, :count])
    return functional.softmax(scores, -1)


@cache
def _later(count: int, dtype: torch.dtype) -> torch.Tensor:
    """What is added to the scores of so many positions: minus infinity where a key comes after its query."""
    return torch.full((count, count), -torch.inf, dtype=dtype).triu_(1)


def _band(length: int, window: int, device: torch.device) -> torch.Tensor:
    """True where a position may look: itself and the `window - 1` before it."""
    positions = torch.arange(length, device=device)
    distance = positions[:, None] - positions[None, :]
    return (distance >= 0) & (distance < window)


def register() -> None:
    """Make the function known to transformers under `NAME`; doing so again changes nothing."""
    AttentionInterface.register(NAME, rows_attention)
