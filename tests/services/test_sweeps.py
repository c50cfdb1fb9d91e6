"""A search over settings: real runs of a tiny model, held together by one small file."""

from __future__ import annotations

import json
import time

import pytest
from filelock import FileLock

from studio import cli
from studio.domain.config import RunConfig, parse_config
from studio.domain.errors import StudioError
from studio.domain.run import ALIVE
from studio.services import sweeps
from studio.services.jobs import Jobs
from studio.services.store import Store
from studio.services.sweeps import Sweep
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("home"))
    tiny_model(store.models_dir / "tiny")
    return store


@pytest.fixture(scope="module")
def config(store: Store) -> RunConfig:
    rows = [{"prompt": f"Question {n}?", "completion": f"Answer {n}."} for n in range(12)]
    file = store.home / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    train = {"method": "lora", "epochs": 4, "batch_size": 4, "rank": 4, "dtype": "float32", "max_length": 512}
    data = {"path": str(file), "held_out_share": 0.25}
    return parse_config(
        {"model": {"id": "tiny"}, "data": data, "train": train, "evaluate": {"general_rows": 1}}
    )


AXES = {"train.learning_rate": [1e-6, 1e-2], "train.rank": [2, 4]}


def wait(jobs: Jobs, sweep: Sweep) -> None:
    deadline = time.monotonic() + 240
    while any(jobs.get(run).state in ALIVE for run in sweep.runs):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_search_trains_each_combination_and_the_best_comes_first(
    store: Store, config: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = Jobs(store)
    sweep = sweeps.start(jobs, config, AXES)
    assert len(set(sweep.runs)) == 4
    assert sweeps.get(store, sweep.id) == sweep == sweeps.all_of(store)[0]
    wait(jobs, sweep)
    places = sweeps.leaderboard(jobs, sweep)
    assert [place.rank for place in places] == [1, 2, 3, 4]
    losses = [place.held_out_loss for place in places]
    assert losses == sorted(losses, key=lambda loss: loss or 0.0)
    assert {place.values["train.learning_rate"] for place in places[:2]} == {1e-2}
    for place in places:
        assert place.run
        assert place.values == {
            "train.learning_rate": jobs.config(place.run.id).train.learning_rate,
            "train.rank": jobs.config(place.run.id).train.rank,
        }
        told = [event.forgetting for event in jobs.events(place.run.id)[0] if event.type == "metric"]
        assert place.forgetting in told
        assert place.forgetting is not None

    capsys.readouterr()
    assert cli.main(["sweeps", "show", sweep.id, "--json", "--home", str(store.home)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [place["held_out_loss"] for place in said["places"]] == losses
    assert cli.main(["sweeps", "show", sweep.id, "--home", str(store.home)]) == 0
    assert "  1  learning_rate 0.01  rank " in capsys.readouterr().out

    best = places[0].run
    assert best
    jobs.delete(best.id)
    assert [place.run for place in sweeps.leaderboard(jobs, sweep)].count(None) == 1


def test_all_runs_of_a_search_are_cancelled_together(store: Store, config: RunConfig) -> None:
    jobs = Jobs(store)
    with FileLock(store.device_lock):  # another run trains: these wait
        sweep = sweeps.start(jobs, config, {"train.rank": [8, 16]})
        assert sweeps.cancel(jobs, sweep) == 2
        wait(jobs, sweep)
    assert [jobs.get(run).state for run in sweep.runs] == ["stopped", "stopped"]
    assert [place.rank for place in sweeps.leaderboard(jobs, sweep)] == [None, None]
    assert sweeps.cancel(jobs, sweep) == 0


def test_the_cost_is_that_of_all_runs_together(store: Store, config: RunConfig) -> None:
    one = sweeps.cost(store, config, {"train.epochs": [1]})
    both = sweeps.cost(store, config, {"train.epochs": [1, 2]})
    assert (one.runs, both.runs, both.too_large) == (1, 2, 0)
    assert one.seconds
    assert both.seconds
    assert both.seconds > 2 * one.seconds


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"data.max_rows": [5]}, "cannot go over data.max_rows"),
        ({"train.seed": [1, 2]}, "cannot go over train.seed"),
        ({"train.rank": list(range(1, 26))}, "25 runs, and 24 are the most"),
        ({"train.rank": []}, "one to 3 settings"),
        ({}, "one to 3 settings"),
        ({"train.rank": ["many"]}, "train.rank is 'many'"),
    ],
)
def test_what_cannot_be_searched_is_refused_and_nothing_is_begun(
    store: Store, config: RunConfig, axes: dict[str, list[object]], said: str
) -> None:
    before = store.run_ids(), sweeps.all_of(store)
    with pytest.raises(StudioError, match=said):
        sweeps.start(Jobs(store), config, axes)
    assert (store.run_ids(), sweeps.all_of(store)) == before


def test_without_held_out_rows_there_is_nothing_to_compare_by(store: Store, config: RunConfig) -> None:
    with pytest.raises(StudioError, match="no held-out rows"):
        sweeps.cost(store, config.with_values({"data.held_out_share": 0.0}), {"train.rank": [4]})


def test_an_unknown_search_is_said_to_be_none(store: Store) -> None:
    with pytest.raises(StudioError, match="There is no search"):
        sweeps.get(store, "../machine")
