"""A search over settings: ordinary runs, one for each combination of chosen values, and a list of how they did.

sweeps/<id>.json in the home says which runs belong together; everything else about them is in their own folders.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.domain.config import RunConfig, Setting, settings
from studio.domain.errors import StudioError
from studio.domain.run import ALIVE, Run
from studio.services.files import explained, now, read_json, write_json
from studio.services.jobs import Jobs
from studio.services.plan import plan
from studio.services.store import Store

MOST_RUNS, MOST_SETTINGS = 24, 3
_NOT_COMPARABLE = ("seed", "max_length", "target_modules")
"""The first two change which rows, or how much of them, is measured on; a list of lists is no grid."""

Axes = Mapping[str, Sequence[Any]]
"""Values to try, by the dotted key of their setting."""


@dataclass(frozen=True)
class Sweep:
    """A search that was started; `runs` are in the order of the grid, the last setting changing fastest."""

    id: str
    name: str
    created: str
    axes: dict[str, list[Any]]
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """What a search would take. `seconds` is None where nothing is known of the speed of one of its runs."""

    runs: int
    seconds: float | None
    too_large: int
    """Runs that do not fit into the machine's memory."""


@dataclass(frozen=True)
class Place:
    """One run of a search and how it did; losses in nats a token."""

    values: dict[str, Any]
    run: Run | None
    """None where it was deleted since."""
    rank: int | None = None
    """1 is the best; None while the run is not finished."""
    forgetting: float | None = None
    """Rise of the loss on general rows; None where it was not measured."""

    @property
    def held_out_loss(self) -> float | None:
        return self.run.metrics.get("eval_loss") if self.run and self.rank else None


def searchable() -> list[Setting]:
    """The settings that can be searched over: those of training that leave what is measured as it is."""
    return [setting for setting in settings("train") if setting.name not in _NOT_COMPARABLE]


def grid(config: RunConfig, axes: Axes) -> list[RunConfig]:
    """The configurations of a search. StudioError where it is too large, or measures nothing to compare by."""
    _check(config, axes)
    name = config.name or Path(config.data.path).stem
    return [
        config.with_values({**values, "name": f"{name[:40]} {_called(values)}"[:80]})
        for values in _combinations(axes)
    ]


def cost(store: Store, config: RunConfig, axes: Axes) -> Cost:
    """What a search would take. StudioError where one of its runs cannot be started."""
    estimates = [plan(store, variant).estimate for variant in grid(config, axes)]
    seconds = [found.seconds for found in estimates if found.seconds is not None]
    known = len(seconds) == len(estimates)
    return Cost(len(estimates), sum(seconds) if known else None, sum(not found.fits for found in estimates))


def start(jobs: Jobs, config: RunConfig, axes: Axes) -> Sweep:
    """Write the search down and put its runs into the queue. StudioError, and nothing is begun, as for `cost`."""
    variants = grid(config, axes)
    for variant in variants:
        plan(jobs.store, variant)
    sweep_id, name = _fresh_id(jobs.store), config.name or Path(config.data.path).stem
    written = {"schema": 1, "name": name, "created": now(), "axes": {k: list(v) for k, v in axes.items()}}
    runs: list[str] = []
    for variant in variants:
        # Before each run and after the last: whatever ends this process, no run of the search is unknown to it.
        write_json(_file(jobs.store, sweep_id), {**written, "runs": runs})
        runs.append(jobs.submit(variant))
    write_json(_file(jobs.store, sweep_id), {**written, "runs": runs})
    return get(jobs.store, sweep_id)


def get(store: Store, sweep_id: str) -> Sweep:
    """StudioError where there is none."""
    # Compared with what is there, never joined to a path as it comes.
    if sweep_id not in _ids(store):
        raise StudioError("There is no search {sweep}.", "`studio sweeps` lists them.", sweep=sweep_id)
    data = read_json(_file(store, sweep_id)) or {}
    return Sweep(sweep_id, data["name"], data["created"], data["axes"], tuple(data["runs"]))


