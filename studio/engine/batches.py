"""Encoded rows as the tensors of one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch

from studio.domain.encoded import IGNORED, Encoded
from studio.engine.sizes import filled_up, rounded


@dataclass(frozen=True)
class Batch:
    """Tensors for one forward pass.

    Packed: `input_ids` (1, tokens), rows end to end and maybe a filling behind them, `row_lengths` the rows' lengths,
    no mask. Padded: `input_ids` (rows, longest) with `attention_mask` the same. `positions` are indices into the
    flattened (rows x tokens) that predict a trained token, and `labels` those tokens.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    attention_mask: torch.Tensor | None
    row_lengths: tuple[int, ...]
    positions: torch.Tensor
    labels: torch.Tensor

    @property
    def tokens(self) -> int:
        """Real tokens, padding not counted."""
        return sum(self.row_lengths)

    @property
    def trained(self) -> int:
        return len(self.labels)


def collate(
    rows: Sequence[Encoded], *, packing: bool, pad_id: int, device: str, fills: bool = False
) -> Batch:
    """The rows' own ids and labels as tensors. A row's first token is never predicted from the row before it.

    With `fills` a packed sequence is filled up to one of few lengths (`studio.engine.sizes`).
    """
    lengths = tuple(row.total for row in rows)
    width = 0 if packing else max(lengths)
    ids: list[list[int]] = []
    places: list[list[int]] = []
    positions: list[int] = []
    labels: list[int] = []
    offset = 0
    for row in rows:
        padding = 0 if packing else width - row.total
        ids.append([*row.input_ids, *[pad_id] * padding])
        places.append([*range(row.total), *[0] * padding])
        for index in range(1, row.total):
            if row.labels[index] != IGNORED:
                positions.append(offset + index - 1)
                labels.append(row.labels[index])
        offset += row.total + padding
    mask = None
    filling = 0
    if packing and fills:
        starts = accumulate(lengths, initial=0)
        filling = (
            filled_up(max(start + rounded(n) for start, n in zip(starts, lengths, strict=False))) - offset
        )
    if packing:
        ids, places = (
            [[token for row_ids in ids for token in row_ids] + [pad_id] * filling],
            [[place for row in places for place in row] + [0] * filling],
        )
    else:
        mask = torch.tensor([[1] * length + [0] * (width - length) for length in lengths], device=device)
    return Batch(
        torch.tensor(ids, device=device),
        torch.tensor(places, device=device),
        mask,
        lengths,
        torch.tensor(positions, dtype=torch.long, device=device),
        torch.tensor(labels, dtype=torch.long, device=device),
    )
