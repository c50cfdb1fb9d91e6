"""A home in which a tiny model is trained in a few seconds, and how the run ends that nothing happens to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from studio.domain.config import RunConfig, parse_config
from studio.domain.events import Event, Metric, Started
from studio.domain.run import ALIVE
from studio.services.jobs import Jobs
from studio.services.store import Store
from tests.tiny import tiny_model

SAVE_STEPS = 8
_STEPS = 120
_PATIENCE = 240.0


@dataclass(frozen=True)
class End:
    """All that a run can differ in: the loss of each step, as it was the last time, and the tuned weights."""

    losses: dict[int, float]
    weights: dict[str, torch.Tensor]

    def equals(self, other: End) -> bool:
        """To the last bit."""
        return self.losses == other.losses and all(
            torch.equal(other.weights[name], tensor) for name, tensor in self.weights.items()
        )


class Ground:
    """Runs of one configuration in one home."""

    def __init__(self, home: Path, steps: int = _STEPS) -> None:
        self.store = Store(home)
        tiny_model(self.store.models_dir / "tiny")
        file = home / "rows.jsonl"
        rows = [{"prompt": f"Question {n}?", "completion": f"Answer {n}."} for n in range(12)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        self.config: RunConfig = parse_config(
            {
                "model": {"id": "tiny"},
                "data": {"path": str(file)},
                "train": {
                    "method": "lora",
                    "batch_size": 2,
                    "epochs": 100,
                    "max_steps": steps,
                    "save_steps": SAVE_STEPS,
                    "eval_steps": min(60, steps),
                    "dropout": 0.1,
                },
            }
        )

    @property
    def jobs(self) -> Jobs:
        """As a server that was just started sees the home."""
        return Jobs(self.store)

    def undisturbed(self) -> End:
        """How a run ends that nothing happens to."""
        run = self.jobs.submit(self.config)
        self.until_ended(run)
        return self.end(run)

    def end(self, run: str) -> End:
        events, _ = self.jobs.events(run)
        losses = {e.step: e.loss for e in events if isinstance(e, Metric) and e.loss is not None}
        return End(losses, load_file(self.jobs.files(run).adapter / "adapter_model.safetensors"))

    def until_ended(self, run: str) -> None:
        self.until(run, lambda: False)

    def until(self, run: str, reached: Callable[[], bool], every: float = 0.05) -> None:
        """Wait until something is so, or the run is no longer at work."""
        jobs, deadline = self.jobs, time.monotonic() + _PATIENCE
        while not reached() and jobs.get(run).state in ALIVE:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{jobs.get(run)}\n{jobs.files(run).worker_log.read_text()}")
            time.sleep(every)

    def step(self, run: str) -> int:
        """The last step that the run said it did."""
        return max((e.step for e in self._events(run) if isinstance(e, Metric)), default=0)

    def lives(self, run: str) -> int:
        """How often the run has begun to train."""
        return sum(isinstance(e, Started) for e in self._events(run))

    def begun_at(self, run: str) -> int:
        """The step that the run's last life began at."""
        return [e.step for e in self._events(run) if isinstance(e, Started)][-1]

    def _events(self, run: str) -> list[Event]:
        return self.jobs.events(run)[0]
