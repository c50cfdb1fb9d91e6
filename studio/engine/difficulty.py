"""Instruction-following difficulty: how much a prompt helps a model to foresee the response.

The mean loss of the response's tokens with the prompt, over that without it (Li et al. 2023, arXiv:2308.12032). Near 0
the prompt tells nearly all; at 1 or more it does not help, so that the two may not belong together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from studio.domain.chat import Conversation, Message
from studio.domain.config import TemplateConfig
from studio.domain.finding import Finding, finding
from studio.engine.encode import Encoder
from studio.engine.token_losses import batches, summed_losses

if TYPE_CHECKING:
    from studio.engine.tuned import Pair

LIMIT = 1.0
"""From this ratio on the prompt does not help."""
LONGEST = 1024
"""Tokens of a row that are looked at."""

Progress = Callable[[float, float], None]
"""Called with the rows done, and of all; may raise Stopped."""


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Of one row: mean losses of its last response's tokens in nats, with its prompt and without it."""

    row: int
    given_prompt: float
    alone: float

    @property
    def ratio(self) -> float:
        return self.given_prompt / self.alone if self.alone > 0 else 1.0


def difficulties(
    pair: Pair,
    encoder: Encoder,
    conversations: Sequence[Conversation],
    progress: Progress = lambda done, total: None,
) -> list[Difficulty]:
    """One for each conversation whose last response can be measured, in order; the encoder's template and tokenizer are
    used, and of its choices none but that the last response alone counts.

    Without its prompt means with an empty one: the same template, and the same tokens of the response.
    """
    last_only = Encoder(encoder.template, encoder.tokenizer, TemplateConfig(turns="last"))
    longest = min(LONGEST, pair.context)
    asked = [(item, _without_prompt(item)) for item in conversations]
    pairs = [(item, other) for item, other in asked if other is not None]
    full = last_only.encode_many([item for item, _ in pairs], longest)
    bare = last_only.encode_many([other for _, other in pairs], longest)
    measurable = [place for place in range(len(pairs)) if full[place].trained and bare[place].trained]
    rows = [row for place in measurable for row in (full[place], bare[place])]
    losses = [0.0] * len(rows)
    done = 0
    for batch in batches(rows):
        progress(done / 2, len(measurable))
        part = [rows[place] for place in batch]
        for place, row, loss in zip(batch, part, summed_losses(pair, "base", part), strict=True):
            losses[place] = loss / row.trained
        done += len(batch)
    progress(len(measurable), len(measurable))
    return [
        Difficulty(pairs[place][0].row, losses[2 * index], losses[2 * index + 1])
        for index, place in enumerate(measurable)
    ]


def about_difficulty(found: Sequence[Difficulty], model: str) -> list[Finding]:
    """Names the rows whose prompt does not help."""
    rows = [item.row for item in found if item.ratio >= LIMIT]
    if not rows:
        return []
    return [
        finding(
            "prompt_does_not_help",
            "relevance",
            "info",
            rows,
            "Rows whose response {model} foresees no better with its prompt than without: {count}, such as row {row}.",
            "Look whether prompt and response belong together; a short or free answer may be right all the same.",
            model=model,
            row=rows[0],
        )
    ]


def _without_prompt(conversation: Conversation) -> Conversation | None:
    """The last response alone after an empty prompt; None where there is none."""
    last = conversation.messages[-1] if conversation.messages else None
    if last is None or last.role != "assistant" or not last.content.strip():
        return None
    return replace(conversation, messages=(Message("user", ""), replace(last, trained=True)), tools=())
