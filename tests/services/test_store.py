from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.domain.errors import StudioError
from studio.services.files import explained, write_json
from studio.services.store import Store, slug


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def writing(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "cleaned.jsonl").write_text(text, encoding="utf-8")

    return write


def test_a_dataset_keeps_its_original_when_it_is_repaired_and_goes_back_to_it(
    store: Store, tmp_path: Path
) -> None:
    upload = tmp_path / "My rows.CSV"
    upload.write_text("prompt,response\na,b\n", encoding="utf-8")
    entry = store.save_dataset(upload)
    cleaned = store.put_rows(entry.id, writing("{}"), "cleaned.jsonl")
    assert (entry.name, entry.original.name, cleaned.path.name) == (
        "My rows.CSV",
        "my-rows.csv",
        "cleaned.jsonl",
    )
    assert entry.original.read_text(encoding="utf-8") == upload.read_text(encoding="utf-8")
    assert store.revert_dataset(entry.id).path == entry.original


def test_rows_that_cannot_be_written_leave_all_as_it_is(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n" * 5, encoding="utf-8")
    dataset = store.save_dataset(tmp_path / "a.jsonl").id
    before = store.put_rows(dataset, writing("first"), "cleaned.jsonl")

    def broken(folder: Path) -> None:
        writing("second")(folder)
        raise OSError(errno.EIO, "boom")

    with pytest.raises(OSError, match="boom"):
        store.put_rows(dataset, broken, "cleaned.jsonl")
    assert store.dataset(dataset) == before
    assert before.path.read_text() == "first"
    assert len(list(before.original.parent.glob("repair*"))) == 1


def test_what_a_crash_left_behind_goes_with_the_next_rows(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n" * 5, encoding="utf-8")
    entry = store.save_dataset(tmp_path / "a.jsonl")
    left = entry.original.parent / "repair"
    left.mkdir()
    (left / "cleaned.jsonl").write_text("half", encoding="utf-8")
    assert not store.dataset(entry.id).cleaned
    repaired = [store.put_rows(entry.id, writing("whole"), "cleaned.jsonl") for _ in range(3)]
    assert [item.path.parent.name for item in repaired] == ["repair-2", "repair-3", "repair-4"]
    assert repaired[-1].path.read_text() == "whole"
    assert repaired[-2].path.is_file()
    assert len(list(entry.original.parent.glob("repair*"))) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"name": 1}',
        '{"name": "b", "created": "x", "in_use": "b", "original": "b"}',
        '{"name": "b", "created": "x", "in_use": "../a/a.jsonl", "original": "a.jsonl"}',
    ],
)
def test_a_damaged_dataset_hides_no_other_and_can_be_deleted(store: Store, tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jsonl").write_text("{}", encoding="utf-8")
    good, bad = (store.save_dataset(tmp_path / "a.jsonl").id for _ in range(2))
    (store.datasets_dir / bad / "dataset.json").write_text(text, encoding="utf-8")
    assert ([entry.id for entry in store.datasets()], store.damaged_datasets()) == ([good], [bad])
    with pytest.raises(StudioError, match=r"The dataset a-2 is damaged\. Delete it"):
        store.dataset(bad)
    store.delete_dataset(bad)
    assert [path.name for path in store.datasets_dir.iterdir()] == [good]
    assert list(store.tmp_dir.iterdir()) == []


@pytest.mark.parametrize("name", ["gone", "../runs", ".", "/etc"])
def test_only_a_dataset_can_be_deleted(store: Store, name: str) -> None:
    with pytest.raises(StudioError):
        store.delete_dataset(name)
    assert store.runs_dir.is_dir()


@pytest.mark.parametrize("name", ["dataset.json", "cleaned.jsonl", "repair"])
def test_an_upload_called_like_one_of_our_files_replaces_none(
    store: Store, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("mine", encoding="utf-8")
    entry = store.save_dataset(tmp_path / name)
    assert (entry.name, entry.path.read_text(encoding="utf-8")) == (name, "mine")


def test_datasets_of_one_name_lie_side_by_side(store: Store, tmp_path: Path) -> None:
    upload = tmp_path / "a.jsonl"
    upload.write_text("{}", encoding="utf-8")
    assert [store.save_dataset(upload).id for _ in range(2)] == ["a", "a-2"]
    assert len(store.datasets()) == 2


def test_the_home_is_for_its_owner_only(store: Store) -> None:
    assert store.home.stat().st_mode & 0o077 == 0


def test_a_name_becomes_a_safe_folder_name() -> None:
    assert [slug(name) for name in ("../../etc/passwd", "Ärger & Co", "…", "x" * 99)] == [
        "etc-passwd",
        "rger-co",
        "untitled",
        "x" * 40,
    ]


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state.json"
    write_json(file, {"a": 1})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StudioError, match=r"The disk is full: .*state\.json could not be written"):
        write_json(file, {"a": 2})
    assert file.read_text(encoding="utf-8") == '{\n  "a": 1\n}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_other_failures_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="boom"), explained(tmp_path):
        raise OSError(errno.EIO, "boom")
