"""The learning-rate range test: a throwaway adapter is trained at rates that grow from step to step.

Smith 2015 (arXiv:1506.01186): while the rate is too low the loss stands still, where it is right the loss falls fast,
and where it is too high the loss rises. The rate grows exponentially, so that each power of ten gets as many steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.domain.config import TrainConfig
from studio.domain.encoded import Encoded

LOWEST, HIGHEST = 1e-6, 1e-1
STEPS = 80
_MEMORY = 0.85
"""Share of the smoothed loss that is kept from step to step: it looks back over about seven."""
_EXPLODED = 1.5
"""Times the lowest smoothed loss, from which on nothing more is to be learnt."""
_SURE = 0.5
"""Nats that it has to be above that besides: a small loss is soon half as high again."""
_FELL = 0.02
"""Share of the loss at the start by which it has to fall before a rate is suggested."""
_AROUND = 3
"""Steps to either side over which the slope is measured."""

Progress = Callable[[float, float], None]
"""Called with the steps done, and of all; may raise Stopped."""


@dataclass(frozen=True)
class RangeTest:
    """Rates, the loss of the step at each (nats a trained token), and the same smoothed."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    exploded: bool
    """Whether it was ended early, because the loss exploded."""

    @property
    def smoothed(self) -> tuple[float, ...]:
        """The exponential moving average, unbiased at the start."""
        total = weight = 0.0
        found = []
        for loss in self.losses:
            total, weight = _MEMORY * total + (1 - _MEMORY) * loss, _MEMORY * weight + (1 - _MEMORY)
            found.append(total / weight)
        return tuple(found)

    @property
    def lowest(self) -> float | None:
        """The rate at which the smoothed loss is lowest; None where it never fell."""
        smoothed = self.smoothed
        place = min(range(len(smoothed)), key=smoothed.__getitem__)
        return self.rates[place] if smoothed[place] < (1 - _FELL) * self._start else None

    @property
    def steepest(self) -> float | None:
        """The rate at which the smoothed loss falls fastest over the logarithm of the rate; None as for `lowest`."""
        lowest = self.lowest
        if lowest is None:
            return None
        smoothed, end = self.smoothed, self.rates.index(lowest)
        # While the average has seen few steps, a single one moves it.
        places = range(min(_AROUND + 4, end), end + 1)

        def fall(place: int) -> float:
            first, last = max(0, place - _AROUND), min(len(smoothed) - 1, place + _AROUND)
            return (smoothed[first] - smoothed[last]) / max(1, last - first)

        return self.rates[max(places, key=fall)]

    @property
    def suggested(self) -> float | None:
        """The lower of the steepest and a third of the lowest, with one digit; None where the loss never fell."""
        if self.lowest is None or self.steepest is None:
            return None
        return float(f"{min(self.steepest, self.lowest / 3):.0e}")

    @property
    def _start(self) -> float:
        return self.smoothed[min(_AROUND + 4, len(self.losses) - 1)]

    def to_json(self) -> dict[str, Any]:
        return {
            "rates": list(self.rates),
            "losses": list(self.losses),
            "smoothed": list(self.smoothed),
            "exploded": self.exploded,
            "lowest": self.lowest,
            "steepest": self.steepest,
            "suggested": self.suggested,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RangeTest:
        return cls(tuple(data["rates"]), tuple(data["losses"]), data["exploded"])


def rates(steps: int) -> list[float]:
    """From the lowest to the highest, each the same multiple of the one before.

    >>> [f"{rate:.0e}" for rate in rates(6)]
    ['1e-06', '1e-05', '1e-04', '1e-03', '1e-02', '1e-01']
    """
    growth = (HIGHEST / LOWEST) ** (1 / (steps - 1))
    return [LOWEST * growth**step for step in range(steps)]


def range_test(
    model_path: Path,
    config: TrainConfig,
    rows: Sequence[Encoded],
    device: str,
    *,
    pad_id: int,
    steps: int = STEPS,
    progress: Progress = lambda done, total: None,
) -> RangeTest:
    """Train a fresh adapter (in full tuning, the model in memory) for `steps` steps, and keep nothing of it.

    `config` is resolved; its batches, in the order of its seed, and all but its rate and schedule are those of the run.
    """
    done = list(_steps(model_path, config, rows, device, pad_id, rates(steps), progress))
    reached = [rate for rate, loss in done if math.isfinite(loss)]
    losses = [loss for _, loss in done if math.isfinite(loss)]
    return RangeTest(tuple(reached), tuple(losses), len(done) < steps or len(losses) < len(done))


def _steps(
    model_path: Path,
    config: TrainConfig,
    rows: Sequence[Encoded],
    device: str,
    pad_id: int,
    planned: Sequence[float],
    progress: Progress,
) -> Iterator[tuple[float, float]]:
    """Rate and loss of each step, until the loss explodes."""
    import torch

    from studio.engine import optimizers, trainee
    from studio.engine.steps import Steps
    from studio.engine.train import accumulate

    model = trainee.build(model_path, config, device, pad_id=pad_id)
    if model.packing and not trainee.packing_is_exact(model, rows):
        trainee.unpack(model)
    optimizer = optimizers.build(model.parameters, config, device)
    order = Steps(len(rows), config.batch_size, len(planned), config.seed)
    found: list[float] = []
    model.model.train()
    for step, rate in enumerate(planned):
        progress(step, len(planned))
        optimizers.set_rate(optimizer, rate)
        batch = [rows[index] for index in order.batch(step)]
        loss = accumulate(model, batch, config, step, config.micro_batch_size or len(batch))
        yield rate, loss
        found.append(loss)
        if not math.isfinite(loss) or _is_exploded(found):
            return
        torch.nn.utils.clip_grad_norm_(model.parameters.values(), config.max_grad_norm or math.inf)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    progress(len(planned), len(planned))


def _is_exploded(losses: Sequence[float]) -> bool:
    smoothed = RangeTest((), tuple(losses), False).smoothed
    lowest = min(smoothed)
    return smoothed[-1] > max(_EXPLODED * lowest, lowest + _SURE)
