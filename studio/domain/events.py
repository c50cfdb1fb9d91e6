"""What a run says while it works, one JSON object a line in its events.jsonl."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from studio.domain.text import Text

FailureKind = Literal["", "memory", "disk", "diverged"]


class _Event(BaseModel):
    model_config = ConfigDict(extra="forbid")

    seq: int = 0
    """1, 2, 3 … without a gap; given by the log when the event is appended."""
    at: str = ""
    """UTC, ISO 8601; given by the log."""


class Started(_Event):
    type: Literal["started"] = "started"
    run: str
    steps: int
    """Optimizer steps planned in all."""
    step: int = 0
    """The step it starts from; above 0 when resumed."""
    rows: int
    held_out_rows: int
    tokens: int
    """Tokens of one epoch."""
    trained_tokens: int
    encoded_sha256: str
    trainable_parameters: int = 0


class Phase(_Event):
    """A named stretch of work; `done` of `total` where it can be counted."""

    type: Literal["phase"] = "phase"
    name: Literal[
        "queued",
        "loading",
        "encoding",
        "remembering",
        "training",
        "evaluating",
        "answering",
        "saving",
        "merging",
        "verifying",
    ]
    done: float = 0
    total: float = 0


class Metric(_Event):
    """One optimizer step. Losses are nats a trained token; `tokens` count from the start of the run."""

    type: Literal["metric"] = "metric"
    step: int
    epoch: float
    loss: float | None = None
    penalty: float | None = None
    """What elastic weight consolidation adds to the loss, in nats."""
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens: int = 0
    trained_tokens: int = 0
    tokens_per_second: float | None = None
    memory_bytes: int | None = None
    eval_loss: float | None = None
    general_loss: float | None = None
    """On general rows that are never learnt."""
    divergence: float | None = None
    """Of the model from itself at the start, on the answers that it gave then to those rows' prompts; nats a token."""
    forgetting: float | None = None
    """How much `general_loss` rose since the start."""


class Sample(_Event):
    """What the model under training answers to a held-out prompt, or to one of one's own, whose `row` is 0."""

    type: Literal["sample"] = "sample"
    step: int
    row: int
    prompt: str
    expected: str
    text: str
    tokens: int = 0
    ended: bool = True
    """Whether the answer came to its end within the tokens that it may have."""


class Checkpoint(_Event):
    type: Literal["checkpoint"] = "checkpoint"
    step: int
    path: str
    """Relative to the run's folder."""


class Warned(_Event):
    """A sentence about the run; of `severity` info where nothing is wrong."""

    type: Literal["warned"] = "warned"
    severity: Literal["info", "warning"] = "warning"
    template: str
    remedy: str = ""
    values: dict[str, Any] = Field(default_factory=dict)
    rows: list[int] = Field(default_factory=list)

    @property
    def text(self) -> Text:
        return Text(self.template, self.values)

    @property
    def remedy_text(self) -> Text:
        return Text(self.remedy, self.values)


class Failed(_Event):
    type: Literal["failed"] = "failed"
    kind: FailureKind = ""
    """What ran out or went wrong, where something can be set otherwise."""
    template: str
    remedy: str = ""
    values: dict[str, Any] = Field(default_factory=dict)
    traceback: str = ""

    @property
    def text(self) -> Text:
        return Text(self.template, self.values)

    @property
    def remedy_text(self) -> Text:
        return Text(self.remedy, self.values)


class Finished(_Event):
    """The end of a worker's life that is not a failure."""

    type: Literal["finished"] = "finished"
    state: Literal["finished", "stopped"]
    metrics: dict[str, float] = Field(default_factory=dict)
    seconds: float = 0.0


Event = Annotated[
    Started | Phase | Metric | Sample | Checkpoint | Warned | Failed | Finished, Field(discriminator="type")
]
Emit = Callable[[Event], None]

_adapter: TypeAdapter[Event] = TypeAdapter(Event)


def parse_event(line: str | bytes) -> Event:
    """One line of events.jsonl. Raises pydantic's ValidationError for anything else."""
    return _adapter.validate_json(line)
