"""What is asked of a model in a chat, and its answer as it comes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Side = str
"""Who answers: BASE or TUNED, or a run or checkpoint beside them by its name, as `domain/beside.py` writes it."""
BASE: Side = "base"
TUNED: Side = "tuned"
SIDES: tuple[Side, ...] = (BASE, TUNED)
"""What every run has."""

StopReason = Literal["", "end", "length", "context", "stopped"]
"""'end': the model ended its turn. 'length': the most tokens were reached. 'context': the model's context was full."""


@dataclass(frozen=True)
class ChatSettings:
    """How the next token is chosen; the same seed and settings give the same answer."""

    seed: int = 0
    temperature: float = 0.7
    """0 takes the likeliest token each time."""
    top_p: float = 0.9
    """Only the likeliest tokens that together have this probability are drawn from."""
    max_new_tokens: int = 256


@dataclass(frozen=True)
class Piece:
    """The next words of one side's answer; `text` may be empty. The last piece of a side has `done` and says why."""

    side: Side = ""
    text: str = ""
    done: bool = False
    tokens: int = 0
    """Of the answer so far, its end token not counted."""
    seconds: float = 0.0
    """Since the model began to read the prompt."""
    stop_reason: StopReason = ""
    phase: Literal["", "waiting", "loading"] = ""
    """Set on pieces that belong to no side: waiting for another answer to end, or loading the model."""
    share: float = 0.0
    """Of the loading (`domain/loading.py`)."""
    ids: tuple[int, ...] = ()
    """The tokens that came since the last piece, the end token among them."""
    prompt_tokens: int = 0


@dataclass(frozen=True)
class Answer:
    """One side's answer so far, put together from its pieces."""

    text: str = ""
    tokens: int = 0
    seconds: float = 0.0
    stop_reason: StopReason = ""
    ids: tuple[int, ...] = ()
    """Its tokens, with the end token where the model wrote one."""
    prompt_tokens: int = 0

    @property
    def done(self) -> bool:
        return self.stop_reason != ""

    def plus(self, piece: Piece) -> Answer:
        ids = (*self.ids, *piece.ids)
        return Answer(
            self.text + piece.text, piece.tokens, piece.seconds, piece.stop_reason, ids, piece.prompt_tokens
        )

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ids": list(self.ids)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Answer:
        return cls(**{**data, "ids": tuple(data["ids"])})
