"""Trainings of a tiny model that take a second: ten rows, six steps, and what they said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from studio.domain.chat import Conversation, Message
from studio.domain.config import TrainConfig
from studio.domain.encoded import Encoded
from studio.domain.errors import Stopped
from studio.domain.events import Event, Metric
from studio.engine.encode import Encoder
from studio.engine.samples import Samples
from studio.engine.templates import resolve
from studio.engine.tokenizer import load_tokenizer
from studio.engine.train import TrainJob, train

SENTENCES = (
    "Yes.",
    "No, never.",
    "It depends on the weather.",
    "Ask again later, please.",
    "Seven.",
    "Blue and green.",
)
BASE = {
    "method": "lora",
    "learning_rate": 1e-2,
    "epochs": 2.0,
    "batch_size": 4,
    "micro_batch_size": 4,
    "max_length": 256,
    "rank": 4,
    "alpha": 8.0,
    "dtype": "float32",
    "gradient_checkpointing": False,
    "save_steps": 2,
    "eval_steps": 3,
}
Trained = tuple[list[Event], dict[str, float], Path]
"""What a training said, its metrics (none where it was stopped), and its folder."""


def encoded_rows(model: Path) -> list[Encoded]:
    conversations = [
        Conversation(
            (Message("user", f"Question {number}?"), Message("assistant", SENTENCES[number % 6])), number + 1
        )
        for number in range(10)
    ]
    tokenizer = load_tokenizer(model)
    return Encoder(resolve("auto", tokenizer), tokenizer).encode_many(conversations)


def trained(
    model: Path,
    rows: list[Encoded],
    folder: Path,
    stop_after: int | None = None,
    *,
    held_out: list[Encoded] | None = None,
    adapter: Path | None = None,
    samples: Samples | None = None,
    **settings: object,
) -> Trained:
    """Train in `folder`, or go on there; `stop_after` so many steps. Measured on the first three rows."""
    events: list[Event] = []
    config = TrainConfig.model_validate({**BASE, **settings})
    measured_on = rows[:3] if held_out is None else held_out
    job = TrainJob("run", model, config, rows, measured_on, folder, "cpu", 0, adapter)
    job = replace(job, samples=samples or Samples())
    folder.mkdir(exist_ok=True)

    def stop() -> bool:
        return stop_after is not None and steps(events)[-1:] >= [stop_after]

    try:
        metrics = train(job, events.append, stop)
    except Stopped:
        metrics = {}
    return events, metrics, folder


def steps(events: list[Event]) -> list[int]:
    return [event.step for event in events if isinstance(event, Metric) and event.loss is not None]


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Metric) and event.loss is not None]


def rates(events: list[Event]) -> list[float]:
    metrics = [event for event in events if isinstance(event, Metric)]
    return [event.learning_rate for event in metrics if event.learning_rate is not None]


def measured(events: list[Event]) -> dict[int, float]:
    metrics = [event for event in events if isinstance(event, Metric)]
    return {event.step: event.eval_loss for event in metrics if event.eval_loss is not None}


def result(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")
