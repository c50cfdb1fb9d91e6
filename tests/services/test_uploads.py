"""Several files at once, a folder of this machine, and what was said about how a file is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.domain.config import DataConfig
from studio.domain.errors import StudioError
from studio.engine.dataset import load_training, read
from studio.engine.records import SourceRows
from studio.engine.sources import SourceFile
from studio.services import uploads
from studio.services.store import Store
from studio.services.uploads import Elsewhere


def files(folder: Path, **texts: str) -> list[SourceFile]:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return [SourceFile(path, path.name) for path in sorted(folder.iterdir())]


ROW = '{"prompt": "q", "response": "a"}\n'


def test_several_files_are_one_dataset_whose_rows_know_their_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    given = files(tmp_path / "given", train_jsonl=ROW * 2 + "{\n", test_csv="prompt,response\nq3,a3\n")
    entry = uploads.keep(store, given)
    assert (entry.name, entry.read_as) == ("test.csv, train.jsonl", {"split": "all"})
    dataset = read(entry.path, read_as=entry.read_as)
    assert dataset.sources == [SourceRows("test.csv", 1, 1), SourceRows("train.jsonl", 2, 4)]
    assert [row.row for row in dataset.conversations] == [1, 2, 3]
    (broken,) = dataset.quarantined
    assert (broken.file, broken.line, broken.text) == ("train.jsonl", 3, "{")
    config = DataConfig(path=str(entry.path), read_as=dict(entry.read_as), held_out_share=0)
    assert len(load_training(config, seed=0).train) == 3


def test_two_files_of_the_same_name_are_both_kept(tmp_path: Path) -> None:
    (left,), (right,) = (files(tmp_path / name, a_jsonl=ROW) for name in ("left", "right"))
    entry = uploads.keep(Store(tmp_path / "home"), [left, right])
    assert [part.file for part in read(entry.path, read_as=entry.read_as).sources] == ["a.jsonl", "2/a.jsonl"]


def test_files_of_which_no_row_can_be_used_are_not_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    with pytest.raises(StudioError):
        uploads.keep(store, files(tmp_path / "given", a_jsonl="{\n", b_jsonl="{\n"))
    assert store.datasets() == []


def test_what_was_said_about_a_file_is_how_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("prompt,x|response\n你好|再见\n".encode("gb18030"))
    said = {"encoding": "gb18030", "delimiter": "|"}
    columns = {"prompt": "prompt,x", "response": "response"}
    (row,) = read(path, columns=columns, read_as=said).conversations
    assert (row.prompt, row.response) == ("你好", "再见")
    seen = uploads.glance(path, said)
    assert (seen.read_as.encoding, seen.read_as.delimiter, seen.recognised) == ("gb18030", "|", False)
    for wrong in ({"encoding": "zip"}, {"delimiter": "ab"}, {"texts": "words"}, {"mood": "glad"}):
        with pytest.raises(StudioError):
            read(path, read_as=wrong)


def test_a_text_can_be_one_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One.\n\nTwo.\n", encoding="utf-8")
    assert len(read(tmp_path / "a.txt").conversations) == 2
    (whole,) = read(tmp_path / "a.txt", read_as={"texts": "documents"}).conversations
    assert whole.response.startswith("One.\n\nTwo.")


def test_a_packed_text_is_still_a_text_once_it_is_kept(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "My Book.txt.gz").write_bytes(gzip.compress(b"One, two.\n\nThree, four.\n"))
    entry = uploads.keep(
        Store(tmp_path / "home"), [SourceFile(tmp_path / "My Book.txt.gz", "My Book.txt.gz")]
    )
    assert entry.path.suffixes == [".txt", ".gz"]
    assert read(entry.path).format == "text"


def test_a_folder_is_kept_with_all_its_splits_and_one_of_them_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    files(tmp_path / "set", train_jsonl=ROW, test_jsonl=ROW * 2)
    asked = Elsewhere(str(tmp_path / "set")).to_json()
    done = uploads.run(store, asked, lambda phase, done, total: None)
    entry = store.dataset(done["dataset"])
    assert entry.name == "set"
    assert len(read(entry.path, read_as=entry.read_as).conversations) == 1
    assert uploads.glance(entry.path).read_as.splits == ("test", "train")
    assert len(read(entry.path, read_as={"split": "test"}).conversations) == 2


def test_who_is_elsewhere_does_not_read_this_machine(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    files(tmp_path / "set", a_jsonl=ROW)
    for path in (str(tmp_path / "set"), "/etc/passwd", "~", "."):
        with pytest.raises(StudioError, match="is not the id of a hub dataset"):
            uploads.start_fetching(store, Elsewhere(path), local=False)
    with pytest.raises(StudioError, match="There is no file or folder"):
        uploads.start_fetching(store, Elsewhere(str(tmp_path / "nothing")), local=True)
    with pytest.raises(StudioError, match="No dataset is named"):
        uploads.start_fetching(store, Elsewhere(" "), local=True)
