"""Many answers written at once: every pass reads the weights once, for the next tokens of all rows.

Rows lie end to end in one sequence without padding, as in training, and each keeps keys and values of its own, so a
row's answer does not depend on those beside it: linear layers give each token the same numbers however many there are
(in bfloat16 on a CPU from `narrow.exact_from` tokens on, up to which a pass is filled up; for float32 see `_passes` and
`Narrow`), and attention is computed row by row.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from transformers import AttentionInterface

from studio.domain.answer import Side
from studio.engine.adapter_rows import FLOAT32_TOKENS, Stretch
from studio.engine.narrow import Narrow, exact_from, filled

if TYPE_CHECKING:
    from studio.engine.tuned import Pair

NAME = "studio_decoding"
"""Of the attention of this module, by which transformers knows it."""
READ = 1024
"""Tokens of prompts that are read in one pass; between passes a stop is heard, and rows that write go on."""
_SPARE = 64
"""Tokens by which a row's memory grows at least."""
_SAME = 0.05
"""Mean divergence in nats up to which two ways of computing the next token count as one; rounding gives 0.001."""


class RowCache:
    """Keys and values of what one row has read, layer by layer, (1, heads, tokens, head size) each."""

    def __init__(self) -> None:
        self.length = 0
        """Tokens that were read before the present pass."""
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def add(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep a layer's new ones; returns all of them, the new ones last."""
        end = self.length + key.shape[2]
        if layer not in self._kept or self._kept[layer][0].shape[2] < end:
            self._kept[layer] = (self._grown(layer, 0, key, end), self._grown(layer, 1, value, end))
        keys, values = self._kept[layer]
        keys[:, :, self.length : end] = key
        values[:, :, self.length : end] = value
        return keys[:, :, :end], values[:, :, :end]

    def add_one(
        self, layer: int, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `add`, of one new token, (heads, head size) each."""
        kept = self._kept.get(layer)
        if kept is None or kept[0].shape[2] <= self.length:
            return self.add(layer, key[None, :, None], value[None, :, None])
        keys, values = kept
        keys[0].select(1, self.length).copy_(key)
        values[0].select(1, self.length).copy_(value)
        return keys.narrow(2, 0, self.length + 1), values.narrow(2, 0, self.length + 1)

    def _grown(self, layer: int, which: int, new: torch.Tensor, end: int) -> torch.Tensor:
        grown = new.new_empty((*new.shape[:2], end + max(_SPARE, end // 2), new.shape[3]))
        if layer in self._kept:
            grown[:, :, : self.length] = self._kept[layer][which][:, :, : self.length]
        return grown


@dataclass(eq=False)
class Row:
    """A prompt and what was added to it, of which `pending` is what the model has not read yet."""

    side: Side
    pending: list[int]
    cache: Any = None


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    caches: Sequence[RowCache] = (),
    row_lengths: Sequence[int] = (),
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of each row's new tokens over all that the row has read.

    `query` is (1, heads, new tokens of all rows, head size); returns (1, new tokens, heads, head size).
    """
    layer: Any = module
    scale = scaling or query.shape[-1] ** -0.5
    lengths = list(row_lengths)
    if len(lengths) == query.shape[2]:
        return _written(query, key, value, scale, caches, layer.layer_idx, sliding_window), None
    outputs = []
    new = zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True)
    for number, (q, k, v) in enumerate(new):
        if number < len(caches):  # what follows the last row fills up a pass
            k, v = caches[number].add(layer.layer_idx, k, v)
        outputs.append(_row(q, k, v, scale, sliding_window))
    return torch.cat(outputs, 2).transpose(1, 2), None


def _written(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    caches: Sequence[RowCache],
    layer: int,
    window: int | None,
) -> torch.Tensor:
    """As `attend`, of one new token a row: what can be done for all rows at once is, as calls cost more than sums.

    Heads that share a key are stacked as if they were tokens, so that none is copied.
    """
    heads, rows, size = query.shape[1:]
    stacked = query[0].transpose(0, 1).reshape(rows, 1, key.shape[1], -1, size).unbind(0)
    new = zip(stacked, key[0].unbind(1), value[0].unbind(1), strict=True)
    outputs = []
    for number, (q, k, v) in enumerate(new):
        if number < len(caches):
            keys, values = caches[number].add_one(layer, k, v)
        else:  # what follows the last row fills up a pass
            keys, values = k[None, :, None], v[None, :, None]
        if window is not None and keys.shape[2] > window:
            keys, values = keys[:, :, -window:], values[:, :, -window:]
        outputs.append(functional.scaled_dot_product_attention(q, keys, values, scale=scale))
    return torch.cat(outputs).view(1, rows, heads, size)


def _row(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, window: int | None) -> torch.Tensor:
    new, seen = q.shape[2], k.shape[2]
    if window is not None and seen > window + new - 1:
        k, v = k[:, :, -(window + new - 1) :], v[:, :, -(window + new - 1) :]
        seen = k.shape[2]
    if new == 1:
        stacked = q.reshape(1, k.shape[1], -1, q.shape[-1])
        return functional.scaled_dot_product_attention(stacked, k, v, scale=scale).view(q.shape)
    places = torch.arange(seen - new, seen, device=q.device)[:, None] - torch.arange(seen, device=q.device)
    visible = (places >= 0) if window is None else (places >= 0) & (places < window)
    return functional.scaled_dot_product_attention(
        q, k, v, visible, scale=scale, enable_gqa=k.shape[1] != q.shape[1]
    )


AttentionInterface.register(NAME, attend)


class Decoder:
    """Reads on in rows of any of a pair's sides."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair

    def advance(self, rows: Sequence[Row]) -> list[torch.Tensor | None]:
        """Read on in all rows; the logits after the last token of those that are read to their end, None for others.

        Logits are (vocabulary,), float32, on the CPU, so that drawing from them is the same on every device.
        """
        found: dict[int, torch.Tensor] = {}
        with torch.inference_mode():
            for model in self._pair.models:
                asked = (row for row in rows if row.pending and self._pair.sides[row.side] is model)
                own = sorted(asked, key=self._order)
                if own:
                    found |= self._read(model, own)
        return [found.get(id(row)) for row in rows]

    def _order(self, row: Row) -> int:
        """That of the adapters in a layer, the base first: what lies side by side is not copied to be multiplied."""
        return next((place for place, side in enumerate(self._pair.adapters, 1) if side == row.side), 0)

    def _read(self, model: Any, rows: Sequence[Row]) -> dict[int, torch.Tensor]:
        if not is_exact(self._pair, model):
            return self._one_by_one(rows)
        found: dict[int, torch.Tensor] = {}
        for parts in _passes(rows, alone=model.dtype == torch.float32):
            logits = self._forward(model, parts)
            for row, part in parts:
                row.cache.length += len(part)
                row.pending = row.pending[len(part) :]
            done = (row for row, _ in parts if not row.pending)
            found |= {id(row): of_row for row, of_row in zip(done, logits, strict=True)}
        return found

    def _forward(self, model: Any, parts: Sequence[Part]) -> torch.Tensor:
        """Logits (rows that are read to their end, vocabulary)."""
        for row, _ in parts:
            row.cache = row.cache or RowCache()
        lengths = [len(part) for _, part in parts]
        ends = list(accumulate(lengths))
        ids = [token for _, part in parts for token in part]
        places = [row.cache.length + place for row, part in parts for place in range(len(part))]
        wanted = [
            end - 1 for (row, part), end in zip(parts, ends, strict=True) if len(part) == len(row.pending)
        ]
        narrow = self._narrow(model) if len(ids) == len(parts) else None
        if model.dtype == torch.float32:
            more = filled(len(ids)) - len(ids) if narrow else max(0, FLOAT32_TOKENS - len(ids))
        else:
            more = max(0, self._fewest(model) - len(ids))
        if more:
            lengths.append(more)
            ids, places = ids + [0] * more, places + [0] * more
        stretches = [
            Stretch(end - length, end, self._pair.adapters.get(row.side))
            for (row, _), length, end in zip(parts, lengths, ends, strict=False)
        ]
        with self._pair.by_row(stretches), _attention(model), narrow.few() if narrow else nullcontext():
            output = model(
                input_ids=torch.tensor([ids], device=self._pair.device),
                position_ids=torch.tensor([places], device=self._pair.device),
                use_cache=False,
                caches=[row.cache for row, _ in parts],
                row_lengths=lengths,
                logits_to_keep=torch.tensor(wanted, dtype=torch.long, device=self._pair.device),
            )
        return output.logits[0].float().cpu()

    def _narrow(self, model: Any) -> Narrow | None:
        """How the model's rows write; None where its numbers are no float32 on a CPU, and any count is exact."""
        if model.dtype != torch.float32 or self._pair.device != "cpu":
            return None
        if id(model) not in self._pair.narrow:
            self._pair.narrow[id(model)] = Narrow(model)
        found = self._pair.narrow[id(model)]
        return found if found.works else None

    def _fewest(self, model: Any) -> int:
        """Tokens that a pass has at least; on a GPU kernels are chosen by their number in any case."""
        if self._pair.device != "cpu":
            return 1
        if id(model) not in self._pair.fewest:
            self._pair.fewest[id(model)] = min(exact_from(model), FLOAT32_TOKENS)
        return self._pair.fewest[id(model)]

    def _one_by_one(self, rows: Sequence[Row]) -> dict[int, torch.Tensor]:
        """With the model's own attention and memory."""
        found = {}
        for row in rows:
            part, row.pending = row.pending[:READ], row.pending[READ:]
            logits, row.cache = self._pair.logits(row.side, part, row.cache)
            if not row.pending:
                found[id(row)] = logits[-1]
        return found


Part = tuple[Row, list[int]]
"""A row, and what is read of it in one pass."""


def _passes(rows: Sequence[Row], *, alone: bool) -> list[list[Part]]:
    """The next token of every row that writes, and of prompts up to `READ` tokens in all.

    A prompt is always cut at the same places, whatever is read beside it: attention adds up numbers in an order that
    depends on how many tokens come at once. In float32 linear layers do so too, so a prompt is read `alone` there.
    """
    writing = [(row, row.pending) for row in rows if len(row.pending) == 1]
    prompts, room = list[Part](), READ
    for row in rows:
        part = row.pending[:READ]
        if 1 < len(part) <= room:
            prompts.append((row, part))
            room -= len(part)
    if not alone:
        places = {id(row): place for place, row in enumerate(rows)}
        return [sorted(writing + prompts, key=lambda part: places[id(part[0])])]
    return [*([part] for part in prompts), *([writing] if writing else [])]


@contextmanager
def _attention(model: Any) -> Iterator[None]:
    """Attention by rows as long as it lasts; `set_attn_implementation` would walk all modules, once a token."""
    own, model.config._attn_implementation = model.config._attn_implementation, NAME
    try:
        yield
    finally:
        model.config._attn_implementation = own


def is_exact(pair: Pair, model: Any) -> bool:
    """Whether this architecture can be read by rows; tried once, on two short made-up rows read in two parts.

    A model whose attention does not go through transformers' interface would let a row see its neighbour; one that
    transformers has no `sdpa` for caps its scores (Gemma 2) or has sinks (gpt-oss), which ours does not.
    """
    if id(model) not in pair.by_rows:
        pair.by_rows[id(model)] = True  # for the trial itself
        pair.by_rows[id(model)] = _try(pair, model)
    return pair.by_rows[id(model)]


def _try(pair: Pair, model: Any) -> bool:
    parameters = inspect.signature(model.forward).parameters
    if model.config._attn_implementation != "sdpa" or "logits_to_keep" not in parameters:
        return False
    if hasattr(model.get_output_embeddings(), "base_layer"):
        return False  # an adapter there sees fewer tokens than the stretches tell of
    side = next(side for side in pair.sides if pair.sides[side] is model)
    known = model.get_input_embeddings().weight.shape[0]
    prompts = [[(7 * place + start) % known for place in range(5)] for start in (3, 11)]
    rows = [Row(side, prompt[:-1]) for prompt in prompts]
    decoder = Decoder(pair)
    try:
        while any(row.pending for row in rows):
            decoder.advance(rows)
        for row, prompt in zip(rows, prompts, strict=True):
            row.pending = prompt[-1:]
        found = decoder.advance(rows)
    except (TypeError, RuntimeError, AttributeError, KeyError):
        return False
    wanted = [pair.logits(side, prompt)[0][-1] for prompt in prompts]
    return all(
        logits is not None and _divergence(own, logits) < _SAME
        for logits, own in zip(found, wanted, strict=True)
    )


def _divergence(own: torch.Tensor, other: torch.Tensor) -> float:
    ours, theirs = own.log_softmax(-1), other.log_softmax(-1)
    return float((ours.exp() * (ours - theirs)).sum())
