"""The Chat tab in a real Chromium on a tiny model: branches, what was sent, probabilities, rows, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from studio.services.store import Store
from studio.services.talks import listed
from tests.browser.test_whole_way import Server, page, server, tab  # noqa: F401
from tests.runs import finished_run, with_checkpoint

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    with_checkpoint(finished_run(Store(home), "north"), 0.5)
    return home


def answers(page: Page, number: int = 0) -> list[str]:  # noqa: F811
    """What stands in the answers of a turn, once all of them have come."""
    turn = page.locator("#talk .round").nth(number)
    turn.locator(".do-again").wait_for()
    return [said.inner_text() for said in turn.locator(".said").all()]


@pytest.fixture(autouse=True)
def impatient(page: Page) -> None:  # noqa: F811
    page.set_default_timeout(90_000)


def ask(page: Page, text: str) -> None:  # noqa: F811
    page.locator("#chat-prompt textarea").fill(text)
    page.locator("#chat-send").click()
    page.locator("#talk .asked").get_by_text(text).wait_for()
    page.locator("#talk .do-again").last.wait_for()


def click(page: Page, where: str) -> None:  # noqa: F811
    page.locator(f"#talk {where}").last.click()


def test_a_conversation_is_led_looked_into_learnt_from_and_kept(
    page: Page,  # noqa: F811
    server: Server,  # noqa: F811
    home: Path,
) -> None:
    page.goto(f"{server.url}/#chat")
    page.locator("#talk .talk-empty").wait_for()
    page.locator("#chat-settings > button").click()
    most = page.locator("#chat-most input[type=number]")
    most.wait_for()
    page.wait_for_timeout(1000)  # Gradio sets what a fold holds once more after it is open
    most.fill("24")
    ask(page, "Which way is north?")
    first = answers(page)

    # Asked again, and written anew: what was there before stays within reach
    click(page, ".do-again")
    page.get_by_text("2 of 2").wait_for()
    assert answers(page) != first
    click(page, ".do-edit")
    page.locator("#chat-note").get_by_text("written anew", exact=False).wait_for()
    ask(page, "Which way is south?")
    page.get_by_text("3 of 3").wait_for()
    for place in ("2 of 3", "1 of 3"):
        page.locator("#talk .do-show").first.click()
        page.get_by_text(place).wait_for()
    assert answers(page) == first

    # What was sent, what the tokens were chosen from, and what differs
    click(page, ".answer-base .do-prompt")
    sent = page.locator("#talk .look pre").inner_text()
    assert sent == "<|im_start|>user\nWhich way is north?<|im_end|>\n<|im_start|>assistant\n"
    click(page, ".answer-tuned .do-odds")
    page.locator("#talk .odds > .odd").first.hover()
    page.locator("#talk .odds-said").get_by_text("instead:", exact=False).wait_for()
    page.locator("#talk .odds > .odd").first.focus()
    page.keyboard.press("ArrowRight")
    assert (
        page.locator("#talk .odds > .odd").nth(1).evaluate("(element) => element === document.activeElement")
    )
    click(page, ".do-differences")
    page.locator("#talk .do-differences[aria-pressed=true]").wait_for()

    # A checkpoint beside them; the next message is too long for the context with the ones before
    page.locator("#chat-beside input").click()
    page.get_by_role("option", name="Step 5", exact=True).click()
    page.keyboard.press("Escape")
    page.locator("#chat-prompt textarea").fill("And which way is west? " * 20)
    page.locator("#chat-send").click()
    page.locator("#chat-note .do-leave-out").click()
    page.locator("#talk .left-out").wait_for()
    assert len(answers(page, 1)) == 3

    # An answer, written better, is a row; it is there after the server was killed, and so is the talk
    click(page, ".round:first-child .answer-tuned .do-row-edit")
    page.locator("#chat-send").get_by_text("Add row").wait_for()
    page.locator("#chat-prompt textarea").fill("Up, on most maps.")
    page.locator("#chat-send").click()
    page.locator("#chat-note").get_by_text("Row 1 of rows-from-chats.jsonl", exact=False).wait_for()
    server.kill()
    page.locator("#unreachable").wait_for()
    server.start()
    page.locator("#unreachable").wait_for(state="detached")
    page.get_by_text("1 of 3").wait_for()
    assert answers(page) == first
    rows = Store(home).datasets()[0].path.read_text(encoding="utf-8")
    assert [message["content"] for message in json.loads(rows)["messages"]] == [
        "Which way is north?",
        "Up, on most maps.",
    ]

    # Under another name, written out, and deleted
    page.locator("#chat-kept > button").click()
    page.locator("#talks .do-rename").click()
    page.locator("#talks input[name=title]").fill("Directions")
    page.keyboard.press("Enter")
    page.locator("#talks").get_by_text("Directions").wait_for()
    with page.expect_download() as download:
        page.locator("#talks .do-markdown").click()
    assert download.value.suggested_filename == "directions.md"
    assert "## User\n\nWhich way is north?" in Path(download.value.path()).read_text(encoding="utf-8")
    page.locator("#talks .do-delete").click()
    page.locator("#talks .do-delete-yes").click()
    page.locator("#talk .talk-empty").wait_for()
    assert listed(Store(home)).talks == []
