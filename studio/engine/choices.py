"""What a model thought of each token of its answer: how likely it was, and what it would have said instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from studio.domain.answer import Side

if TYPE_CHECKING:
    from studio.engine.tokenizer import Tokenizer
    from studio.engine.tuned import Pair

OTHERS = 4
"""Alternatives that are told of each token."""
_PART = 128
"""Tokens read at once: their logits are of the whole vocabulary each."""


@dataclass(frozen=True)
class Likely:
    """A token's text, and its probability from 0 to 1."""

    text: str
    probability: float


@dataclass(frozen=True)
class Choice:
    """A token of an answer among those that could have stood there, the likeliest of them first."""

    chosen: Likely
    others: tuple[Likely, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Choice:
        return cls(Likely(**data["chosen"]), tuple(Likely(**other) for other in data["others"]))


def choices(
    pair: Pair, tokenizer: Tokenizer, side: Side, prompt: Sequence[int], answer: Sequence[int]
) -> list[Choice]:
    """Of each token of `answer`, which follows on `prompt`: the model's own probabilities.

    Temperature and top-p are not in them: they shape what is drawn, and not what the model holds for likely.
    """
    found: list[Choice] = []
    logits, cache = pair.logits(side, list(prompt))
    for start in range(0, len(answer), _PART):
        part = list(answer[start : start + _PART])
        following, cache = pair.logits(side, part, cache, last=len(part))
        before = [logits[-1], *following[:-1]]
        for token, scores in zip(part, before, strict=True):
            found.append(_choice(tokenizer, token, scores.softmax(-1)))
        logits = following
    return found


def _choice(tokenizer: Tokenizer, token: int, probabilities: Any) -> Choice:
    def likely(one: int) -> Likely:
        return Likely(tokenizer.token(one), float(probabilities[one]))

    best = probabilities.topk(min(OTHERS + 1, len(probabilities))).indices.tolist()
    return Choice(likely(token), tuple(likely(one) for one in best if one != token)[:OTHERS])
