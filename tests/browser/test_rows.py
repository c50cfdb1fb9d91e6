"""Looking at rows in a real Chromium: from row to row, what a token is, hazards, other templates and one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.test_whole_way import Server, home, page, server, tab  # noqa: F401

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

LONG = 7
"""The row that is longer than the maximum length that the test sets."""


def write_rows(file: Path) -> None:
    """Twelve rows: the third is no JSON, one is long, and one is of 3,000 tokens."""
    answers = [f"Answer {number}.\n  Two  spaces" for number in range(1, 13)]
    answers[LONG - 1] = "so on and " * 100
    answers[9] = "line after line\n" * 800
    lines = [
        json.dumps({"prompt": f"Question {number}?", "completion": text})
        for number, text in enumerate(answers, start=1)
    ]
    lines[2] = "{"
    file.write_text("\n".join(lines), encoding="utf-8")


def choose(page: Page, field: str, option: str) -> None:  # noqa: F811
    page.locator(f"{field} input").click()
    options = page.get_by_role("option", name=option, exact=True)
    options.first.wait_for()
    # On a busy machine the list of the field before may still be there.
    page.wait_for_function("document.querySelectorAll('[role=listbox]').length === 1")
    options.click()


def test_rows_are_looked_at_token_by_token(page: Page, server: Server, tmp_path: Path) -> None:  # noqa: F811
    write_rows(tmp_path / "rows.jsonl")
    page.goto(server.url)
    page.locator("#data-summary").get_by_text("No data yet").wait_for()  # the page listens
    page.locator("#upload input[type=file]").set_input_files(str(tmp_path / "rows.jsonl"))
    page.locator("#data-summary").get_by_text("rows.jsonl").first.wait_for()
    tab(page, "Template")
    length = page.locator("#template-length input, #template-length textarea").first
    number, tokens = page.locator("#row-number"), page.locator("#tokens")

    def shows(text: str) -> None:
        tokens.get_by_text(text, exact=False).first.wait_for()

    # From row to row: a row that cannot be read is passed over, and the number says so
    shows("Question")
    page.locator("#set-view [data-whole]").wait_for()  # the form has filled itself in
    length.fill("4096")  # what it offers depends on the machine, and the long row would be cut
    length.press("Tab")
    assert "Two··spaces" in tokens.inner_text()
    for _ in range(2):
        page.locator("#next-row").click()
    assert number.input_value() == "4"
    number.fill("3")
    number.press("Enter")
    page.get_by_text("There is no readable row 3").wait_for()
    number.fill("10")
    number.press("Enter")
    # A long row is painted piece by piece; where it were cut, a line would be marked in its middle
    page.locator("#tokens .tok.cut").wait_for(state="detached")
    page.wait_for_function(
        "document.querySelector('#tokens').innerText.split('line after line↵').length > 800"
    )
    assert tokens.inner_text().count("line after line↵") == 800

    # What a token is, under the pointer and under the keyboard
    tip = page.locator(".tok-tip")
    page.locator("#tokens b").first.hover()
    assert "id 1 · Masked" in tip.inner_text()
    tokens.focus()
    page.keyboard.press("End")
    assert "Masked" in tip.inner_text()
    assert f"Token {page.locator('#tokens b').count():d} of" in tip.inner_text()

    # Hazards, and the statistics of all rows
    length.fill("128")
    page.locator("#set-view").get_by_text("over the maximum length of 128").wait_for()
    page.locator(f"#set-view [data-row='{LONG}']").first.click()
    shows("so on")
    assert number.input_value() == str(LONG)
    page.locator(".row-notes").get_by_text("Answer cut").wait_for()
    assert page.locator("#tokens .tok.cut").count() == 1
    choose(page, "#template-overlong", "Keep it whole")
    page.locator("#tokens .tok.cut").wait_for(state="detached")
    assert len(page.locator("#set-view [data-whole]").get_attribute("data-whole") or "") == 64

    # Beside another template, and one's own as it is written
    choose(page, "#template-other", "Alpaca")
    page.locator("#other-tokens").get_by_text("Instruction", exact=False).first.wait_for()
    choose(page, "#template-other", "No other template")
    choose(page, "#template-name", "Your own")
    page.locator("#template-source .cm-content").click()
    # Without a pause from key to key: calls then overlap, and nothing may be lost of the last one
    for turn in ("first", "second", "third", "mine"):
        page.keyboard.press("Control+End")
        page.keyboard.type("{{ 1 / 0 }}")
        page.locator("#template-wrong").get_by_text("line", exact=False).wait_for()
        page.keyboard.press("Control+A")
        page.keyboard.type(
            turn + ": {% for message in messages %}{{ message.content }}<|im_end|>{% endfor %}"
        )
        shows(f"{turn}:")

    # All of it is kept
    page.wait_for_timeout(1000)
    page.reload()
    shows("mine:")
    assert number.input_value() == str(LONG)