def all_of(store: Store) -> list[Sweep]:
    """The newest first."""
    return [get(store, sweep_id) for sweep_id in sorted(_ids(store), reverse=True)]


def leaderboard(jobs: Jobs, sweep: Sweep) -> list[Place]:
    """Finished runs by held-out loss, the best first, then the others in the order of the queue."""
    known = {run.id: run for run in jobs.list()}
    pairs = zip(_combinations(sweep.axes), sweep.runs, strict=False)  # one that was broken off has fewer runs
    places = [Place(values, known.get(run_id)) for values, run_id in pairs]
    done = [place for place in places if _loss(place) is not None]
    ranked = [
        Place(place.values, place.run, rank, place.run.metrics.get("forgetting") if place.run else None)
        for rank, place in enumerate(sorted(done, key=lambda place: _loss(place) or 0.0), start=1)
    ]
    return [*ranked, *(place for place in places if _loss(place) is None)]


def values_of(store: Store, run_id: str) -> dict[str, Any]:
    """The values that a run of a search tries, by key. StudioError where it is of none."""
    for sweep in all_of(store):
        if run_id in sweep.runs:
            return _combinations(sweep.axes)[sweep.runs.index(run_id)]
    raise StudioError("The run {run} is of no search.", "Choose one from the list.", run=run_id)


def cancel(jobs: Jobs, sweep: Sweep) -> int:
    """Stop every run of a search that waits or works, the last one first; returns how many those were."""
    known = {run.id: run for run in jobs.list()}
    at_work = [run for run in reversed(sweep.runs) if run in known and known[run].state in ALIVE]
    for run in at_work:
        jobs.stop(run)
    return len(at_work)


def _loss(place: Place) -> float | None:
    return (
        place.run.metrics.get("eval_loss")
        if place.run is not None and place.run.state == "finished"
        else None
    )


def _check(config: RunConfig, axes: Axes) -> None:
    allowed = {setting.key for setting in searchable()}
    for key in axes:
        if key not in allowed:
            raise StudioError(
                "A search cannot go over {key}.",
                "Choose settings of training, such as train.learning_rate, train.rank or train.epochs; neither the "
                "seed nor the maximum length, as these change what is measured on.",
                key=key,
            )
    if not 1 <= len(axes) <= MOST_SETTINGS or not all(axes.values()):
        raise StudioError(
            "A search goes over one to {most} settings with some values each.",
            "Give values such as 1e-4, 3e-4, 1e-3.",
            most=MOST_SETTINGS,
        )
    runs = len(list(itertools.product(*axes.values())))
    if runs > MOST_RUNS:
        raise StudioError(
            "The search would be {runs} runs, and {most} are the most.",
            "Try fewer values: the best of a coarse search shows where to look more closely.",
            runs=runs,
            most=MOST_RUNS,
        )
    if not (config.data.held_out_share or config.data.held_out_path):
        raise StudioError(
            "There are no held-out rows to compare the runs by.", "Hold out a share of the rows, such as 0.1."
        )


def _combinations(axes: Axes) -> list[dict[str, Any]]:
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _called(values: Mapping[str, Any]) -> str:
    """
    >>> _called({"train.learning_rate": 0.0003, "train.rank": 8})
    'learning_rate=0.0003 rank=8'
    """
    return " ".join(f"{key.partition('.')[2]}={value}" for key, value in values.items())


def _folder(store: Store) -> Path:
    return store.home / "sweeps"


def _ids(store: Store) -> list[str]:
    return [file.stem for file in _folder(store).glob("*.json")]


def _file(store: Store, sweep_id: str) -> Path:
    return _folder(store) / f"{sweep_id}.json"


def _fresh_id(store: Store) -> str:
    with explained(_folder(store)):
        _folder(store).mkdir(exist_ok=True)
    stamp = now().replace(":", "").replace("-", "").replace("T", "-").partition(".")[0]
    taken = _ids(store)
    return next(name for n in itertools.count(1) if (name := stamp + (f"-{n}" if n > 1 else "")) not in taken)
