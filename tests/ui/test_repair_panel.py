from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.domain.errors import StudioError
from studio.services import history
from studio.services.store import Store
from studio.ui import data_tab, repair_panel, step_views
from studio.ui.i18n import words
from studio.ui.page import Draft
from studio.ui.repair_panel import Proposal, answered, proposed, repairable

EN = words("en")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def opened(store: Store, tmp_path: Path, *pairs: tuple[str, str]) -> Draft:
    lines = [json.dumps({"prompt": prompt, "response": response}) for prompt, response in pairs]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return Draft(store.save_dataset(tmp_path / "rows.jsonl").id)


def show(store: Store, draft: Draft, check: str) -> Proposal:
    examined = data_tab.examine(store, draft)
    return proposed(store.dataset(draft.dataset), examined, repairable(examined, check), check)


ROWS = (
    ("Name a river.", "The Nile "),
    ("Name <b>one</b> hill.", "A <i>tor</i>"),
    ("Mail me", "a@example.org"),
    ("q", ""),
)


def test_a_repair_shows_the_words_that_differ_with_marks_and_tags(store: Store, tmp_path: Path) -> None:
    found = show(store, opened(store, tmp_path, *ROWS), "whitespace")
    html = repair_panel.rows_html(EN, found)
    assert "The Nile<del>·</del>" in html
    assert 'aria-label="Apply to row 1" checked' in html
    assert "Would change: 1 row. Would drop: 0 rows." in repair_panel.head_html(EN, found)


def test_the_safe_repairs_are_ticked_and_others_show_what_they_would_add(
    store: Store, tmp_path: Path
) -> None:
    draft = opened(store, tmp_path, *ROWS)
    found = show(store, draft, "safe")
    assert set(found.checks) == {"whitespace", "empty_response"}
    assert {"html_leftover", "personal_data"} <= set(found.offered)
    assert [(change.row, change.dropped) for change in found.changes] == [(1, False), (4, True)]
    more = answered(found, {"check": "html_leftover"}, lambda: data_tab.examine(store, draft))
    assert [change.row for change in more.changes] == [1, 2, 4]
    assert "&lt;b&gt;" in repair_panel.rows_html(EN, more).replace("<del>", "").replace("</del>", "")
    less = answered(more, {"check": "whitespace"}, lambda: data_tab.examine(store, draft))
    assert [change.row for change in less.changes] == [2, 4]


def test_all_repairs_are_ticked_at_once(store: Store, tmp_path: Path) -> None:
    draft = opened(store, tmp_path, *ROWS)
    found = show(store, draft, "all")
    assert found.checks == found.offered
    assert 'data-checks="safe"' in repair_panel.head_html(EN, found)
    examine = lambda: data_tab.examine(store, draft)  # noqa: E731
    none = answered(found, {"checks": "none"}, examine)
    assert (none.checks, none.changes) == ((), ())
    assert set(answered(none, {"checks": "safe"}, examine).checks) == {"whitespace", "empty_response"}
    assert answered(none, {"checks": "all"}, examine) == found


def test_rows_are_spared_one_by_one(store: Store, tmp_path: Path) -> None:
    draft = opened(store, tmp_path, *((f"Name river {n}.", f"The river {n} ") for n in range(1, 26)))
    found = show(store, draft, "whitespace")
    examine = lambda: data_tab.examine(store, draft)  # noqa: E731
    found = answered(found, {"pick": "none"}, examine)
    assert found.chosen == []
    found = answered(answered(found, {"pick": "3"}, examine), {"page": "9"}, examine)
    assert (found.page, [change.row for change in found.chosen]) == (3, [3])
    assert "Would change: 1 row. Would drop: 0 rows. Spared: 24 rows." in repair_panel.head_html(EN, found)
    assert answered(found, {"pick": "99"}, examine) == found
    assert answered(found, {"check": "refusal"}, examine) == found


def test_a_repair_that_found_nothing_is_not_shown(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="nothing left to repair"):
        show(store, opened(store, tmp_path, ("q", "a")), "whitespace")


def test_steps_are_listed_with_what_they_did_and_the_way_back(store: Store, tmp_path: Path) -> None:
    draft = opened(store, tmp_path, *ROWS)
    examined, found = data_tab.examine(store, draft), show(store, draft, "safe")
    assert found.seen
    rows = examined.dataset.conversations
    history.take(store, found.seen, "repair", found.changes[:1], rows, checks=["whitespace"], spared=[4])
    html = data_tab._steps(store, EN, draft.dataset)
    assert "Repaired: Space at the ends" in html
    assert "1 changed, 0 dropped (1 spared)" in html
    assert 'data-undo="1" aria-label="Undo step 1"' in html
    assert "Row 1 of the file" in html
    assert step_views.steps(EN, [], []) == ""
