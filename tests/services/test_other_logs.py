"""The logs of other programs, each read back with its own means; skipped where it is not installed."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from studio.domain.config import RunConfig
from studio.domain.errors import StudioError
from studio.domain.events import Event, Metric, Started, Warned
from studio.services import other_logs
from studio.services.log import EventLog
from studio.services.other_logs import OtherLogs
from studio.services.run_files import RunFiles

pytestmark = pytest.mark.filterwarnings("default")
"""Of other programs, which are no affair of ours."""


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    files = RunFiles(tmp_path / "runs" / "20260101-000000-a")
    files.folder.mkdir(parents=True)
    return files


def config(*names: str) -> RunConfig:
    return RunConfig.model_validate(
        {"data": {"path": "/secret/rows.jsonl"}, "train": {"report_to": list(names), "learning_rate": 1e-3}}
    )


def life(files: RunFiles, name: str, begins: int, ends: int) -> list[Event]:
    """One life of a run, from after step `begins` to step `ends`, measured at its start and every second step."""
    said: list[Event] = []
    log, logs = (
        EventLog(files.events),
        OtherLogs(files, files.folder.parent.parent, config(name), said.append),
    )
    started = Started(
        run=files.id,
        steps=6,
        step=begins,
        rows=8,
        held_out_rows=2,
        tokens=9,
        trained_tokens=5,
        encoded_sha256="0",
    )
    events: list[Event] = [started]
    events += [Metric(step=0, epoch=0, eval_loss=3.0)] if begins == 0 else []
    for step in range(begins + 1, ends + 1):
        events.append(Metric(step=step, epoch=0, loss=2.0 / step))
        events += [Metric(step=step, epoch=0, eval_loss=3.0 / step)] if step % 2 == 0 else []
    for event in events:
        log.append(event)
        logs.take(event)
    logs.close()
    return said


LOSSES = [(step, pytest.approx(2.0 / step)) for step in range(1, 7)]
MEASURED = [(0, pytest.approx(3.0)), *((step, pytest.approx(3.0 / step)) for step in (2, 4, 6))]


def test_tensorboard_reads_each_step_once_though_the_run_was_killed_beyond_its_checkpoint(files: RunFiles):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert life(files, "tensorboard", 0, 5) == []
    assert life(files, "tensorboard", 3, 6) == []
    read = accumulator.EventAccumulator(str(files.folder / "tensorboard")).Reload()
    assert [(item.step, item.value) for item in read.Scalars("train/loss")] == LOSSES
    assert [(item.step, item.value) for item in read.Scalars("held_out/loss")] == MEASURED


def test_trackio_keeps_each_step_once_in_a_project_of_the_home(
    files: RunFiles, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("trackio")
    monkeypatch.setenv("TRACKIO_DIR", "")  # given back afterwards
    utils: Any = pytest.importorskip("trackio.utils")
    home = files.folder.parent.parent / "trackio"
    monkeypatch.setattr(utils, "TRACKIO_DIR", home)
    pytest.importorskip("trackio.sqlite_storage")
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", home, raising=False)
    assert life(files, "trackio", 0, 5) == []
    assert life(files, "trackio", 3, 6) == []
    (database,) = home.glob("*.db")
    with sqlite3.connect(database) as opened:
        rows = [
            (step, json.loads(text))
            for step, text in opened.execute("select step, metrics from metrics order by id")
        ]
    assert [(step, row["train/loss"]) for step, row in rows if "train/loss" in row] == LOSSES
    assert [(step, row["held_out/loss"]) for step, row in rows if "held_out/loss" in row] == MEASURED


def test_weights_and_biases_without_a_key_is_logged_offline_and_nothing_names_the_data(
    files: RunFiles, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("wandb")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(files.folder))  # no netrc
    (said,) = life(files, "wandb", 0, 5)
    assert isinstance(said, Warned)
    assert str(said.text).startswith("Weights & Biases has no key here")
    (written,) = files.folder.glob("wandb/offline-run-*/*.wandb")
    until = time.monotonic() + 60  # its own process writes the file, after the run has let go of it
    while b"train/loss" not in (content := written.read_bytes()) and time.monotonic() < until:
        time.sleep(0.1)
    assert b"train/loss" in content
    assert b"secret" not in content


def test_of_what_cannot_be_taken_back_only_what_is_new_is_written():
    onward = other_logs._Onward({"train/loss": 5, "held_out/loss": 4})
    assert onward.new(5, {"train/loss": 1.0}) == {}
    assert onward.new(6, {"train/loss": 1.0, "held_out/loss": 2.0}) == {
        "train/loss": 1.0,
        "held_out/loss": 2.0,
    }
    assert onward.new(6, {"train/loss": 1.0}) == {}


def test_a_program_that_is_not_installed_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(other_logs, "find_spec", lambda name: None)
    with pytest.raises(StudioError) as error:
        other_logs.check(config("wandb").train)
    assert error.value.message == "The run is to be logged to Weights & Biases, which is not installed."
    assert "pip install wandb" in error.value.remedy


def test_a_log_that_fails_is_let_go_and_the_run_goes_on(files: RunFiles):
    pytest.importorskip("tensorboard")
    (files.folder / "tensorboard").write_text("a file where the folder should be")
    said = life(files, "tensorboard", 0, 2)
    assert [str(event.text).split(":")[0] for event in said if isinstance(event, Warned)] == [
        "The run is no longer logged to TensorBoard"
    ]


def test_nothing_is_reported_unless_it_is_asked_for():
    assert RunConfig.model_validate({"data": {"path": "rows.jsonl"}}).train.report_to == []
