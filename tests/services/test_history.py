from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.domain.chat import Conversation, Message, ToolCall
from studio.domain.errors import StudioError
from studio.domain.history import Kind, RowChange
from studio.domain.text import Text
from studio.engine.checks import run_checks
from studio.engine.dataset import Dataset, read, write_messages
from studio.engine.row_changes import repairs, selected
from studio.engine.selection import propose
from studio.services import history
from studio.services.files import write_json
from studio.services.history import History
from studio.services.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def upload(store: Store, tmp_path: Path, *pairs: tuple[str, str]) -> str:
    lines = [json.dumps({"prompt": prompt, "response": response}) for prompt, response in pairs]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return store.save_dataset(tmp_path / "rows.jsonl").id


def now(store: Store, dataset: str) -> Dataset:
    return read(store.dataset(dataset).path)


def said(store: Store, dataset: str) -> list[str]:
    return [row.response for row in now(store, dataset).conversations]


def repair(store: Store, dataset: str, *checks: str, spared: tuple[int, ...] = ()) -> None:
    found = now(store, dataset)
    made = [change for change in repairs(found.conversations, checks) if change.row not in spared]
    history.take(
        store,
        store.dataset(dataset),
        "repair",
        made,
        found.conversations,
        findings=found.findings,
        checks=list(checks),
        spared=list(spared),
    )


def by_hand(store: Store, dataset: str, row: int, response: str | None, kind: Kind = "edit") -> None:
    rows = now(store, dataset).conversations
    before = rows[row - 1]
    after = before.with_contents([before.prompt, response]) if response is not None else None
    change = RowChange(row, before, after, (Text("Because."),))
    history.take(store, store.dataset(dataset), kind, [change], rows, row=row)


def select(store: Store, dataset: str, count: int) -> None:
    rows = now(store, dataset).conversations
    found = propose(rows, run_checks(rows), count)
    history.take(store, store.dataset(dataset), "select", selected(rows, found), rows, rows=count)


def listed(store: Store, dataset: str) -> list[tuple[int, str, int, int]]:
    found = history.history(store, dataset)
    return [(step.number, step.kind, step.changed, step.dropped) for step in found.steps]


ROWS = (("q1", ""), ("q2", "two "), ("q3", "three"), ("q4", " four"), ("q5", "two "))


