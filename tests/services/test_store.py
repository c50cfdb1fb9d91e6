from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from studio.domain.errors import StudioError
from studio.services.files import explained, write_json
from studio.services.store import Provenance, Store, slug


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def test_a_dataset_keeps_its_original_when_it_is_repaired_and_goes_back_to_it(
    store: Store, tmp_path: Path
) -> None:
    upload = tmp_path / "My rows.CSV"
    upload.write_text("prompt,response\na,b\n", encoding="utf-8")
    entry = store.save_dataset(upload)
    cleaned = store.save_cleaned(entry.id, lambda path: path.write_text("{}", encoding="utf-8"), [1], [])
    assert (entry.name, entry.original.name, cleaned.path.name) == (
        "My rows.CSV",
        "my-rows.csv",
        "cleaned.jsonl",
    )
    assert entry.original.read_text(encoding="utf-8") == upload.read_text(encoding="utf-8")
    assert store.revert_dataset(entry.id).path == entry.original


def test_each_repair_of_several_names_rows_by_their_number_in_the_upload(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n" * 5, encoding="utf-8")
    dataset = store.save_dataset(tmp_path / "a.jsonl").id
    write = lambda path: path.write_text("", encoding="utf-8")  # noqa: E731
    assert store.provenance(dataset) == Provenance()
    store.save_cleaned(dataset, write, [2, 4, 5], [{"row": 1}, {"row": 3}, {"row": 4}])
    store.save_cleaned(dataset, write, [1, 3], [{"row": 2}, {"row": 3}])
    store.save_cleaned(dataset, write, [2], [{"row": 1}])
    rows = [change["row"] for change in store.provenance(dataset).changes]
    assert (store.provenance(dataset).rows, rows) == ((5,), [1, 3, 4, 4, 5, 2])
    store.revert_dataset(dataset)
    assert store.provenance(dataset) == Provenance()
    store.save_cleaned(dataset, write, [1, 2], [{"row": 3}])
    assert store.provenance(dataset) == Provenance((1, 2), ({"row": 3},))


def test_a_repair_that_breaks_off_changes_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n" * 5, encoding="utf-8")
    dataset = store.save_dataset(tmp_path / "a.jsonl").id
    store.save_cleaned(dataset, lambda path: path.write_text("first"), [2, 4], [{"row": 1}])
    before = store.dataset(dataset), store.provenance(dataset)

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "boom")

    with pytest.raises(OSError, match="boom"):
        store.save_cleaned(dataset, broken, [1], [])
    monkeypatch.setattr("studio.services.store.write_json", broken)
    with pytest.raises(OSError, match="boom"):
        store.save_cleaned(dataset, lambda path: path.write_text("second"), [1], [])
    assert (store.dataset(dataset), store.provenance(dataset)) == before
    assert before[0].path.read_text() == "first"


def test_what_a_crash_in_a_repair_left_behind_goes_with_the_next(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n" * 5, encoding="utf-8")
    entry = store.save_dataset(tmp_path / "a.jsonl")
    left = entry.original.parent / "repair"
    left.mkdir()
    (left / "cleaned.jsonl").write_text("half", encoding="utf-8")
    assert not store.dataset(entry.id).cleaned
    repaired = [
        store.save_cleaned(entry.id, lambda path: path.write_text("whole"), [1], []) for _ in range(3)
    ]
    assert repaired[-1].path.read_text() == "whole"
    assert repaired[-2].path.is_file()
    assert len(list(entry.original.parent.glob("repair*"))) == 2


def test_rows_that_were_repaired_by_an_earlier_version_are_still_read(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n", encoding="utf-8")
    entry = store.save_dataset(tmp_path / "a.jsonl")
    folder = entry.original.parent
    (folder / "cleaned.jsonl").write_text("{}", encoding="utf-8")
    write_json(folder / "provenance.json", {"schema": 1, "rows": [3], "changes": [{"row": 1}]})
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    write_json(folder / "dataset.json", {**description, "in_use": "cleaned.jsonl"})
    assert store.dataset(entry.id).path == folder / "cleaned.jsonl"
    assert store.provenance(entry.id) == Provenance((3,), ({"row": 1},))
    store.save_cleaned(entry.id, lambda path: path.write_text("{}"), [1], [])
    assert store.provenance(entry.id) == Provenance((3,), ({"row": 1},))


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
