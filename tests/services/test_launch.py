"""Runs by several processes of this machine: they stop, resume and survive as runs by one do."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from studio.domain.config import RunConfig, parse_config
from studio.domain.errors import StudioError
from studio.domain.events import Warned
from studio.domain.run import ALIVE
from studio.services.jobs import Jobs
from studio.services.store import Store
from tests.services.test_jobs import losses
from tests.tiny import tiny_model

SECONDS = 240
TWO = {"launch.where": "torchrun", "launch.processes": 2}


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
    return parse_config(
        {
            "model": {"id": "tiny"},
            "data": {"path": str(file)},
            "train": {
                "method": "lora",
                "dtype": "float32",
                "epochs": 40,
                "batch_size": 4,
                "save_steps": 10,
                "eval_steps": 60,
            },
        }
    )


@pytest.fixture(scope="module")
def alone(store: Store, config: RunConfig) -> dict[int, float]:
    jobs = Jobs(store)
    run = jobs.submit(config)
    wait(jobs, run, until="finished")
    return losses(jobs, run)


def wait(jobs: Jobs, run: str, until: str | None = None, step: int = 0) -> None:
    """Until the run is in this state, or has done so many steps; for what it ends with otherwise, AssertionError."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        now = jobs.get(run)
        if now.state == until or (step and now.step >= step and now.state == "running"):
            return
        if now.state not in ALIVE:
            break
        time.sleep(0.05)
    if until or step:
        raise AssertionError(f"{jobs.get(run)}\n{jobs.files(run).worker_log.read_text()}")


def members(jobs: Jobs, run: str) -> list[psutil.Process]:
    """The processes that train, not those that watch."""
    pid = jobs.get(run).pid
    found = psutil.Process(pid).children(recursive=True) if pid else []
    return [
        p
        for p in found
        if "studio.services.member" in p.cmdline() and "torch.distributed.run" not in p.cmdline()
    ]


def said(jobs: Jobs, run: str) -> list[str]:
    return [str(event.text) for event in jobs.events(run)[0] if isinstance(event, Warned)]


@pytest.mark.slow
def test_two_processes_train_as_one_does_stop_and_go_on(
    store: Store, config: RunConfig, alone: dict[int, float]
) -> None:
    jobs = Jobs(store)
    run = jobs.submit(config.with_values(TWO))
    wait(jobs, run, step=5)
    assert len(members(jobs, run)) == 2
    jobs.stop(run)
    wait(jobs, run, until="stopped")
    assert jobs.get(run).step < len(alone)
    jobs.resume(run)
    wait(jobs, run, until="finished")
    assert losses(jobs, run) == pytest.approx(alone, rel=1e-3, abs=2e-3)
    assert said(jobs, run)[0] == "The run is shared out over 2 processes on this machine, data parallel."
    assert jobs.files(run).has_result()
    deadline = time.monotonic() + 30  # the owner ends after its processes
    while jobs.files(run).meetings.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1], ids=["one", "another"])
def test_a_killed_process_costs_the_steps_since_the_last_checkpoint(
    store: Store, config: RunConfig, alone: dict[int, float], which: int
) -> None:
    jobs = Jobs(store)
    run = jobs.submit(config.with_values({**TWO, "train.seed": 42, "name": f"killed-{which}"}))
    wait(jobs, run, step=15)
    members(jobs, run)[which].kill()
    wait(jobs, run, until="finished")
    assert (
        "A process of the run was lost: all began again, for the 1. time, from the last whole checkpoint."
        in said(jobs, run)
    )
    started = [event.step for event in jobs.events(run)[0] if event.type == "started"]
    assert started[0] == 0
    assert started[1] in (10, 20, 30)
    assert sorted(losses(jobs, run)) == sorted(alone)


@pytest.mark.slow
def test_when_the_owner_is_killed_its_processes_end_and_the_run_is_resumed(
    store: Store, config: RunConfig
) -> None:
    jobs = Jobs(store)
    run = jobs.submit(config.with_values({**TWO, "name": "owner"}))
    wait(jobs, run, step=15)
    orphans = members(jobs, run)
    pid = jobs.get(run).pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    _, left = psutil.wait_procs(orphans, timeout=30)
    assert left == []
    assert jobs.get(run).state == "interrupted"
    jobs.resume(run)
    wait(jobs, run, until="finished")


@pytest.mark.slow
def test_a_process_that_fails_says_why_and_none_begins_again(store: Store, config: RunConfig) -> None:
    jobs = Jobs(store)
    run = jobs.submit(config.with_values({**TWO, "train.target_modules": ["nowhere"]}))
    wait(jobs, run)
    assert jobs.get(run).state == "failed"
    assert jobs.get(run).reason.startswith("No adapter can be put on nowhere")
    assert not any("was lost" in text for text in said(jobs, run))


@pytest.mark.slow
def test_sharded_weights_end_as_a_whole_model(store: Store, config: RunConfig) -> None:
    jobs = Jobs(store)
    full = {"train.method": "full", "train.max_steps": 6, "launch.strategy": "fsdp"}
    run = jobs.submit(config.with_values({**TWO, **full}))
    wait(jobs, run, until="finished")
    assert (jobs.files(run).model / "model.safetensors").is_file()


@pytest.mark.slow
def test_an_adapter_on_a_base_in_parts_is_that_of_a_whole_one(store: Store, config: RunConfig) -> None:
    jobs = Jobs(store)
    steps = {"train.max_steps": 4, "train.micro_batch_size": 1}
    runs = [
        jobs.submit(config.with_values({**TWO, **steps, "launch.strategy": strategy}))
        for strategy in ("fsdp", "data_parallel")
    ]
    for run in runs:
        wait(jobs, run, until="finished")
    parts, whole = (losses(jobs, run) for run in runs)
    assert parts == pytest.approx(whole, rel=1e-6)


def test_what_cannot_be_sharded_is_refused_before_it_is_written(store: Store, config: RunConfig) -> None:
    jobs = Jobs(store)
    before = jobs.list()
    with pytest.raises(StudioError, match=r"FSDP cannot be combined with train\.plain"):
        jobs.submit(config.with_values({**TWO, "launch.strategy": "fsdp", "train.plain": True}))
    assert len(jobs.list()) == len(before)
    assert all(run.state not in ALIVE for run in jobs.list())


def test_an_older_run_without_the_section_is_one_process(tmp_path: Path) -> None:
    assert not parse_config({"data": {"path": "rows.jsonl"}}).launch.several
