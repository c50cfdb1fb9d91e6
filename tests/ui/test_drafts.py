"""Changes of a draft that were made at once: none undoes another, and nothing is called new that is not."""

from __future__ import annotations

from dataclasses import replace

from studio.ui.page import Draft, Drafts

START = Draft(dataset="rows", values={"train.rank": 8, "train.seed": 1})


def test_two_changes_sent_off_from_one_draft_are_both_kept() -> None:
    drafts = Drafts()
    first = drafts.joined("page", START, START.with_value("train.rank", 16))
    second = drafts.joined("page", START, replace(START.with_value("train.seed", None), held_out="sample"))
    assert second.values == {"train.rank": 16}
    assert (second.held_out, second.dataset) == ("sample", "rows")
    assert START.version < first.version < second.version


def test_the_later_one_counts_where_both_change_the_same() -> None:
    drafts = Drafts()
    drafts.joined("page", START, START.with_value("train.rank", 16))
    assert drafts.joined("page", START, START.with_value("train.rank", 4)).values["train.rank"] == 4


def test_an_event_that_changes_nothing_gives_back_the_newest_draft() -> None:
    drafts = Drafts()
    newest = drafts.joined("page", START, START.with_value("train.rank", 16))
    assert drafts.joined("page", START, START) == newest
    assert drafts.joined("page", newest, newest) == newest


def test_what_the_browser_changed_by_itself_since_is_kept() -> None:
    drafts = Drafts()
    newest = drafts.joined("page", START, START.with_value("train.rank", 16))
    looked_at = replace(newest, row=7)
    assert drafts.joined("page", looked_at, looked_at.with_value("train.seed", 2)).row == 7


def test_pages_do_not_mix() -> None:
    drafts = Drafts()
    drafts.joined("page", START, START.with_value("train.rank", 16))
    assert drafts.joined("other", START, START).values["train.rank"] == 8


def test_a_page_that_was_reloaded_begins_with_what_its_browser_kept() -> None:
    kept = Drafts().joined("page", START, START.with_value("train.rank", 16))
    reloaded = Draft.from_json(kept.to_json())
    assert reloaded == kept
    assert Drafts().joined("new", reloaded, reloaded.with_value("train.seed", 3)).values == {
        "train.rank": 16,
        "train.seed": 3,
    }
