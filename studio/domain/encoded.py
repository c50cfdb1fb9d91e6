"""What the model sees of a row, and which of it is trained."""

from __future__ import annotations

from dataclasses import dataclass

IGNORED = -100
"""The label that takes a position out of the loss (PyTorch's `cross_entropy` default `ignore_index`)."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One conversation as token ids with labels.

    `input_ids` and `labels` have one entry a token and end where `max_length` cut them; `labels` holds the id where the
    token is trained and `IGNORED` where it is masked. `cut_ids` are the ids that fell off the end. `spans` are the
    (start, end) characters of `text` that each token stands for, over kept and cut tokens alike.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    text: str
    row: int = 0
    cut_ids: tuple[int, ...] = ()
    cut_trained: int = 0
    """How many of the cut tokens would have been trained."""
    end_token_trained: bool = True
    """Whether the token that ends the last response is among the trained ones."""

    @property
    def total(self) -> int:
        return len(self.input_ids)

    @property
    def trained(self) -> int:
        """Positions that enter the loss. The first label is never predicted, so it never counts."""
        return sum(label != IGNORED for label in self.labels[1:])

    @property
    def truncated(self) -> bool:
        return bool(self.cut_ids)
