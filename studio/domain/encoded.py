"""What the model sees of a row, and which of it is trained."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from studio.domain.text import Text

IGNORED = -100
"""The label that takes a position out of the loss (PyTorch's `cross_entropy` default `ignore_index`)."""

Hazard = Literal[
    "refused",
    "left_out",
    "nothing_trained",
    "no_end_token",
    "unended_text",
    "empty_answer",
    "prompt_fills_length",
    "answer_cut",
    "doubled_bos",
    "missing_bos",
    "special_text",
    "mark_in_words",
    "merged_border",
    "unknown_token",
    "not_shown",
    "stripped",
    "systems_joined",
    "system_merged",
    "turns_merged",
    "unlike_chat",
    "split",
]
"""What can be wrong, or was mended, in how a row becomes tokens; `studio.engine.hazards` says what each means."""


_NONE = array("i")


@dataclass(frozen=True, slots=True)
class Encoded:
    """One conversation as token ids with labels.

    `input_ids` and `labels` have one entry a token and end where `max_length` cut them; `labels` holds the id where the
    token is trained and `IGNORED` where it is masked. `cut_ids` are the ids that fell off the end. Whatever they are
    given as, they are kept as arrays of 32-bit integers, as a large set would fill the memory as tuples; nobody changes
    them. `spans` are the (start, end) characters of `text` that each token stands for, over kept and cut tokens alike.
    Both are empty where many rows were encoded at once, as only a view needs them.
    """

    input_ids: Sequence[int]
    labels: Sequence[int]
    spans: tuple[tuple[int, int], ...]
    text: str
    row: int = 0
    cut_ids: Sequence[int] = ()
    cut_trained: int = 0
    """How many of the cut tokens would have been trained."""
    end_token_trained: bool = True
    """Whether the token that ends the last response is among the trained ones."""
    hazards: tuple[Hazard, ...] = ()
    """What was found in the row, each once."""
    problem: Text | None = None
    """Why the row could not be encoded at all: the template refuses it; then there are no ids."""

    def __post_init__(self) -> None:
        for name in ("input_ids", "labels", "cut_ids"):
            ids = getattr(self, name)
            if type(ids) is not array:
                object.__setattr__(self, name, array("i", ids) if ids else _NONE)

    @property
    def total(self) -> int:
        return len(self.input_ids)

    @property
    def trained(self) -> int:
        """Positions that enter the loss. The first label is never predicted, so it never counts."""
        labels = self.labels[1:]
        return len(labels) - labels.count(IGNORED)

    @property
    def truncated(self) -> bool:
        return bool(self.cut_ids)
