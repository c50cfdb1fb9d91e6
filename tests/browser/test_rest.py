"""A page that nobody touches costs nothing: training has to share the processor with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.browser.test_whole_way import Server, home, page, server, tab  # noqa: F401

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

COUNTED = """
window.frames_asked = 0;
const next = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (draw) => { window.frames_asked += 1; return next(draw); };
"""
TABS = ("Template", "Hyperparameters", "Training", "Chat", "Evaluation", "Runs", "Export", "Data")


def test_a_page_at_rest_asks_for_nothing(page: Page, server: Server) -> None:  # noqa: F811
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(request.post_data or "") if "join" in request.url else None
    )
    refused: list[str] = []
    page.on(
        "console", lambda told: refused.append(told.text) if "Content Security Policy" in told.text else None
    )
    page.add_init_script(COUNTED)
    page.goto(server.url)
    page.locator("#samples [data-sample]").last.click()
    page.locator("#rows .pager .num").wait_for()
    for name in TABS:
        tab(page, name)
        page.wait_for_timeout(3000)
    page.evaluate("window.frames_asked = 0")
    asked.clear()
    page.wait_for_timeout(4000)
    assert asked == []
    assert page.evaluate("window.frames_asked") <= 10

    # Only what a person changed is the person's: what the form filled in by itself goes on following the data
    tab(page, "Hyperparameters")
    page.locator("#set-train-epochs textarea, #set-train-epochs input").first.fill("2")
    page.wait_for_timeout(3000)
    drafts = [
        json.loads(given[0])["values"] for post in asked if (given := json.loads(post)["data"]) and given[0]
    ]
    assert drafts[-1] == {"train.epochs": 2}
    assert refused == []  # nothing of the page's own is against its content policy
