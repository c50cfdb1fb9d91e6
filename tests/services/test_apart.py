"""Work on the rows of large files in the process apart from the page."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from studio.domain.config import DataConfig, RunConfig
from studio.domain.errors import StudioError
from studio.services import apart, surveys


@pytest.fixture
def large(tmp_path: Path) -> RunConfig:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b" " * (surveys.LARGE + 1))
    return RunConfig(data=DataConfig(path=str(file)))


def test_small_files_are_read_here(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("{}\n", encoding="utf-8")
    assert apart.work(RunConfig(data=DataConfig(path=str(file))), os.getpid) == os.getpid()


def test_large_files_are_read_by_one_other_process(large: RunConfig) -> None:
    assert apart.work(large, os.getpid) == apart.work(large, os.getpid) != os.getpid()


def test_what_a_person_is_told_comes_back_as_it_was_said(large: RunConfig) -> None:
    with pytest.raises(StudioError, match="row 3 has no response"):
        apart.work(large, _refuse, 3)


def test_a_process_that_is_ended_is_said_and_replaced(large: RunConfig) -> None:
    psutil.Process(apart.work(large, os.getpid)).kill()
    with pytest.raises(StudioError, match="ended before it was done"):
        apart.work(large, os.getpid)
    assert apart.work(large, os.getpid) != os.getpid()


def _refuse(row: int) -> None:
    raise StudioError("row {row} has no response", row=row)
