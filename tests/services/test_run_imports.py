"""Runs from archives of their folders: unpacked within bounds, never beside their place, taken over or refused."""

from __future__ import annotations

import shutil
import time
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from studio.domain.errors import StudioError
from studio.services import receipts, run_imports, tasks
from studio.services.run_files import RunFiles
from studio.services.store import Store
from studio.services.trained import read_trained
from tests.services.test_receipts import here, run

__all__ = ["here", "run"]


def nothing(phase: str, done: float, total: float) -> None:
    """No progress is shown."""


@pytest.fixture
def archive(tmp_path: Path, run: RunFiles) -> Path:
    """What the first machine's page gives."""
    path = tmp_path / "run.zip"
    path.write_bytes(b"".join(receipts.packed(Store(run.folder.parent.parent), run.id).chunks()))
    return path


def test_a_run_s_archive_is_taken_over_in_the_background(archive: Path, here: Store, run: RunFiles) -> None:
    task = run_imports.start(here, str(archive))
    while tasks.status(here, task).state == "running":
        time.sleep(0.05)
    ended = tasks.status(here, task)
    assert (ended.error, ended.result) == (None, {"run": run.id})
    assert read_trained(RunFiles(here.run_dir(run.id))).model_path == here.models_dir / "tiny"
    assert [*here.tmp_dir.iterdir()] == []


@pytest.mark.parametrize("inside", ["", "somewhere/"])
def test_the_run_may_lie_at_the_top_or_in_a_folder(
    tmp_path: Path, here: Store, run: RunFiles, inside: str
) -> None:
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as packed:
        for file in sorted(run.folder.rglob("*")):
            packed.write(file, f"{inside}{file.relative_to(run.folder)}")
    assert run_imports.take_over(here, tmp_path / "mine.zip", None, nothing) == run.id


def test_a_folder_is_taken_over_without_unpacking(here: Store, run: RunFiles) -> None:
    assert run_imports.take_over(here, run.folder, None, nothing) == run.id


def test_names_that_lead_elsewhere_are_written_nowhere_else(tmp_path: Path, here: Store) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as packed:
        packed.writestr("../../run.json", "{}")
        packed.writestr(f"{tmp_path}/here/models/run.json", "{}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StudioError, match="was written by another version"):
        run_imports.take_over(here, tmp_path / "evil.zip", None, nothing)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_no_archive_is_said(tmp_path: Path, here: Store) -> None:
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(StudioError, match=r"text\.zip cannot be unpacked: File is not a zip file"):
        run_imports.take_over(here, tmp_path / "text.zip", None, nothing)


def test_an_archive_too_large_for_the_disk_is_not_unpacked(
    archive: Path, here: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(StudioError, match=r"run\.zip needs \d+ MB and 1 MB are free"):
        run_imports.take_over(here, archive, None, nothing)
    assert [*here.tmp_dir.iterdir()] == []


def test_nothing_and_what_is_not_there_are_refused_at_once(here: Store) -> None:
    with pytest.raises(StudioError, match="No run is given"):
        run_imports.start(here, "")
    with pytest.raises(StudioError, match="There is no file or folder /nowhere"):
        run_imports.start(here, "/nowhere")
