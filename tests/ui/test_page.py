from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from studio.domain.answer import ChatSettings
from studio.domain.chat import Message
from studio.domain.errors import StudioError
from studio.engine.dataset import read, write_messages
from studio.services.chat import ChatProcess
from studio.services.jobs import Jobs
from studio.services.plan import load_data
from studio.services.store import Store
from studio.ui.i18n import Words
from studio.ui.page import Draft, Drafts, Newest, Page, _handler
from studio.ui.rooms import Rooms
from tests.runs import finished_run
from tests.tiny import tiny_model

ENGLISH = SimpleNamespace(headers={"accept-language": "en"}, cookies={})
CHINESE = SimpleNamespace(headers={"accept-language": "zh-CN"}, cookies={})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def rows(folder: Path, text: str = '{"prompt": "a", "response": "b"}\n') -> Path:
    file = folder / "My rows.jsonl"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_draft_comes_back_from_the_browser_as_it_was() -> None:
    draft = Draft(
        "rows", {"train.epochs": 2, "train.learning_rate": "abc"}, row=3, run="20260101-x", held_out="y"
    )
    draft = replace(draft, general="z", broad=True)
    assert Draft.from_json(draft.to_json()) == draft


@pytest.mark.parametrize(
    "broken", [None, [], "x", 3, {"values": [1]}, {"row": -1}, {"row": "2"}, {"dataset": 5}]
)
def test_a_broken_draft_is_an_empty_one(broken: Any) -> None:
    assert Draft.from_json(broken) == Draft()


def test_a_draft_can_name_no_file_as_it_comes_from_a_browser(store: Store, tmp_path: Path) -> None:
    entry = store.save_dataset(rows(tmp_path))
    files = dict.fromkeys(("data.path", "data.held_out_path", "data.general_path"), "/etc/passwd")
    forged = {**files, "train.nonsense": 1}
    draft = Draft.from_json({"dataset": entry.id, "values": forged})
    assert draft.values == {}
    assert draft.config(store).data.path == str(entry.path)
    for escape in ("../../etc", "/etc", "..", "sample:../x"):
        with pytest.raises(StudioError):
            Draft(escape).config(store)
        with pytest.raises(StudioError):
            Draft(entry.id, held_out=escape).config(store)
        with pytest.raises(StudioError):
            Draft(entry.id, general=escape).config(store)


def test_the_rows_to_measure_on_are_read_as_the_upload_was_after_a_repair(
    store: Store, tmp_path: Path
) -> None:
    text = "frage,antwort\nq1,a1\nq2,a2\n"
    (tmp_path / "own.csv").write_text(text, encoding="utf-8")
    (tmp_path / "measure.csv").write_text(text.replace("q", "m"), encoding="utf-8")
    own, measure = (store.save_dataset(tmp_path / f"{name}.csv") for name in ("own", "measure"))
    columns = {"prompt": "frage", "response": "antwort"}
    draft = Draft(own.id, {"data.format": "columns", "data.columns": columns}, held_out=measure.id)
    dataset = read(own.path, format="columns", columns=columns)
    store.put_rows(
        own.id, lambda folder: write_messages(dataset.conversations, folder / "rows.jsonl"), "rows.jsonl"
    )
    data = load_data(store, draft.config(store))
    assert [row.prompt for row in data.train] == ["q1", "q2"]
    assert [row.prompt for row in data.held_out] == ["m1", "m2"]


def test_a_draft_without_a_dataset_says_what_to_do(store: Store) -> None:
    with pytest.raises(StudioError, match="No dataset is chosen yet"):
        Draft().config(store)


def test_a_run_is_called_after_the_file_that_was_uploaded(store: Store, tmp_path: Path) -> None:
    entry = store.save_dataset(rows(tmp_path))
    assert Draft(entry.id).config(store).name == "My rows"
    assert Draft(entry.id, {"name": "mine"}).config(store).name == "mine"


def test_a_value_that_is_wrong_keeps_a_run_from_starting(store: Store, tmp_path: Path) -> None:
    draft = Draft(store.save_dataset(rows(tmp_path)).id).with_value("train.learning_rate", "abc")
    with pytest.raises(StudioError, match=r"train\.learning_rate is 'abc'"):
        draft.config(store)


def test_the_mapping_of_the_upload_is_not_applied_to_its_repaired_rows(store: Store, tmp_path: Path) -> None:
    entry = store.save_dataset(rows(tmp_path))
    draft = Draft(entry.id, {"data.format": "columns", "data.columns": {"prompt": "q", "response": "a"}})
    assert draft.reading(entry) == ("columns", {"prompt": "q", "response": "a"}, None)
    cleaned = store.put_rows(entry.id, lambda folder: write_messages([], folder / "rows.jsonl"), "rows.jsonl")
    assert draft.reading(cleaned) == ("auto", None, None)


def call(fn: Any, *values: Any, request: Any = ENGLISH, outputs: int = 1, event: bool = False) -> Any:
    return _handler(fn, outputs, event, Drafts())(request, None, *values)


