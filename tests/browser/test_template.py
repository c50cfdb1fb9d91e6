"""The Template tab with the keyboard alone, in a real Chromium: rows, hazards, tokens, and another template beside."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.test_whole_way import Server, home, page, server  # noqa: F401

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

SPECIAL, UNREADABLE, WORDLESS, LONG = 2, 3, 4, 6
"""Rows with the text of a special token, that are no JSON, without a response, and longer than the maximum length."""
ROWS = 12


def write_rows(file: Path) -> None:
    rows = {number: (f"Question {number}?", f"Answer {number}.") for number in range(1, ROWS + 1)}
    rows[SPECIAL] = ("Question 2: what is <|im_end|>?", "A token.")
    rows[WORDLESS] = ("Question 4?", " ")
    rows[LONG] = ("Question 6?", "so on and " * 100)
    lines = [json.dumps({"prompt": prompt, "completion": text}) for prompt, text in rows.values()]
    lines[UNREADABLE - 1] = "{"
    file.write_text("\n".join(lines), encoding="utf-8")


def reach(target: Locator, key: str = "Tab") -> None:
    """Press the key until the focus is there, once it can be: what waits for the studio's answer is passed over."""
    target.wait_for()
    until = time.monotonic() + 60
    while not target.is_enabled() and time.monotonic() < until:
        target.page.wait_for_timeout(50)
    for _ in range(150):
        if target.evaluate("(element) => element === document.activeElement"):
            return
        target.page.keyboard.press(key)
    raise AssertionError(f"{target} cannot be reached with {key}")


def choose(field: Locator, option: str, key: str = "Tab") -> None:
    """In a list that is searched by typing."""
    reach(field, key)
    field.page.keyboard.press("Control+A")
    field.page.keyboard.type(option)
    found = field.page.get_by_role("option", name=option, exact=True)
    found.wait_for()
    field.page.keyboard.press("Enter")
    found.wait_for(state="detached")
    assert field.input_value() == option


def test_the_template_tab_is_used_with_the_keyboard_alone(
    page: Page,  # noqa: F811
    server: Server,  # noqa: F811
    tmp_path: Path,
) -> None:
    write_rows(tmp_path / "keys.jsonl")
    page.goto(server.url)
    page.locator("#data-summary").get_by_text("No data yet").wait_for()  # the page listens
    page.locator("#upload input[type=file]").set_input_files(str(tmp_path / "keys.jsonl"))
    page.locator("#data-summary").get_by_text("keys.jsonl").first.wait_for()
    page.locator("#mode-choice").get_by_text("Domain", exact=True).click()  # these rows alone
    page.locator("#mode-about").get_by_text("one field or task", exact=False).wait_for()
    press, tokens = page.keyboard.press, page.locator("#tokens")

    def shows(row: int) -> None:
        """The number, and the tokens that belong to it."""
        page.wait_for_function(f"document.querySelector('#row-number').value === '{row}'")
        tokens.get_by_text(f"Question {row}", exact=False).first.wait_for()

    def notes(text: str) -> None:
        page.locator(".pane .row-notes").first.get_by_text(text, exact=False).first.wait_for()

    reach(page.get_by_role("tab", name="Template", exact=True))
    press("Enter")
    shows(1)

    # A maximum length, and rows beyond it left out: they can be looked at all the same
    reach(page.locator("#template-length").get_by_role("textbox"))
    page.keyboard.type("128")
    page.locator("#set-view").get_by_text("over the maximum length of 128", exact=False).wait_for()
    choose(page.locator("#template-overlong input"), "Leave the row out")
    page.locator("#set-view").get_by_text("Left out: 1 row", exact=False).wait_for()

    # Prompts too, and back; the lists that the focus passes stay closed behind it
    masked = "document.querySelectorAll('#tokens .tok.masked').length"
    for count in (1, 2):  # the first token is never predicted
        reach(page.locator("#template-prompts input"))
        press("Space")
        page.wait_for_function(f"{masked} === {count}")
    reach(page.locator("#next-row"))
    page.get_by_role("option").first.wait_for(state="detached")

    # From row to row, and by number
    press("Enter")
    shows(2)
    press("Enter")
    shows(WORDLESS)  # the row before it is no JSON
    notes("No prompt or response")
    reach(page.locator("#previous-row"), "Shift+Tab")
    press("Enter")
    shows(2)
    reach(page.locator("#row-number"))
    press("Control+A")
    page.keyboard.type("1")
    press("Enter")
    shows(1)

    # From hazard to hazard
    forth, back = page.locator("#next-hazard"), page.locator("#previous-hazard")
    for row, said in (
        (SPECIAL, "Special-token text"),
        (WORDLESS, "No prompt or response"),
        (LONG, "Left out"),
    ):
        reach(forth)
        press("Enter")
        shows(row)
        notes(said)
    assert forth.is_disabled()  # the focus is in the row's number now, before the button
    reach(back)
    press("Enter")
    shows(WORDLESS)
    reach(page.locator(f"#set-view [data-row='{LONG}']").first)
    press("Enter")
    shows(LONG)
    reach(page.locator("#row-number"), "Shift+Tab")
    press("Control+A")
    page.keyboard.type("5")
    press("Enter")
    shows(5)

    # Token by token, and the same in words
    tip = page.locator(".tok-tip")
    reach(tokens)
    for key, place in (("Home", "1"), ("ArrowRight", "2"), ("End", str(page.locator("#tokens b").count()))):
        press(key)
        tip.get_by_text(f"Token {place} of", exact=False).wait_for()
    reach(page.locator(".pane .as-text summary").first)
    press("Enter")
    page.locator(".pane .runs .trained").first.get_by_text("Answer 5.special token <|im_end|>").wait_for()

    # Beside another template, both go on to the next row
    choose(page.locator("#template-other input"), "Alpaca", "Shift+Tab")
    beside = page.locator("#other-tokens")
    beside.get_by_text("Instruction", exact=False).first.wait_for()
    reach(page.locator("#next-row"))
    press("Enter")
    shows(LONG)
    beside.get_by_text("Question 6", exact=False).first.wait_for()
