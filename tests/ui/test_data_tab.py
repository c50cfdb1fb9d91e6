from __future__ import annotations

from pathlib import Path

import pytest

from studio.domain.errors import StudioError
from studio.domain.finding import Finding
from studio.services import history, surveys
from studio.services.store import DatasetEntry, Store
from studio.ui import data_tab, dataset_choices, row_editing, survey_panel
from studio.ui.data_tab import Place
from studio.ui.i18n import words
from studio.ui.page import Draft
from tests.tiny import tiny_model


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


def test_a_row_is_edited_in_the_table_and_its_checks_run_anew(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    upload = tmp_path / "rows.csv"
    upload.write_text("prompt,response\nq1,a1\nonly\nq3,\n", encoding="utf-8")
    draft = Draft(store.save_dataset(upload).id)
    examined = data_tab.examine(store, draft)
    at = data_tab._opened(store, draft, examined, Place(), {"edit": "3"})
    assert at.editing
    html = data_tab._rows(words("en"), examined, at)
    assert '<textarea name="content-1" rows="2" aria-label="Text of the turn">\n</textarea>' in html
    at = data_tab._edited(store, examined, at, {"do": "add", "fields": {"content-0": "why <b>?"}})
    assert "why &lt;b&gt;?" in data_tab._rows(words("en"), examined, at)
    at = data_tab._edited(store, examined, at, {"do": "remove", "turn": "2", "fields": {"reason": "None."}})
    wrong = data_tab._edited(store, examined, at, {"do": "save", "fields": {"content-1": " "}})
    assert "Row 3 would have no prompt or no response." in data_tab._rows(words("en"), examined, wrong)
    at = data_tab._edited(store, examined, at, {"do": "save", "fields": {"content-1": "because"}})
    assert at == Place(open=2)
    row = data_tab.examine(store, draft).dataset.conversations[1]
    assert (row.prompt, row.response) == ("why <b>?", "because")
    (step,) = history.history(store, draft.dataset).steps
    (change,) = history.changes(store, draft.dataset, 1)
    assert (step.kind, step.asked, str(change.reasons[0])) == ("edit", {"row": 3}, "None.")
    assert "empty_response" not in {f.check for f in data_tab.examine(store, draft).report.findings}


def test_what_a_form_does_not_change_stays_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    upload = tmp_path / "rows.jsonl"
    upload.write_text('{"prompt": "q\\r\\n1", "response": "a"}\n', encoding="utf-8")
    draft = Draft(store.save_dataset(upload).id)
    examined = data_tab.examine(store, draft)
    at = data_tab._opened(store, draft, examined, Place(), {"edit": "1"})
    fields = {"content-0": "q\n1", "content-1": "a", "role-0": "user", "role-1": "assistant"}
    assert data_tab._edited(store, examined, at, {"do": "save", "fields": fields}) == Place(open=1)
    assert not store.dataset(draft.dataset).cleaned


def test_tokens_are_counted_as_the_template_and_length_are_chosen(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    upload = tmp_path / "rows.csv"
    upload.write_text(
        "prompt,response\nWhy do bees dance in the hive?,They show where the flowers are.\n" + "Why?,So.\n"
    )
    model = tiny_model(tmp_path / "tiny")
    draft = Draft(store.save_dataset(upload).id).with_value("model.id", str(model))
    chosen = draft.with_value("template.name", "alpaca").with_value("train.max_length", 64)

    def told(shown: Draft) -> dict[str, Finding]:
        return {item.check: item for item in data_tab.examine(store, shown).report.findings}

    usual, own = told(draft), told(chosen)
    assert usual["token_lengths"].text.values != own["token_lengths"].text.values
    assert "too_long" not in usual
    assert {"too_long", "prompt_fills_length"} & own.keys()
    assert "kept_long" in told(chosen.with_value("data.overlong", "keep"))
    before = data_tab._checked.cache_info().misses
    told(draft)
    assert data_tab._checked.cache_info().misses == before  # the checklist asks nothing of a template


def test_a_large_file_has_the_same_table_and_checklist_once_it_is_surveyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "home")
    upload = tmp_path / "rows.csv"
    lines = [f"question {n},{'' if n % 2 else f'answer {n}'}" for n in range(1, 61)]
    upload.write_text("\n".join(["prompt,response", *lines]), encoding="utf-8")
    entry = store.save_dataset(upload)
    draft = Draft(entry.id)
    small = data_tab.examine(store, draft)
    data_tab._examine.cache_clear()
    data_tab._checked.cache_clear()
    monkeypatch.setattr(surveys, "LARGE", 100)
    with pytest.raises(surveys.Unsurveyed):
        data_tab.examine(store, draft)
    assert survey_panel.unsurveyed(store, draft) == (entry.path, "auto", None, None)
    surveys.made(store, entry.path)
    assert survey_panel.unsurveyed(store, draft) is None
    large = data_tab.examine(store, draft)
    assert large.report == small.report
    for place in (Place(), Place(2, 0, "empty_response"), Place(3, 42)):
        assert data_tab._rows(words("en"), large, place) == data_tab._rows(words("en"), small, place)
    assert data_tab._moved(large, Place(check="empty_response"), {"row": "41"}) == Place(3, 41)
    spread, found = data_tab.look_inside(store, draft)
    assert (spread.rows, found.rows) == (60, 60)


def test_datasets_of_one_name_and_day_are_told_apart_by_the_time() -> None:
    def entry(name: str, created: str) -> DatasetEntry:
        return DatasetEntry(name, name, Path(name), Path(name), created)

    entries = [
        entry("a", "2026-01-02T10:00:01Z"),
        entry("a", "2026-01-02T11:00:02Z"),
        entry("b", "2026-01-02T12:00:00Z"),
    ]
    assert dataset_choices.told_apart(entries) == [
        "a · 2026-01-02 10:00:01",
        "a · 2026-01-02 11:00:02",
        "b · 2026-01-02",
    ]


def test_the_form_of_a_row_that_has_another_number_by_now_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    upload = tmp_path / "rows.csv"
    upload.write_text("prompt,response\none,1\ntwo,2\nthree,3\n", encoding="utf-8")
    entry = store.save_dataset(upload)
    rows = data_tab.examine(store, Draft(entry.id)).dataset.conversations
    assert row_editing.opened(entry, rows[1], row_editing.mark(rows[1])).wrong is None
    stale = row_editing.opened(entry, rows[2], row_editing.mark(rows[1]))
    assert stale.wrong
    assert "changed in the meantime" in str(stale.wrong)
