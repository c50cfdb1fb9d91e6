"""Trainings of a tiny model by several processes, each of which says what it came to."""

from __future__ import annotations

import json
import multiprocessing
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from studio.domain.config import TrainConfig
from studio.domain.errors import Stopped, StudioError
from studio.domain.events import Event, Metric, parse_event
from studio.engine import train as training
from studio.engine.general import General
from studio.engine.ranks import PeerLost, Ranks
from studio.engine.train import TrainJob
from tests.trainings import BASE, encoded_rows, steps

MICRO = {"micro_batch_size": 2}


@dataclass(frozen=True)
class Case:
    """A training of `folder`; of `settings`, those that differ from the usual ones."""

    folder: str
    settings: dict[str, Any] = field(default_factory=dict)
    sharded: bool = False
    stop_after: int | None = None
    """The last process alone is told to stop, after so many steps."""
    no_room: int | None = None
    """The last process has no room for so many rows at once, or more."""
    known: bool = False
    """Whether the training rows also are general ones that it is gauged on and holds on to."""
    apart: bool = False
    """Whether each process sees a folder of its own, as on machines without a shared one."""


@dataclass(frozen=True)
class Said:
    """What one process came to."""

    events: list[Event]
    metrics: dict[str, float]
    error: str


def run(model: Path, home: Path, cases: list[Case], size: int) -> list[list[Said]]:
    """For each case, what each process says, by rank."""
    context = multiprocessing.get_context("spawn")
    plan = home / f"plan-{size}.json"
    plan.write_text(json.dumps([asdict(case) for case in cases]))
    members = [context.Process(target=_member, args=(rank, size, model, home)) for rank in range(size)]
    for member in members:
        member.start()
    for member in members:
        member.join()
    found = []
    for number in range(len(cases)):
        files = [home / f"said-{size}-{number}-{rank}.json" for rank in range(size)]
        found.append([_read(file) for file in files])
    return found


def _read(file: Path) -> Said:
    data = json.loads(file.read_text(encoding="utf-8"))
    return Said([parse_event(line) for line in data["events"]], data["metrics"], data["error"])


def _member(rank: int, size: int, model: Path, home: Path) -> None:
    from torch import distributed

    cases = [Case(**case) for case in json.loads((home / f"plan-{size}.json").read_text())]
    if size > 1:
        distributed.init_process_group("gloo", init_method=f"file://{home}/meet", rank=rank, world_size=size)
    for number, case in enumerate(cases):
        said = _trained(Ranks(rank, size, sharded=case.sharded), model, home, case)
        (home / f"said-{size}-{number}-{rank}.json").write_text(json.dumps(said), encoding="utf-8")
    sys.stdout.flush()
    if size > 1:
        distributed.destroy_process_group()


def _trained(ranks: Ranks, model: Path, home: Path, case: Case) -> dict[str, Any]:
    rows = encoded_rows(model)
    events: list[Event] = []
    config = TrainConfig.model_validate({**BASE, **MICRO, **case.settings})
    folder = home / (f"{case.folder}-{ranks.rank}" if case.apart else case.folder)
    folder.mkdir(exist_ok=True)
    general = (
        General(gauged=rows[8:], prompts=[[1, 5, 9], [1, 7]], stop_ids=[2], known=rows[6:8])
        if case.known
        else General()
    )
    job = TrainJob("run", model, config, rows, rows[:3], folder, "cpu", 0, general=general)
    last = ranks.rank == ranks.size - 1
    counted = [0]

    def stop() -> bool:
        counted[0] += 1
        return last and case.stop_after is not None and counted[0] > case.stop_after

    if last and case.no_room is not None:
        _cramp(case.no_room)
    metrics: dict[str, float] = {}
    error = ""
    try:
        metrics = training.train(replace(job, ranks=ranks), events.append, stop)
    except Stopped:
        error = "stopped"
    except StudioError as problem:
        error = problem.message
    except PeerLost:
        error = "peer lost"
    return {"events": [event.model_dump_json() for event in events], "metrics": metrics, "error": error}


def _cramp(rows: int) -> None:
    """As on a machine whose memory is short."""
    from studio.engine import trainee

    collate = trainee.Trainee.collate

    def short(self: Any, batch: Any, **filled: Any) -> Any:
        if self.model.training and len(batch) >= rows:
            raise MemoryError
        return collate(self, batch, **filled)

    trainee.Trainee.collate = short  # type: ignore[method-assign]


def done(said: Said) -> list[int]:
    return steps(said.events)


def norms(said: Said) -> list[float]:
    return [e.grad_norm for e in said.events if isinstance(e, Metric) and e.grad_norm is not None]
