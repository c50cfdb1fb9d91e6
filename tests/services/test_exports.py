"""Exports in the background: started once, watched from anywhere, proven; what is killed says so."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.domain.config import ExportConfig, parse_config
from studio.domain.errors import StudioError
from studio.domain.events import Metric, Phase
from studio.services import exports, proven
from studio.services.exports import ExportFiles
from studio.services.files import read_json
from studio.services.jobs import Jobs
from studio.services.log import EventLog, tail
from studio.services.run_files import RunFiles, State
from studio.services.store import Store
from studio.services.subject import Subject
from studio.services.trained import result_sums
from studio.services.worker import Worker
from tests.runs import finished_run
from tests.services.test_every_setting import BASE
from tests.tiny import tiny_model


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def run(store: Store) -> RunFiles:
    return finished_run(store)


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_export_runs_by_itself_and_is_proven(store: Store, run: RunFiles) -> None:
    name = exports.start(store, run.id, ExportConfig(dtype="float32"))
    assert name == "merged-float32"
    assert exports.status(store, run.id, name).state == "running"
    assert exports.start(store, run.id, ExportConfig(dtype="float32")) == name  # a second click
    until(lambda: exports.status(store, run.id, name).state != "running")
    status = exports.status(store, run.id, name)
    assert (status.state, status.message) == ("finished", "")
    assert status.result is not None
    assert status.result["verified"]["passed"] is True
    assert status.result["verified"]["greedy_match"] == 1.0
    assert status.result["bytes"] == sum(path.stat().st_size for path in status.files.iterdir())
    assert Path(status.result["path"]) == status.files == run.exports / name / "files"
    card = (status.files / "README.md").read_text()
    assert "| Rows trained on | 8 |" in card
    assert "| Rows kept from training to measure on | 2 |" in card
    assert "| Held-out loss | 0.75 |" in card
    events, _ = tail(ExportFiles(run.exports / name).events)
    phases = list(dict.fromkeys(event.name for event in events if isinstance(event, Phase)))
    assert phases == ["loading", "merging", "saving", "verifying"]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))

    exports.delete(store, run.id, name)
    assert exports.list_exports(store, run.id) == []
    assert not status.files.exists()


def test_an_export_that_was_altered_is_no_longer_proven(store: Store, run: RunFiles) -> None:
    name = exports.start(store, run.id, ExportConfig(dtype="float32"))
    until(lambda: exports.status(store, run.id, name).state != "running")
    assert proven.named(store, run.id, name).state == "finished"
    weights = exports.status(store, run.id, name).files / "model.safetensors"
    whole, written = weights.read_bytes(), weights.stat()
    weights.write_bytes(whole[:-4] + b"\0\1\2\3")
    os.utime(weights, ns=(written.st_atime_ns, written.st_mtime_ns))  # as old as it was: only its bytes tell
    with pytest.raises(StudioError, match=r"The file model\.safetensors of this export is not as it was"):
        proven.named(store, run.id, name)
    os.utime(weights, (written.st_atime, written.st_mtime + 60))
    status = exports.status(store, run.id, name)
    assert (status.state, status.message) == (
        "failed",
        "The file model.safetensors of this export is not as it was when the export was made.",
    )
    weights.write_bytes(whole)
    assert exports.status(store, run.id, name).state == "finished"


def test_a_run_whose_weights_were_altered_is_not_exported(store: Store, run: RunFiles) -> None:
    run.write_env({**run.env(), "sha256": {**run.env()["sha256"], "result": result_sums(run)}})
    assert exports.ready(store, run.id) == run
    (weights,) = run.adapter.glob("*.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(StudioError, match="are not those that it wrote"):
        exports.start(store, run.id, ExportConfig())
    with pytest.raises(StudioError, match="are not those that it wrote"):
        Subject(run.folder).load()


def test_a_run_that_was_stopped_gives_no_script(store: Store, run: RunFiles, tmp_path: Path) -> None:
    for export in (
        lambda: exports.start(store, run.id, ExportConfig(to="script")),
        lambda: exports.run_export(store, run.id, ExportConfig(to="script"), tmp_path / "out"),
    ):
        with pytest.raises(StudioError, match="did not come to its end, so no script can repeat it"):
            export()


def test_a_killed_export_is_interrupted_and_leaves_no_files(store: Store, run: RunFiles) -> None:
    name = exports.start(store, run.id, ExportConfig())
    export = ExportFiles(run.exports / name)
    until(lambda: any(isinstance(event, Phase) for event in tail(export.events)[0]))
    os.kill(json.loads(export.process.read_text())["pid"], signal.SIGKILL)
    until(lambda: exports.status(store, run.id, name).state != "running")
    status = exports.status(store, run.id, name)
    assert status.state == "interrupted"
    assert status.message == "The export's process ended before it was done."
    assert status.remedy == "Start it again."
    assert not status.files.exists()
    assert exports.start(store, run.id, ExportConfig()) == "merged-bfloat16-2"
    exports.delete(store, run.id, "merged-bfloat16-2")  # while it works
    assert [status.name for status in exports.list_exports(store, run.id)] == ["merged-bfloat16"]


def test_what_goes_wrong_is_said_with_its_remedy(store: Store) -> None:
    run = finished_run(store, "whole", "full")
    name = exports.start(store, run.id, ExportConfig(to="adapter"))
    until(lambda: exports.status(store, run.id, name).state != "running")
    status = exports.status(store, run.id, name)
    assert status.state == "failed"
    assert status.message == "The run whole trained every weight, so it has no adapter."
    assert status.remedy == "Export it as `merged`."
    assert status.result is None


def test_an_export_that_is_not_proven_has_failed_but_is_there(store: Store, run: RunFiles) -> None:
    result = exports.run_export(
        store, run.id, ExportConfig(dtype="float32"), run.exports / "x" / "files"
    ).to_json()
    reason = {"template": "Its answers differ by {kl}.", "values": {"kl": "1.5"}}
    result["verified"] |= {"passed": False, "reason": "Its answers differ by 1.5.", "reason_texts": [reason]}
    export = ExportFiles(run.exports / "x")
    export.request.write_text(json.dumps({"schema": 1, "config": {}, "created": "2026-01-01T00:00:00.000Z"}))
    export.result.write_text(json.dumps(result))
    status = exports.status(store, run.id, "x")
    assert (status.state, status.message) == ("failed", "Its answers differ by 1.5.")
    assert status.remedy.startswith("Its files are kept, but do not rely on them")
    assert status.result == read_json(export.result)


def test_how_far_it_is_can_be_read_at_any_time(store: Store, run: RunFiles) -> None:
    export = ExportFiles(run.exports / "merged-bfloat16")
    export.folder.mkdir(parents=True)
    export.request.write_text(json.dumps({"schema": 1, "config": {}, "created": "2026-01-01T00:00:00.000Z"}))
    export.process.write_text(
        json.dumps({"pid": os.getpid(), "started": exports.process.start_time(os.getpid())})
    )
    EventLog(export.events).append(Phase(name="verifying", done=4, total=16))
    status = exports.status(store, run.id, "merged-bfloat16")
    assert (status.state, status.phase, status.progress) == ("running", "verifying", 0.25)


def test_an_export_to_any_folder_in_this_process(store: Store, run: RunFiles, tmp_path: Path) -> None:
    seen: list[str] = []
    result = exports.run_export(
        store,
        run.id,
        ExportConfig(to="adapter"),
        tmp_path / "out",
        lambda phase, done, total: seen.append(phase),
    )
    assert result.verified.passed
    assert result.path == tmp_path / "out"
    assert list(dict.fromkeys(seen)) == ["loading", "saving", "verifying"]
    assert exports.list_exports(store, run.id) == []


def test_a_run_at_work_is_not_exported(store: Store, run: RunFiles) -> None:
    (run.folder / "state.json").unlink()
    run.write_state(State("running", os.getpid(), exports.process.start_time(os.getpid())))
    with pytest.raises(StudioError, match="The run tuned is still running"):
        exports.start(store, run.id, ExportConfig())


@pytest.mark.parametrize("name", ["../..", "..", "", "nothing", "/etc"])
def test_a_name_that_is_no_export_opens_no_folder(store: Store, run: RunFiles, name: str) -> None:
    for verb in (exports.status, exports.delete):
        with pytest.raises(StudioError, match=r"There is no export .* of this run"):
            verb(store, run.id, name)


def test_a_run_is_exported_as_a_script_with_the_rows_and_rates_of_its_log(
    store: Store, tmp_path: Path
) -> None:
    tiny_model(store.models_dir / "tiny")
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"instruction": "Say {n}.", "output": "{n}."}}\n' for n in range(8)))
    values = {**BASE, "train.learning_rate": 1e-2, "data.path": str(rows), "train.batch_size": 4}
    given = parse_config({"data": {"path": str(rows)}}).with_values(values)
    files = Jobs(store).write(given)
    assert Worker(files.folder).run() == 0
    result = exports.run_export(store, files.id, ExportConfig(to="script"), tmp_path / "out")
    assert result.verified is None
    assert {
        "train.py",
        "recipe.json",
        "README.md",
        "data/encoded.jsonl",
        "expected/adapter_model.safetensors",
    } < set(result.files)
    recipe = json.loads((tmp_path / "out" / "recipe.json").read_text())
    logged = [
        event for event in tail(files.events)[0] if isinstance(event, Metric) and event.loss is not None
    ]
    until = int(Jobs(store).get(files.id).metrics["result_step"])
    assert recipe["losses"] == [event.loss for event in logged][:until]
    assert recipe["learning_rates"] == [event.learning_rate for event in logged][:until]
    assert len((tmp_path / "out" / "data" / "rows.jsonl").read_text().splitlines()) == len(files.train_rows())
