from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from studio.domain.errors import StudioError
from studio.domain.history import RowChange
from studio.engine.assets import ASSETS
from studio.engine.checks import run_checks
from studio.engine.dataset import read
from studio.services import history, surveys, tasks
from studio.services.store import Store
from studio.services.surveys import Unsurveyed

DIRTY = ASSETS / "samples" / "dirty.jsonl"


def ended(store: Store, task: str) -> tasks.TaskStatus:
    while (found := tasks.status(store, task)).state == "running":
        time.sleep(0.05)
    return found


def at_work(store: Store, folder: Path) -> tuple[str, psutil.Process]:
    """A survey that takes seconds, once it has begun: its task, and the process that was started for it."""
    line = json.dumps({"prompt": "question " * 30, "response": "answer " * 300}) + "\n"
    (folder / "rows.jsonl").write_text(line * 20_000, encoding="utf-8")
    task = surveys.start(store, folder / "rows.jsonl", "auto", None)
    while not tasks.status(store, task).total:
        time.sleep(0.02)
    written = (store.home / "tasks" / task / "process.json").read_text(encoding="utf-8")
    return task, psutil.Process(json.loads(written)["pid"])


def test_a_process_of_its_own_finds_what_the_checks_find_in_memory(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    with pytest.raises(Unsurveyed):
        surveys.kept(store, DIRTY, "auto", None)
    task = surveys.start(store, DIRTY, "auto", None)
    assert surveys.start(store, DIRTY, "auto", None) == task
    assert ended(store, task).state == "finished"
    found, data = surveys.kept(store, DIRTY, "auto", None), read(DIRTY)
    assert found.report.after(found.about_file) == run_checks(data.conversations, findings=data.findings)
    dataset = surveys.as_dataset(found, DIRTY)
    assert list(dataset.conversations) == data.conversations
    assert (dataset.total, dataset.findings) == (data.total, data.findings)


def test_the_same_bytes_are_surveyed_once_and_others_anew(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    found = surveys.made(store, DIRTY)
    same = Path(shutil.copy(DIRTY, tmp_path / "same.jsonl"))
    assert surveys.kept(store, same, "auto", None) is found
    same.write_bytes(DIRTY.read_bytes() + b'{"instruction": "q", "output": "a"}\n')
    with pytest.raises(Unsurveyed):
        surveys.kept(store, same, "auto", None)
    assert len(surveys.made(store, same).rows) == len(found.rows) + 1
    same.unlink()
    surveys.sweep(store)
    assert len(list((store.home / "cache" / "surveys").iterdir())) == 1


def test_the_survey_of_a_file_named_from_where_one_stands_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "home")
    (tmp_path / "rows.jsonl").write_text('{"prompt": "q", "response": "a"}\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    surveys.made(store, Path("rows.jsonl"))
    monkeypatch.chdir("/")
    surveys.sweep(store)
    assert len(list((store.home / "cache" / "surveys").iterdir())) == 1


def test_a_survey_that_is_ended_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    task, _ = at_work(store, tmp_path)
    surveys.cancel(store, task)
    assert tasks.status(store, task).state == "stopped"
    assert not list((store.home / "cache" / "surveys").iterdir())


def test_one_large_file_is_checked_after_the_other(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    with FileLock(store.surveys_lock):
        task = surveys.start(store, DIRTY, "auto", None)
        deadline = time.monotonic() + 60
        while (found := tasks.status(store, task)).phase != "waiting":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert found.state == "running"
    assert ended(store, task).state == "finished"


def test_a_survey_of_which_a_process_is_killed_fails_and_does_not_wait_for_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    task, worker = at_work(store, tmp_path)
    worker.children()[0].kill()
    assert ended(store, task).state == "failed"


def test_processes_that_check_end_with_the_one_that_surveys(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    task, worker = at_work(store, tmp_path)
    helpers = worker.children()
    worker.kill()
    assert psutil.wait_procs(helpers, timeout=60)[1] == []
    assert tasks.status(store, task).state == "failed"


def test_columns_that_are_not_known_are_asked_for_and_not_surveyed(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    file = tmp_path / "rows.csv"
    file.write_text("left,right\nq,a\n", encoding="utf-8")
    with pytest.raises(StudioError, match="in no format that is recognised"):
        surveys.kept(store, file, "auto", None)
    mapping = {"prompt": "left", "response": "right"}
    surveys.made(store, file, "columns", mapping)
    assert surveys.kept(store, file, "columns", mapping).rows[0].response == "a"


def test_after_a_step_the_rows_that_it_left_alone_are_known_from_the_survey_before(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    entry = store.save_dataset(DIRTY)
    before = surveys.made(store, entry.path)
    row = before.rows[4]
    new = row.with_contents(
        [*(message.content for message in row.messages[:-1]), "Write to anna@example.net"]
    )
    history.take(store, entry, "edit", [RowChange(row.row, row, new, ())], before.rows, row=row.row)
    path = store.dataset(entry.id).path
    assert surveys.earlier(store, path) == before.rows.path.parent
    found = surveys.made(store, path)
    assert found.report == run_checks(read(path).conversations)
    assert surveys.earlier(store, DIRTY) is None
