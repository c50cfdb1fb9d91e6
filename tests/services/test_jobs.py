"""Runs in real processes: they survive their watchers, and a kill loses nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from studio.domain.config import RunConfig, parse_config
from studio.domain.errors import StudioError
from studio.domain.events import Metric
from studio.domain.history import RowChange
from studio.domain.run import ALIVE
from studio.engine.dataset import read
from studio.services import history
from studio.services.jobs import Jobs
from studio.services.run_files import RunFiles, State
from studio.services.store import Store
from tests.tiny import tiny_model

SECONDS = 180


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("home"))
    tiny_model(store.models_dir / "tiny")
    return store


@pytest.fixture
def config(store: Store, tmp_path: Path) -> RunConfig:
    rows = [{"prompt": f"Question {n}?", "completion": f"Answer {n}."} for n in range(12)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return parse_config(
        {
            "model": {"id": "tiny"},
            "data": {"path": str(file)},
            "train": {
                "method": "lora",
                "epochs": 100,
                "batch_size": 2,
                "save_steps": 10,
                "eval_steps": 150,
                "dropout": 0.1,
            },
        }
    )


def wait(jobs: Jobs, run: str, until: str | None = None, step: int = 0) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        now = jobs.get(run)
        if (
            (until and now.state == until)
            or (step and now.step >= step)
            or (not step and now.state not in ALIVE)
        ):
            return
        time.sleep(0.05)
    raise AssertionError(f"{jobs.get(run)}\n{jobs.files(run).worker_log.read_text()}")


def losses(jobs: Jobs, run: str) -> dict[int, float]:
    """By step; a step that was repeated after a kill counts as it was the last time."""
    events, _ = jobs.events(run)
    return {
        event.step: event.loss for event in events if isinstance(event, Metric) and event.loss is not None
    }


def adapter(jobs: Jobs, run: str) -> dict[str, torch.Tensor]:
    return load_file(jobs.files(run).adapter / "adapter_model.safetensors")


@pytest.mark.slow
def test_runs_take_the_device_in_the_order_in_which_they_were_queued(store: Store, config: RunConfig) -> None:
    """Whichever process is up first, and however long the others had to wait."""
    jobs = Jobs(store)
    with FileLock(store.device_lock):
        runs = [jobs.submit(config.with_values({"train.max_steps": 3, "train.seed": n})) for n in range(4)]
        assert jobs.queue() == runs
        jobs.move(runs[3], 1)
        jobs.stop(runs[1])
        wait(jobs, runs[1], until="stopped")
        assert jobs.queue() == [runs[3], runs[0], runs[2]]
        assert [jobs.get(run).place for run in runs] == [2, None, 3, 1]
    for run in runs:
        wait(jobs, run)
    expected = [runs[3], runs[0], runs[2]]
    ended = {run: jobs.events(run)[0][-1].at for run in expected}
    assert sorted(expected, key=ended.__getitem__) == expected, ended


def test_a_run_that_does_not_wait_has_no_place_to_move_to(store: Store, config: RunConfig) -> None:
    files = RunFiles(store.new_run_dir("over"))
    files.write_state(State("finished"))
    files.write_run(config, "over")
    with pytest.raises(StudioError, match="does not wait for the device"):
        Jobs(store).move(files.id, 1)


def test_the_same_run_is_not_started_twice(store: Store, config: RunConfig) -> None:
    """Two clicks, two browsers and a command line, all at once."""
    with FileLock(store.device_lock), ThreadPoolExecutor(3) as clicks:
        runs = {*clicks.map(lambda jobs: jobs.submit(config), [Jobs(store), Jobs(store), Jobs(store)])}
        (run,) = runs
        other = Jobs(store).submit(config.with_values({"train.seed": 7}))
        assert other != run
        Jobs(store).stop(run)
        again = Jobs(store).submit(config)  # what is told to stop is not what was asked for
        assert again not in (run, other)
        for started in (run, other, again):
            Jobs(store).delete(started)


def test_a_run_whose_state_is_damaged_can_be_resumed(store: Store, config: RunConfig) -> None:
    files = RunFiles(store.new_run_dir("damaged"))
    files.write_run(config, "damaged")
    (files.folder / "state.json").write_text('{"state": "runn', encoding="utf-8")
    run = Jobs(store).get(files.id)
    assert run.state == "interrupted"
    assert "is damaged" in run.reason
    assert run.remedy == "Resume it: it goes on from its last checkpoint."


@pytest.mark.slow
def test_a_run_that_is_killed_or_stopped_ends_as_if_nothing_had_happened(
    store: Store, config: RunConfig
) -> None:
    jobs = Jobs(store)
    whole = jobs.submit(config)
    broken = jobs.submit(config.model_copy(update={"name": "broken"}))  # it waits for the device
    wait(jobs, whole)
    assert (jobs.get(whole).state, jobs.get(whole).progress) == ("finished", 1.0)

    wait(jobs, broken, step=25)
    pid = jobs.get(broken).pid
    assert pid, jobs.get(broken)
    os.kill(pid, signal.SIGKILL)
    elsewhere = Jobs(store)  # a restarted server
    wait(elsewhere, broken)
    assert elsewhere.get(broken).state == "interrupted"
    assert "Resume it" in elsewhere.get(broken).remedy

    elsewhere.resume(broken)
    wait(elsewhere, broken, step=60)
    elsewhere.stop(broken)
    wait(elsewhere, broken)
    assert elsewhere.get(broken).state == "stopped"

    elsewhere.resume(broken)
    wait(elsewhere, broken)
    assert elsewhere.get(broken).state == "finished"
    assert losses(elsewhere, broken) == losses(jobs, whole)
    for name, tensor in adapter(jobs, whole).items():
        assert torch.equal(adapter(elsewhere, broken)[name], tensor), name

    events, _ = elsewhere.events(broken)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    env = elsewhere.files(broken).env()
    assert env["sha256"]["encoded"] == jobs.files(whole).env()["sha256"]["encoded"]
    with pytest.raises(StudioError, match="is finished and cannot be resumed"):
        jobs.resume(whole)
    jobs.delete(whole)
    assert whole not in store.run_ids()


def test_rows_that_could_not_be_read_are_named_in_the_runs_events(store: Store, config: RunConfig) -> None:
    file = Path(config.data.path)
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([*lines[:3], '{"prompt": "x"', *lines[3:]]) + "\n", encoding="utf-8")
    jobs = Jobs(store)
    run = jobs.submit(config.with_values({"train.max_steps": 1}))
    wait(jobs, run)
    warnings = [event for event in jobs.events(run)[0] if event.type == "warned"]
    assert [event.rows for event in warnings] == [[4]]


def test_a_run_keeps_the_steps_that_its_rows_went_through(store: Store, config: RunConfig) -> None:
    entry = store.save_dataset(Path(config.data.path))
    rows = read(entry.path).conversations
    history.take(store, entry, "drop", [RowChange(2, rows[1], None, ())], rows, row=2)
    jobs = Jobs(store)
    run = jobs.submit(config.with_values({"data.path": str(store.dataset(entry.id).path)}))
    history.undo(store, entry.id, 1)
    (taken,) = history.of_run(jobs.files(run).history())
    assert (taken.step.kind, taken.step.dropped, taken.step.asked) == ("drop", 1, {"row": 2})
    jobs.delete(run)


def test_a_run_without_rows_is_never_written(store: Store, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    before = store.run_ids()
    with pytest.raises(StudioError, match=r"empty\.jsonl"):
        Jobs(store).submit(parse_config({"model": {"id": "tiny"}, "data": {"path": str(empty)}}))
    assert store.run_ids() == before


def test_a_run_whose_process_is_gone_is_interrupted(store: Store, config: RunConfig) -> None:
    files = RunFiles(store.new_run_dir("gone"))
    files.write_run(config, "gone")
    files.write_state(State("queued", pid=2**22 - 1, started=1.0))
    assert files.id in Jobs(store).reconcile()
    assert Jobs(store).get(files.id).state == "interrupted"


def test_a_run_just_written_is_not_taken_for_interrupted(store: Store, config: RunConfig) -> None:
    files = RunFiles(store.new_run_dir("new"))
    files.write_state(State("queued"))
    files.write_run(config, "new")
    assert Jobs(store).get(files.id).state == "queued"


@pytest.mark.parametrize("name", ["../outside", "/etc", "a/b", "..", "", "A b", "x" * 200])
def test_a_name_that_is_no_run_opens_no_folder(store: Store, config: RunConfig, name: str) -> None:
    outside = store.home / "outside"
    outside.mkdir(exist_ok=True)
    RunFiles(outside).write_run(config, "outside")
    with pytest.raises(StudioError, match="is not the name of a run"):
        Jobs(store).get(name)
