"""The Evaluation tab in a real Chromium on a tiny model: figures, the blind desk with the keyboard, and its end."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from studio.services import ratings
from studio.services.store import Store
from tests.browser.test_whole_way import Server, page, server  # noqa: F401
from tests.runs import ROWS, finished_run

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    finished_run(Store(home)).write_data(ROWS[:7], ROWS[7:])
    return home


def test_a_run_is_evaluated_and_then_rated_blind(page: Page, server: Server) -> None:  # noqa: F811
    store = Store(server.home)
    run = store.run_ids()[0]
    page.goto(f"{server.url}/#evaluate")
    page.locator("#rating-none-yet").get_by_text("Evaluate the run first", exact=False).wait_for()
    assert page.locator("#rating-from-evaluation").is_disabled()
    page.locator("#evaluate-start").click()
    page.locator("#evaluate-result").get_by_text("chrF", exact=False).first.wait_for()

    # A desk of those answers; the name stands before everything else
    page.locator("#rating-from-evaluation").click()
    page.locator("#rater-name").fill("Ann")
    page.keyboard.press("Enter")
    panel = page.locator("#rating-desk")
    panel.get_by_text("Pair 1 of 3").wait_for()
    for word in ("base", "tuned"):
        assert word not in panel.inner_html().lower()
    (desk,) = ratings.desks(store, run)
    page.locator("#evaluate-result").get_by_text("Not shown while people rate", exact=False).wait_for()
    held = page.content()
    assert not any(
        pair.messages[-1]["content"] in held.replace(panel.inner_html(), "") for pair in desk.pairs
    )

    # Scores and votes by keyboard alone; a slip is taken back
    page.keyboard.type("425")
    page.keyboard.press("Backspace")
    page.keyboard.press("a")
    panel.get_by_text("Pair 2 of 3").wait_for()
    page.keyboard.press("t")
    panel.get_by_text("Pair 3 of 3").wait_for()
    page.keyboard.press("p")
    panel.get_by_text("Pair 2 of 3").wait_for()
    assert panel.locator("[data-vote=tie]").get_attribute("aria-pressed") == "true"
    assert ratings.done(desk) == {"Ann": 2}
    first = ratings.look(desk, "Ann", 1).given
    assert first == ratings.Given("left", {"left": {"relevance": 4}, "right": {"relevance": 2}})

    # A reload and the same name: it goes on where it was
    page.reload()
    page.locator("#rating-desks [data-act=rate]").click()
    panel.get_by_text("Pair 3 of 3").wait_for()
    panel.locator("[data-vote=right]").click()
    panel.get_by_text("all rated, thank you", exact=False).wait_for()

    # Only the end tells which model is which
    page.locator("#rating-desks [data-act=ask]").click()
    page.locator("#rating-desks [data-act=end]").click()
    page.locator("#rating-told").get_by_text("Pairs: 3. Ratings: 3", exact=False).wait_for()
    with page.expect_download() as download:
        page.locator("#rating-desks [data-act=csv]").click()
    with Path(download.value.path()).open(encoding="utf-8", newline="") as file:
        lines = [*csv.DictReader(file)]
    assert {line["rater"] for line in lines} == {"Ann"}
    assert sorted(line["vote"] for line in lines).count("tie") == 1
