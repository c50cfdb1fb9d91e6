"""Working on rows in a real Chromium: repairs shown, done and undone, a row edited, the best kept, a model asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from studio.services import history
from studio.services.store import Store
from tests.browser.test_whole_way import LONG, Server, home, page, server  # noqa: F401

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

ROWS = [
    ("Name a river in Egypt.", "The Nile is the longest river there. "),
    ("Name a hill in England.", " Glastonbury Tor stands in Somerset."),
    ("What is water made of?", "Of hydrogen and oxygen, two atoms to one."),
    ("Why is the sky dark at night?", ""),
    ("Who wrote Faust?", "Johann Wolfgang von Goethe wrote it in verse."),
    ("Name a river in Egypt.", "The Nile is the longest river there."),
]


def upload(page: Page, file: Path) -> None:  # noqa: F811
    lines = [json.dumps({"prompt": prompt, "completion": response}) for prompt, response in ROWS]
    file.write_text("\n".join(lines), encoding="utf-8")
    page.locator("#data-summary").get_by_text("No data yet").wait_for()
    page.locator("#upload input[type=file]").set_input_files(str(file))
    page.locator("#data-summary").get_by_text(file.name).first.wait_for()


def rows_say(page: Page, count: int) -> None:  # noqa: F811
    page.locator("#data-summary").get_by_text(f"{count} rows", exact=True).wait_for()


def test_rows_are_repaired_edited_and_selected_and_each_step_is_undone(
    page: Page,  # noqa: F811
    server: Server,  # noqa: F811
    tmp_path: Path,
) -> None:
    page.goto(server.url)
    upload(page, tmp_path / "desk.jsonl")
    panel, steps = page.locator("#repair-panel"), page.locator("#steps .data-step")

    # One repair is shown, one of its rows spared, and done
    page.locator("#findings [data-show=whitespace]").click()
    panel.get_by_text("Would change: 2 rows. Would drop: 0 rows.", exact=False).wait_for()
    assert panel.locator("del").count() == 2
    page.wait_for_function(
        "document.getElementById('repair-panel').getBoundingClientRect().top < innerHeight"
    )
    panel.locator("[data-pick='2']").uncheck()
    panel.get_by_text("Would change: 1 row. Would drop: 0 rows. Spared: 1 row.").wait_for()
    page.locator("#repair-apply").click()
    steps.get_by_text("Repaired: Space at the ends").wait_for()
    panel.wait_for(state="hidden")

    # All that are safe
    page.locator("#findings [data-show=safe]").click()
    panel.get_by_text("Would change: 1 row. Would drop: 2 rows.", exact=False).wait_for()
    page.locator("#repair-apply").click()
    rows_say(page, 4)

    # A row is edited where it stands: what cannot be saved is said in the form, which keeps what was typed
    row = page.locator("#rows .entry").nth(2)
    row.locator("summary").click()
    row.locator("[data-edit]").click()
    text = page.locator(".row-form textarea").nth(1)
    text.fill(" ")
    page.locator(".row-form [data-do=save]").click()
    page.locator(".row-form").get_by_text("would have no prompt or no response").wait_for()
    text.fill("Of hydrogen and <b>oxygen</b>.")
    page.locator(".row-form [name=reason]").fill("Shorter.")
    page.locator(".row-form [data-do=save]").click()
    steps.get_by_text("Row 3 was edited.").wait_for()
    page.locator("#rows .entry[open]").get_by_text("Leftovers of HTML").wait_for()
    page.locator("#rows .entry[open]").get_by_text("<b>oxygen</b>").first.wait_for()

    # The best rows are shown before the others go
    page.locator("#selection button").first.click()
    page.wait_for_function("document.querySelector('#selection-rows input').value === '2'")  # half of them
    page.locator("#selection-show").click()
    page.locator("#selection-shown").get_by_text("2 of 4 rows stay.").wait_for()
    page.locator("#selection-apply").click()
    rows_say(page, 2)

    # The server starts anew; a step that others depend on stays, the others are undone in any order
    server.kill()
    page.locator("#unreachable").wait_for()
    server.start()
    page.locator("#unreachable").wait_for(state="detached")
    rows_say(page, 2)
    page.locator("#steps [data-undo='2']").click()
    page.get_by_text("Step 4 depends on what step 2 did").wait_for()
    for step, left in ((4, 4), (2, 6), (1, 6)):
        page.locator(f"#steps [data-undo='{step}']").click()
        page.locator(f"#steps [data-undo='{step}']").wait_for(state="detached")
        rows_say(page, left)
    steps.locator("summary").click()
    steps.get_by_text("Shorter.").wait_for()
    store = Store(server.home)
    entry = next(item for item in store.datasets() if item.name == "desk.jsonl")
    assert [step.kind for step in history.history(store, entry.id).steps] == ["edit"]
    assert entry.original.read_bytes() == (tmp_path / "desk.jsonl").read_bytes()
    page.locator("#steps [data-undo=all]").click()
    steps.wait_for(state="detached")


def test_a_model_measures_prompts_and_writes_rows_while_the_page_watches(
    page: Page,  # noqa: F811
    server: Server,  # noqa: F811
    tmp_path: Path,
) -> None:
    page.goto(server.url)
    upload(page, tmp_path / "asked.jsonl")
    page.locator("#difficulty-start").click()
    page.locator("#difficulty-told").get_by_text("Measured: 5 rows.", exact=False).wait_for(timeout=LONG)

    page.locator("#mode-choice").get_by_text("Mixed", exact=False).click()
    page.locator("#mode-source input").click()
    page.get_by_role("option", name="written by the model itself").click()
    page.locator("#self-written-rows input").fill("1")
    page.locator("#self-written-start").click()
    page.locator("#self-written-told").get_by_text("1 rows are kept of", exact=False).wait_for(timeout=LONG)
    assert any(entry.name.startswith("written-by-") for entry in Store(server.home).datasets())