def test_each_step_names_rows_by_their_number_in_the_upload(store: Store, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("prompt,response\nq1,\nonly\nq3,first\nq4,second \n", encoding="utf-8")
    dataset = store.save_dataset(tmp_path / "rows.csv").id
    repair(store, dataset, "empty_response")
    assert [row.row for row in now(store, dataset).conversations] == [1, 2]
    repair(store, dataset, "whitespace")
    found = history.history(store, dataset)
    assert found.rows == (3, 4)
    assert [record["row"] for record in found.unusable] == [2]
    assert listed(store, dataset) == [(1, "repair", 0, 1), (2, "repair", 1, 0)]
    (change,) = history.changes(store, dataset, 2)
    assert (change.row, change.before.response, change.after and change.after.response) == (
        4,
        "second ",
        "second",
    )
    assert [str(reason) for reason in change.reasons] == ["Space at the ends"]


def test_a_step_is_undone_in_any_order_and_the_upload_stays_as_it_is(store: Store, tmp_path: Path) -> None:
    dataset = upload(store, tmp_path, *ROWS)
    original = store.dataset(dataset).original.read_bytes()
    repair(store, dataset, "whitespace")
    repair(store, dataset, "empty_response")
    by_hand(store, dataset, 2, "3", "edit")
    assert said(store, dataset) == ["two", "3", "four", "two"]
    store = Store(store.home)  # as after a restart
    history.undo(store, dataset, 2)
    assert said(store, dataset) == ["", "two", "3", "four", "two"]
    history.undo(store, dataset, 1)
    assert said(store, dataset) == ["", "two ", "3", " four", "two "]
    assert listed(store, dataset) == [(3, "edit", 1, 0)]
    history.undo(store, dataset, 3)
    assert store.dataset(dataset).path == store.dataset(dataset).original
    assert history.history(store, dataset) == History()
    assert store.dataset(dataset).original.read_bytes() == original


def test_later_repairs_are_applied_anew_to_the_rows_of_an_undone_step(store: Store, tmp_path: Path) -> None:
    dataset = upload(store, tmp_path, ("q1", "one "), ("q2", "two"))
    by_hand(store, dataset, 1, " ", "edit")
    repair(store, dataset, "whitespace")
    repair(store, dataset, "empty_response")
    assert said(store, dataset) == ["two"]
    history.undo(store, dataset, 1)
    assert said(store, dataset) == ["one", "two"]
    assert listed(store, dataset) == [(2, "repair", 1, 0), (3, "repair", 0, 0)]


def test_a_row_that_comes_back_goes_through_later_repairs_unless_it_was_spared(
    store: Store, tmp_path: Path
) -> None:
    dataset = upload(store, tmp_path, ("q1", "one "), ("q2", "two "), ("q3", "three "))
    by_hand(store, dataset, 1, None, "drop")
    repair(store, dataset, "whitespace", spared=(2,))
    assert said(store, dataset) == ["two", "three "]
    history.undo(store, dataset, 1)
    assert said(store, dataset) == ["one", "two", "three "]


def test_a_step_that_a_later_one_depends_on_stays_and_the_later_one_is_named(
    store: Store, tmp_path: Path
) -> None:
    dataset = upload(store, tmp_path, *ROWS)
    repair(store, dataset, "whitespace")
    by_hand(store, dataset, 4, "4", "edit")
    with pytest.raises(StudioError, match=r"Step 2 depends on what step 1 did to row 4\. Undo step 2 first"):
        history.undo(store, dataset, 1)
    assert said(store, dataset) == ["", "two", "three", "4", "two"]
    history.undo(store, dataset, 2)
    select(store, dataset, 2)
    with pytest.raises(StudioError, match="Step 2 depends on what step 1 did"):
        history.undo(store, dataset, 1)
    history.undo(store, dataset, 2)
    repair(store, dataset, "duplicate_exact")
    history.undo(store, dataset, 1)
    assert said(store, dataset) == ["", "two ", "three", " four", "two "]


def test_a_row_left_out_by_hand_stays_out_when_an_earlier_step_is_undone(
    store: Store, tmp_path: Path
) -> None:
    dataset = upload(store, tmp_path, *ROWS)
    repair(store, dataset, "whitespace")
    by_hand(store, dataset, 2, None, "drop")
    history.undo(store, dataset, 1)
    assert said(store, dataset) == ["", "three", " four", "two "]
    (change,) = history.changes(store, dataset, 2)
    assert (change.row, change.before.response, str(change.reasons[0])) == (2, "two ", "Because.")


def test_a_selection_is_a_step_with_a_reason_for_each_row(store: Store, tmp_path: Path) -> None:
    dataset = upload(store, tmp_path, *ROWS)
    select(store, dataset, 2)
    assert len(said(store, dataset)) == 2
    made = history.changes(store, dataset, 1)
    assert [change.row for change in made if change.dropped] == [change.row for change in made]
    assert all(str(change.reasons[0]) for change in made)
    history.undo(store, dataset, 1)
    assert said(store, dataset) == [response for _, response in ROWS]


def test_rows_keep_tools_calls_results_and_reasoning(store: Store, tmp_path: Path) -> None:
    turns = (
        Message("user", "q ", name="ann"),
        Message("assistant", "", reasoning="r\n", tool_calls=(ToolCall("f", '{"a": "b "}', "c1"),)),
        Message("tool", "t\n", name="f", tool_call_id="c1"),
        Message("assistant", "a", False),
    )
    tools = ('{"type": "function", "function": {"name": "f"}}',)
    write_messages([Conversation(turns, 1, tools), Conversation(turns, 2, tools)], tmp_path / "rows.jsonl")
    dataset = store.save_dataset(tmp_path / "rows.jsonl").id
    repair(store, dataset, "whitespace")
    repair(store, dataset, "duplicate_exact")
    assert now(store, dataset).conversations == [
        Conversation((Message("user", "q", name="ann"), *turns[1:]), 1, tools)
    ]
    history.undo(store, dataset, 2)
    history.undo(store, dataset, 1)
    assert now(store, dataset).conversations[0].messages == turns


def test_a_step_on_rows_that_changed_meanwhile_or_that_leaves_none_is_refused(
    store: Store, tmp_path: Path
) -> None:
    dataset = upload(store, tmp_path, ("q1", "one "), ("q2", "two "))
    seen, rows = store.dataset(dataset), now(store, dataset).conversations
    repair(store, dataset, "whitespace")
    with pytest.raises(StudioError, match=r"The rows of rows\.jsonl changed in the meantime"):
        history.take(store, seen, "repair", repairs(rows, ["whitespace"]), rows, checks=["whitespace"])
    every = [RowChange(row.row, row, None, ()) for row in now(store, dataset).conversations]
    with pytest.raises(StudioError, match="would leave no row"):
        history.take(store, store.dataset(dataset), "drop", every, now(store, dataset).conversations)
    with pytest.raises(StudioError, match="There is no step 7"):
        history.undo(store, dataset, 7)


def test_repairs_of_an_older_version_are_one_step_that_only_the_original_undoes(
    store: Store, tmp_path: Path
) -> None:
    dataset = upload(store, tmp_path, *ROWS)
    folder = store.dataset(dataset).original.parent
    write_messages(now(store, dataset).conversations[1:], folder / "cleaned.jsonl")
    changes = [{"row": 1, "check": "empty_response", "action": "dropped", "before": "", "after": ""}]
    write_json(folder / "provenance.json", {"schema": 1, "rows": [2, 3, 4, 5], "changes": changes})
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    write_json(folder / "dataset.json", {**description, "in_use": "cleaned.jsonl"})
    assert listed(store, dataset) == [(1, "earlier", 0, 1)]
    repair(store, dataset, "whitespace")
    assert [change.row for change in history.changes(store, dataset, 2)] == [2, 4, 5]
    with pytest.raises(StudioError, match="Go back to the original instead"):
        history.undo(store, dataset, 1)
    history.undo(store, dataset, 2)
    assert said(store, dataset) == ["two ", "three", " four", "two "]


def test_a_run_records_the_steps_of_its_rows(store: Store, tmp_path: Path) -> None:
    dataset = upload(store, tmp_path, *ROWS)
    assert history.recorded(store, str(store.dataset(dataset).path)) == {}
    repair(store, dataset, "whitespace", spared=(5,))
    kept = history.recorded(store, str(store.dataset(dataset).path))
    assert (kept["dataset"], kept["name"]) == (dataset, "rows.jsonl")
    assert [(step["kind"], step["changed"], step["asked"]) for step in kept["steps"]] == [
        ("repair", 2, {"checks": ["whitespace"], "spared": [5]})
    ]
    assert history.recorded(store, str(tmp_path / "rows.jsonl")) == {}
