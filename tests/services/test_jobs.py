"""Runs in real processes: they survive their watchers, and a kill loses nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
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
    jobs, short = Jobs(store), config.with_values({"train.max_steps": 3})
    runs = [jobs.submit(short) for _ in range(3)]
    for run in runs:
        wait(jobs, run)
    ended = {run: jobs.events(run)[0][-1].at for run in runs}
    assert sorted(runs, key=ended.__getitem__) == runs, ended


@pytest.mark.slow
def test_a_run_that_is_killed_or_stopped_ends_as_if_nothing_had_happened(
    store: Store, config: RunConfig
) -> None:
    jobs = Jobs(store)
    whole, broken = jobs.submit(config), jobs.submit(config)  # the second waits for the device
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
