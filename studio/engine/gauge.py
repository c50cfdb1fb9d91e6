"""What a run forgets, measured beside its loss on general rows that are never learnt.

Two figures, both against the model as the run began with it: the loss on general rows, and how far the model has moved
away from its own answers to their prompts. The second tells forgetting from the loss of a style: it needs no reference
answer, and it is zero at the start. It is the Kullback-Leibler divergence of the model now from the model then, a token
of answers drawn from the model then, over that model's `LIKELIEST` tokens and all others taken as one. So it is never
above the divergence over the whole vocabulary, and needs no second model in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from studio.domain.encoded import IGNORED, Encoded
from studio.domain.errors import Stopped
from studio.engine.general import ANSWER_TOKENS, General
from studio.engine.steps import micro_batches
from studio.engine.trainee import Trainee
from studio.engine.writing import written

LIKELIEST = 64
_TINY = 1e-9
"""Least probability of all other tokens together, so that it has a logarithm."""

ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class Gauged:
    """Nats a token: the loss on general rows' answers, and the divergence on the model's own."""

    loss: float
    divergence: float = 0.0


@dataclass(frozen=True)
class Gauge:
    """General rows, and what the model said about them when the run began."""

    rows: Sequence[Encoded]
    answers: Sequence[Encoded]
    """The model's own answers; their tokens are the trained ones."""
    likely: torch.Tensor
    """(answer tokens, `LIKELIEST`): ids of the likeliest tokens, one answer after the other."""
    log_probabilities: torch.Tensor
    """Of the same shape: what the model gave them."""
    start: Gauged
    """As it was when the run began."""

    @torch.no_grad()
    def measure(self, model: Trainee, size: int, should_stop: ShouldStop = lambda: False) -> Gauged:
        """`size` rows pass through the model at once. Raises Stopped once `should_stop()` is true."""
        loss, divergence, place = _loss(model, self.rows, size, should_stop), 0.0, 0
        for rows in micro_batches(self.answers, size):
            _heed(should_stop)
            for now in model.log_probabilities(model.collate(rows, fills=True)):
                part = slice(place, place + len(now))
                divergence += _divergence(self.log_probabilities[part], _at(now, self.likely[part]))
                place = part.stop
        return Gauged(loss, divergence / place)

    def save(self, file: Path) -> None:
        from safetensors.torch import save_file

        tensors = {
            "likely": self.likely,
            "log_probabilities": self.log_probabilities,
            "start": torch.tensor(self.start.loss, dtype=torch.float64),
        }
        for kind, rows in (("row", self.rows), ("answer", self.answers)):
            for number, row in enumerate(rows):
                tensors[f"{kind}/{number}/ids"] = torch.tensor(row.input_ids)
                tensors[f"{kind}/{number}/labels"] = torch.tensor(row.labels)
        save_file(tensors, file)


def begin(model: Trainee, general: General, size: int, seed: int, should_stop: ShouldStop) -> Gauge:
    """The gauge of a run at its start; the model is in evaluation mode. Raises Stopped once `should_stop()` is true."""
    answers = _answers(model, general, seed, should_stop)
    likely, probabilities = [], []
    for rows in micro_batches(answers, size):
        _heed(should_stop)
        for then in model.log_probabilities(model.collate(rows, fills=True)):
            top = then.topk(min(LIKELIEST, then.shape[-1]))
            likely.append(top.indices.cpu())
            probabilities.append(top.values.cpu())
    start = Gauged(_loss(model, general.gauged, size, should_stop))
    return Gauge(general.gauged, answers, torch.cat(likely), torch.cat(probabilities), start)


def load(file: Path) -> Gauge:
    """As it was saved."""
    from safetensors.torch import load_file

    found = load_file(file)

    def rows(kind: str) -> list[Encoded]:
        count = sum(name.startswith(f"{kind}/") for name in found) // 2
        places = [f"{kind}/{number}" for number in range(count)]
        return [
            Encoded(found[f"{place}/ids"].tolist(), found[f"{place}/labels"].tolist(), (), "", number)
            for number, place in enumerate(places)
        ]

    start = Gauged(float(found["start"]))
    return Gauge(rows("row"), rows("answer"), found["likely"], found["log_probabilities"], start)


@torch.no_grad()
def _loss(model: Trainee, rows: Sequence[Encoded], size: int, should_stop: ShouldStop) -> float:
    """Mean loss a trained token."""
    total = 0.0
    for part in micro_batches(rows, size):
        _heed(should_stop)
        total += float(model.loss(model.collate(part, fills=True)))
    return total / sum(row.trained for row in rows)


def _answers(model: Trainee, general: General, seed: int, should_stop: ShouldStop) -> list[Encoded]:
    """What the model answers, drawn at temperature 1, as rows that learn the answer."""
    said = written(model, general.prompts, ANSWER_TOKENS, general.stop_ids, should_stop, seed)
    return [
        Encoded([*prompt, *words], [IGNORED] * len(prompt) + [*words], (), "", number)
        for number, (prompt, words) in enumerate(zip(general.prompts, said, strict=True))
    ]


def _divergence(then: torch.Tensor, now: torch.Tensor) -> float:
    """Sum over positions of the divergence of `now` from `then`: log-probabilities of the likeliest tokens of then."""
    other_then, other_now = ((1 - logs.exp().sum(-1)).clamp(min=_TINY) for logs in (then, now))
    among = (then.exp() * (then - now)).sum(-1)
    return float((among + other_then * (other_then / other_now).log()).sum())


def _at(logs: torch.Tensor, likely: torch.Tensor) -> torch.Tensor:
    return logs.gather(1, likely.to(logs.device)).cpu()


def _heed(should_stop: ShouldStop) -> None:
    if should_stop():
        raise Stopped
