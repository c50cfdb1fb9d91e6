from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.domain.chat import Conversation, Message, ToolCall
from studio.domain.errors import StudioError
from studio.engine.checks import clean
from studio.engine.dataset import write_messages
from studio.services.store import Store
from studio.ui import data_tab
from studio.ui.data_tab import Place
from studio.ui.i18n import words
from studio.ui.page import Draft


def repair(store: Store, draft: Draft, *checks: str) -> None:
    dataset = data_tab.examine(store, draft).dataset
    data_tab._save(store, draft, dataset, clean(dataset.conversations, checks))


def test_a_second_repair_names_rows_by_their_number_in_the_upload(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    upload = tmp_path / "rows.csv"
    upload.write_text("prompt,response\nq1,\nonly\nq3,first\nq4,second \nq5,third \n", encoding="utf-8")
    draft = Draft(store.save_dataset(upload).id)
    repair(store, draft, "empty_response")
    assert [c.row for c in data_tab.examine(store, draft).dataset.conversations] == [1, 2, 3]
    repair(store, draft, "whitespace")
    provenance = store.provenance(draft.dataset)
    assert [(change["row"], change["check"], change["action"]) for change in provenance.changes] == [
        (2, "unreadable_record", "dropped"),
        (1, "empty_response", "dropped"),
        (4, "whitespace", "changed"),
        (5, "whitespace", "changed"),
    ]
    assert provenance.rows == (3, 4, 5)


def test_a_row_with_an_unused_field_is_not_said_to_be_dropped(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    upload = tmp_path / "rows.jsonl"
    turns = [("system", "s"), ("user", "q"), ("assistant", "a ")]
    row = {"messages": [{"role": role, "content": content} for role, content in turns], "system": "other"}
    upload.write_text(json.dumps(row), encoding="utf-8")
    draft = Draft(store.save_dataset(upload).id)
    repair(store, draft, "whitespace")
    assert [change["action"] for change in store.provenance(draft.dataset).changes] == ["changed"]


def test_a_repair_keeps_tools_calls_results_and_reasoning(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    turns = (
        Message("user", "q ", name="ann"),
        Message("assistant", "", reasoning="r\n", tool_calls=(ToolCall("f", '{"a": "b "}', "c1"),)),
        Message("tool", "t\n", name="f", tool_call_id="c1"),
        Message("assistant", "a", False),
    )
    tools = ('{"type": "function", "function": {"name": "f"}}',)
    write_messages([Conversation(turns, 1, tools)], tmp_path / "rows.jsonl")
    draft = Draft(store.save_dataset(tmp_path / "rows.jsonl").id)
    repair(store, draft, "whitespace")
    (row,) = data_tab.examine(store, draft).dataset.conversations
    assert row == Conversation((Message("user", "q", name="ann"), *turns[1:]), 1, tools)


def test_a_deleted_dataset_is_no_longer_chosen() -> None:
    values = {"data.format": "columns", "train.epochs": 2}
    assert data_tab.without(Draft("a", values, row=3, held_out="b"), "a") == Draft("", {"train.epochs": 2})
    assert data_tab.without(Draft("a", held_out="b"), "b") == Draft("a")
    assert data_tab.without(Draft("a", held_out="b"), "c") == Draft("a", held_out="b")
    with pytest.raises(StudioError, match="No dataset is chosen"):
        data_tab.without(Draft("a"), "a").config(None)  # type: ignore[arg-type]


def test_the_table_shows_the_rows_of_one_finding_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    upload = tmp_path / "rows.csv"
    lines = [f"question {n},{'' if n % 2 else f'answer {n}'}" for n in range(1, 61)]
    upload.write_text("\n".join(["prompt,response", *lines]), encoding="utf-8")
    examined = data_tab.examine(store, Draft(store.save_dataset(upload).id))
    alone = data_tab._moved(examined, Place(3, 5), {"filter": "empty_response"})
    assert alone == Place(1, 0, "empty_response")
    shown = [row.row for row in data_tab._filtered(examined, alone.check)]
    assert shown == list(range(1, 61, 2))
    assert data_tab._moved(examined, alone, {"page": "9"}) == Place(2, 0, "empty_response")
    html = data_tab._rows(words("en"), examined, Place(2, 0, "empty_response"))
    assert "question 41" in html
    assert "question 42" not in html
    assert data_tab._moved(examined, alone, {"row": "42"}) == Place(3, 42)
    assert data_tab._moved(examined, alone, {"filter": ""}) == Place()
    assert data_tab._moved(examined, alone, {"filter": "<script>"}) == Place()
