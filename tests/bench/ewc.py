"""What EWC's penalty takes of a step: python -m tests.bench.ewc FILE [--model DIR] [--rank R]

Gradients of the loss over an effective batch of 8 rows, and those of the penalty after them, in turn in one process;
the medians, and the second's share of both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from studio.domain.config import TrainConfig
from studio.engine.ewc import Consolidation, estimate
from studio.engine.train import accumulate
from studio.engine.trainee import build
from tests.bench.training import encoded


def main() -> None:
    """Prints both medians in milliseconds, and the share."""
    options = argparse.ArgumentParser()
    options.add_argument("file")
    options.add_argument("--model", type=Path, default=Path.home() / ".studio" / "models" / "starter")
    options.add_argument("--rank", type=int, default=16)
    options.add_argument("--steps", type=int, default=15)
    options.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    given = options.parse_args()
    rows = encoded(given.file, given.model, 8 * given.steps + 8)
    config = TrainConfig.model_validate(
        {
            "method": "lora",
            "rank": given.rank,
            "alpha": 2.0 * given.rank,
            "learning_rate": 1e-4,
            "batch_size": 8,
            "dtype": given.dtype,
            "gradient_checkpointing": False,
        }
    )
    model = build(given.model, config, "cpu", pad_id=0)
    model.model.train()
    for parameter in model.parameters.values():
        parameter.data += 1e-3
    known = model.collate(rows[:4])
    fisher = estimate(model.model, [(lambda: model.loss(known), known.trained)])
    held_on = Consolidation(model.model, fisher, 100.0)
    spent: dict[str, list[float]] = {"loss": [], "penalty": []}
    for step in range(given.steps + 1):
        for parameter in model.parameters.values():
            parameter.grad = None
        started = time.perf_counter()
        accumulate(model, rows[8 * step : 8 * step + 8], config, step, 8)
        between = time.perf_counter()
        held_on.add_gradients()
        if step:  # the first makes room
            spent["loss"].append(between - started)
            spent["penalty"].append(time.perf_counter() - between)
    loss, penalty = (statistics.median(times) for times in spent.values())
    print(
        f"rank {given.rank}: loss {1e3 * loss:.0f} ms, penalty {1e3 * penalty:.1f} ms, {penalty / (loss + penalty):.1%}"
    )


if __name__ == "__main__":
    main()