def test_a_handler_gets_the_readers_words_and_the_draft_and_empties_the_error_box() -> None:
    def said(say: Words, draft: Draft, extra: str) -> str:
        return f"{say('tab.data')} {draft.dataset} {extra}"

    assert call(said, {"dataset": "rows"}, "!") == ["Data rows !", ""]
    assert call(said, {"dataset": "rows"}, "!", request=CHINESE) == ["数据 rows !", ""]


def test_a_mistake_goes_to_the_box_in_the_readers_language_and_leaves_the_rest_as_it_is() -> None:
    def wrong(say: Words, draft: Draft) -> str:
        raise StudioError("There is no run {run}.", "`studio runs` lists them.", run="<b>x</b>")

    output, box = call(wrong, {}, request=CHINESE)
    assert output == gr.skip()
    assert "没有名为 &lt;b&gt;x&lt;/b&gt; 的训练。" in box
    assert "Traceback" not in box


def test_a_failure_of_ours_is_shown_too_with_the_number_that_its_details_are_kept_by(store: Store) -> None:
    def broken(say: Words, draft: Draft) -> str:
        raise ZeroDivisionError("<i>")

    rooms = Rooms(store, None, None)  # type: ignore[arg-type]
    _, box = _handler(broken, 1, False, Drafts(), rooms=rooms)(ENGLISH, None, {})
    assert "Something failed inside the studio: ZeroDivisionError: &lt;i&gt;" in box
    assert "Traceback" not in box
    kept = store.errors_file.read_text()
    number = kept.split()[0]
    assert f"in the studio&#x27;s home, under the number {number}." in box
    assert "Traceback (most recent call last)" in kept


def test_a_stream_that_breaks_off_keeps_what_it_showed() -> None:
    def stream(say: Words, draft: Draft) -> Iterator[str]:
        yield "one"
        raise StudioError("Port {port} is in use.", port=1)

    first, second = call(stream, {})
    assert first == ["one", ""]
    assert second[0] == gr.skip()
    assert "Port 1 is in use." in second[1]


def test_a_draft_that_is_returned_goes_back_to_the_browser_as_json() -> None:
    text, box = call(lambda say, draft: draft.with_value("train.epochs", 3), Draft().to_text())
    assert Draft.from_json(text).values == {"train.epochs": 3}
    assert box == ""


def test_a_call_that_a_later_one_has_overtaken_changes_nothing() -> None:
    handler = _handler(lambda say, draft: draft.dataset, 1, False, Drafts(), Newest())

    def answered(dataset: str, sent: int) -> Any:
        return handler(ENGLISH, None, json.dumps({"dataset": dataset, "sent": sent}))

    assert answered("first", 1) == ["first", ""]
    assert answered("third", 3) == ["third", ""]
    assert answered("second", 2) == [gr.skip(), gr.skip()]


def test_a_stream_ends_where_a_later_call_overtakes_it() -> None:
    newest = Newest()

    def stream(say: Words, draft: Draft) -> Iterator[str]:
        yield "one"
        newest.overtaken("", 2)
        yield "two"

    handler = _handler(stream, 1, False, Drafts(), newest)
    assert list(handler(ENGLISH, None, '{"sent": 1}')) == [["one", ""], [gr.skip(), gr.skip()]]


def test_an_update_is_given_again_with_what_a_stream_says_next() -> None:
    shown = gr.HTML(state="a")

    def stream(say: Words, draft: Draft) -> Iterator[Any]:
        yield shown, "typed"
        yield gr.skip(), gr.skip()
        raise StudioError("No.")

    first, second, third = call(stream, {}, outputs=2)
    assert first == [shown, "typed", ""]
    assert second == [shown, gr.skip(), ""]
    assert third[:2] == [shown, gr.skip()]


def test_a_run_that_starts_takes_the_place_of_an_idle_chat_model(store: Store, tmp_path: Path) -> None:
    tiny_model(store.models_dir / "tiny")
    jobs, chat = Jobs(store), ChatProcess(store)
    page = Page(Rooms(store, jobs, chat), None, None, None, tmp_path)  # type: ignore[arg-type]
    talked_to = finished_run(store).id
    chat.complete(talked_to, [Message("user", "a")], ChatSettings(max_new_tokens=1))
    assert chat.loaded == talked_to
    many = rows(tmp_path, '{"prompt": "a", "response": "b"}\n' * 20)
    draft = page.start(Draft(store.save_dataset(many).id, {"model.id": "tiny", "train.epochs": 1}))
    assert chat.loaded == ""
    jobs.delete(draft.run)


def test_a_download_is_linked_into_the_one_folder_that_is_served(store: Store, tmp_path: Path) -> None:
    served = tmp_path / "served"
    page = Page(Rooms(store, None, None), None, None, None, served)  # type: ignore[arg-type]
    entry = store.save_dataset(rows(tmp_path))
    offered = Path(page.offer(entry.path))
    assert offered.is_relative_to(served)
    assert offered.read_bytes() == entry.path.read_bytes()
    assert page.offer(entry.path) == str(offered)
    named = Path(page.offer(entry.path, "../../My rows-repaired.jsonl"))
    assert (named.name, named.parent) == ("My rows-repaired.jsonl", offered.parent)
