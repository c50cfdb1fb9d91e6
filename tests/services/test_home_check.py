"""What a crash leaves in a home is found and mended, and nobody's work goes with it."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from studio.services import home_check
from studio.services.run_files import RunFiles, State
from studio.services.store import Store
from tests.runs import finished_run, with_checkpoint

GONE = 2**22 + 1
"""No process has this number."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run that is finished and has a checkpoint, and a dataset."""
    store = Store(tmp_path_factory.mktemp("made"))
    with_checkpoint(finished_run(store), 2)
    file = store.tmp_dir / "rows.jsonl"
    file.write_text('{"prompt": "Which way is north?", "completion": "Up."}\n', encoding="utf-8")
    store.save_dataset(file)
    file.unlink()
    return store.home


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Store:
    shutil.copytree(made, tmp_path / "home", dirs_exist_ok=True)
    return Store(tmp_path / "home")


def run_of(store: Store) -> RunFiles:
    return RunFiles(store.run_dir(store.run_ids()[0]))


def long_ago(*paths: Path) -> None:
    """As if nobody had been there for a day."""
    then = time.time() - 86_400
    for path in paths:
        for each in [*(path.rglob("*") if path.is_dir() else ()), path]:
            os.utime(each, (then, then))


def kinds(store: Store) -> list[str]:
    return sorted(flaw.kind for flaw in home_check.flaws(store))


def test_a_home_in_order_has_no_flaw_and_stays_as_it_is(store: Store) -> None:
    before = {path: path.stat().st_mtime for path in store.home.rglob("*")}
    assert home_check.flaws(store) == []
    assert {path: path.stat().st_mtime for path in store.home.rglob("*")} == before


def test_a_run_whose_process_is_gone_is_marked_as_interrupted(store: Store) -> None:
    files = run_of(store)
    (files.folder / "state.json").unlink()
    files.write_state(State("running", GONE, 1.0))
    long_ago(files.folder / "state.json")
    assert kinds(store) == ["lost_process"]
    home_check.repair(home_check.flaws(store))
    assert files.state().state == "interrupted"
    assert kinds(store) == []


def test_what_was_half_written_is_set_aside_with_all_that_it_holds(store: Store) -> None:
    run, dataset = store.runs_dir / "20260101-000000-half", store.datasets_dir / "half"
    for folder in (run, dataset):
        folder.mkdir()
        (folder / "rows.jsonl").write_text("{}\n", encoding="utf-8")
    assert kinds(store) == []  # somebody may be at it
    long_ago(run, dataset)
    assert kinds(store) == ["half_made", "half_made"]
    home_check.repair(home_check.flaws(store))
    assert kinds(store) == []
    aside = sorted(
        path.relative_to(store.home).parts[2:] for path in (store.home / "set-aside").rglob("*.jsonl")
    )
    assert aside == [("datasets", "half", "rows.jsonl"), ("runs", run.name, "rows.jsonl")]


def test_a_damaged_checkpoint_is_named_with_its_file_and_set_aside(store: Store) -> None:
    files = run_of(store)
    (checkpoint,) = files.checkpoints.glob("step-*")
    weights = checkpoint / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    (flaw,) = home_check.flaws(store)
    assert str(flaw.message) == (
        f"{checkpoint.name} of {files.id} is not as it was written (weights.safetensors)."
    )
    home_check.repair([flaw])
    assert kinds(store) == []
    assert list((store.home / "set-aside").rglob("weights.safetensors"))


def test_what_killed_processes_left_behind_is_removed(store: Store) -> None:
    files = run_of(store)
    left = [
        files.checkpoints / ".step-000004.partial",
        store.tmp_dir / f"deleted-20260101-000000-old-{GONE}",
    ]
    for folder in left:
        folder.mkdir()
        (folder / "weights.safetensors").write_bytes(b"half")
    left += [files.reserve, files.folder / ".state.json.abc123", store.tmp_dir / f"chat-{GONE}.log"]
    for file in left[2:]:
        file.write_text("{", encoding="utf-8")
    assert kinds(store) == []
    long_ago(*left)
    assert sorted(flaw.path for flaw in home_check.flaws(store)) == sorted(left)
    home_check.repair(home_check.flaws(store))
    assert not any(path.exists() for path in left)
    assert kinds(store) == []


def test_unreadable_files_are_told_from_those_that_only_a_person_can_restore(store: Store) -> None:
    files = run_of(store)
    (files.folder / "state.json").write_text('{"state": "fini', encoding="utf-8")
    (store.talks_dir / "20260101-0000.json").write_text("", encoding="utf-8")
    (store.datasets_dir / "rows" / "dataset.json").write_text("{}", encoding="utf-8")
    assert kinds(store) == ["damaged_dataset", "unreadable_state", "unreadable_talk"]
    home_check.repair(home_check.flaws(store))
    assert kinds(store) == ["damaged_dataset"]
    assert files.state().state == "interrupted"
    (files.folder / "run.json").write_text("[", encoding="utf-8")
    assert kinds(store) == ["damaged_dataset", "unreadable_run"]


def test_missing_events_and_a_missing_result_are_said(store: Store) -> None:
    files = run_of(store)
    lines = [
        {"seq": number, "at": "2026-01-01T00:00:00.000Z", "type": "phase", "name": "saving"}
        for number in (1, 2, 4)
    ]
    files.events.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    shutil.rmtree(files.adapter)
    messages = [str(flaw.message) for flaw in home_check.flaws(store)]
    assert messages == [
        f"{files.id} is finished, but its result is not there.",
        f"Of the events of {files.id}, those after number 2 are missing.",
    ]


def test_the_homes_of_users_are_looked_through_too(store: Store) -> None:
    mine = store.of_user("ada")
    half = mine.runs_dir / "20260101-000000-half"
    half.mkdir()
    long_ago(half)
    (flaw,) = home_check.flaws(store)
    home_check.repair([flaw])
    assert not half.exists()
    assert [path.name for path in (mine.home / "set-aside").glob("*/runs/*")] == [half.name]


def test_room_is_told_by_what_takes_it(store: Store) -> None:
    room = home_check.room(store)
    assert tuple(room) == home_check.PARTS
    assert room["checkpoints"] > 0
    assert room["results"] > 0
    assert room["exports"] == 0
    on_disk = sum(path.lstat().st_blocks * 512 for path in store.home.rglob("*") if path.is_file())
    assert sum(room.values()) == on_disk


def test_checkpoints_of_runs_that_finished_long_ago_can_go_and_their_results_stay(store: Store) -> None:
    files = run_of(store)
    assert home_check.old_checkpoints(store, 30) == []
    (old,) = home_check.old_checkpoints(store, 0)
    assert (old.run, [folder.name for folder in old.folders]) == (files.id, ["step-000005"])
    assert home_check.remove_checkpoints([old]) == old.bytes > 0
    assert files.has_result()
    assert home_check.old_checkpoints(store, 0) == []
    assert kinds(store) == []


def test_a_run_that_can_be_resumed_keeps_its_checkpoints(store: Store) -> None:
    files = run_of(store)
    (files.folder / "state.json").unlink()
    files.write_state(State("stopped"))
    assert home_check.old_checkpoints(store, 0) == []
