"""A run, its states, and which may follow which."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

RunState = Literal[
    "queued", "starting", "running", "stopping", "stopped", "interrupted", "failed", "finished"
]
STATES: tuple[RunState, ...] = get_args(RunState)

ALIVE: frozenset[RunState] = frozenset({"queued", "starting", "running", "stopping"})
"""States in which a worker process must exist."""
RESUMABLE: frozenset[RunState] = frozenset({"stopped", "interrupted", "failed"})

TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    "queued": frozenset({"starting", "stopped", "interrupted", "failed"}),
    "starting": frozenset({"running", "stopping", "stopped", "interrupted", "failed"}),
    "running": frozenset({"stopping", "stopped", "interrupted", "failed", "finished"}),
    "stopping": frozenset({"stopped", "interrupted", "failed", "finished"}),
    "stopped": frozenset({"queued"}),
    "interrupted": frozenset({"queued"}),
    "failed": frozenset({"queued"}),
    "finished": frozenset(),
}


def may_follow(before: RunState, after: RunState) -> bool:
    """Whether a run in state `before` may go to `after`; staying is always allowed.

    >>> may_follow("finished", "running")
    False
    """
    return before == after or after in TRANSITIONS[before]


@dataclass(frozen=True)
class Run:
    """What the page and the CLI show of a run; made anew from its folder each time."""

    id: str
    name: str
    state: RunState
    reason: str = ""
    remedy: str = ""
    pid: int | None = None
    created: str = ""
    step: int = 0
    steps: int = 0
    model: str = ""
    method: str = ""
    data: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    seconds_left: float | None = None
    place: int | None = None
    """In the queue for the device, 1 the next; None where it does not wait."""
    waiting: int = 0
    """Runs in that queue."""

    @property
    def progress(self) -> float:
        """Share of the optimizer steps done, 0 to 1."""
        return self.step / self.steps if self.steps else 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "reason": self.reason,
            "remedy": self.remedy,
            "pid": self.pid,
            "created": self.created,
            "progress": round(self.progress, 4),
            "step": self.step,
            "steps": self.steps,
            "model": self.model,
            "method": self.method,
            "data": self.data,
            "metrics": {**self.metrics, "train.steps": self.step},
            "seconds_left": self.seconds_left,
            "place": self.place,
        }
