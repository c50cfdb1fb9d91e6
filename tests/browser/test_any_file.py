"""Any file in a real Chromium: several at once, what was guessed said anew, columns mapped by hand, broken records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.test_rows import choose
from tests.browser.test_whole_way import Server, home, page, server  # noqa: F401

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

BROKEN = '{"prompt": "never closed'


def give(page: Page, *files: Path) -> None:  # noqa: F811
    page.locator("#upload input[type=file]").set_input_files([str(file) for file in files])


def test_any_file_is_read(page: Page, server: Server, tmp_path: Path) -> None:  # noqa: F811
    page.goto(server.url)
    summary, rows = page.locator("#data-summary"), page.locator("#rows")

    # Several files are one dataset; what is broken in it can be taken away and mended
    left, right = tmp_path / "left.jsonl", tmp_path / "right.csv"
    left.write_text(f'{{"prompt": "one", "response": "1"}}\n{BROKEN}\n', encoding="utf-8")
    right.write_bytes("prompt,response\n谢谢你的帮助,不客气，祝你愉快。\n".encode("gb18030"))
    give(page, left, right)
    summary.get_by_text("left.jsonl, right.csv").first.wait_for()
    summary.get_by_text("right.csv: rows 3 to 3").wait_for()
    rows.get_by_text("不客气").first.wait_for()
    page.locator(".quarantine summary").click()
    page.locator(".quarantine code").get_by_text("never closed").wait_for()
    with page.expect_download() as kept:
        page.locator("#download-quarantined").click()
    (record,) = map(json.loads, kept.value.path().read_text(encoding="utf-8").splitlines())
    assert (record["file"], record["line"], record["text"]) == ("left.jsonl", 2, BROKEN)

    # Columns that are not known are mapped by hand, and the conversation is shown at once
    poems = tmp_path / "poems.csv"
    poems.write_text("topic|poem\nthe sea|Waves, waves.\n", encoding="utf-8")
    give(page, poems)
    summary.get_by_text("topic, poem").wait_for()
    choose(page, "#part-prompt", "topic")
    choose(page, "#part-response", "poem")
    page.locator("#mapping .preview").get_by_text("Waves, waves.").wait_for()
    summary.get_by_text("1 row").first.wait_for()

    # What was recognised can be said otherwise: now the whole line is one column
    choose(page, "#reading-delimiter", ",")
    page.locator("#rows th").get_by_text("topic|poem").wait_for()

    # A further file with the same columns is understood by itself
    more = tmp_path / "more.csv"
    more.write_text("topic|poem\nthe hill|Grass, grass.\n", encoding="utf-8")
    give(page, more)
    summary.get_by_text("more.csv").first.wait_for()
    rows.get_by_text("Grass, grass.").first.wait_for()

    # A folder of this machine, which alone reaches this page
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"question": "q", "answer": "from the folder"}\n', encoding="utf-8")
    page.locator("#source button").first.click()
    page.locator("#source-name input, #source-name textarea").fill(str(folder))
    page.locator("#source-start").click()
    rows.get_by_text("from the folder").first.wait_for()

    # A text is learnt as it stands
    book = tmp_path / "book.txt"
    book.write_text("First paragraph.\n\nSecond paragraph.\n", encoding="utf-8")
    give(page, book)
    rows.get_by_text("Second paragraph.").first.wait_for()
