"""An evaluation that is cancelled on the page, and goes on there where it was."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from studio.domain.chat import Conversation, Message
from studio.services.store import Store
from tests.browser.test_whole_way import Server, page, server  # noqa: F401
from tests.runs import ROWS, finished_run

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

HELD_OUT = 48


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    rows = [
        Conversation((Message("user", f"Question {n}?"), Message("assistant", f"Answer {n}.")), n)
        for n in range(11, 11 + HELD_OUT)
    ]
    finished_run(Store(home)).write_data(ROWS, rows)
    return home


def test_what_was_answered_before_it_was_cancelled_is_not_asked_again(page: Page, server: Server) -> None:  # noqa: F811
    store = Store(server.home)
    evaluations = store.run_dir(store.run_ids()[0]) / "evaluations"

    def answered() -> list[str]:
        return [
            line
            for file in evaluations.glob("*/answers.jsonl")
            for line in file.read_text("utf-8").splitlines()
        ]

    page.goto(f"{server.url}/#evaluate")
    page.locator("#evaluate-start").click()
    deadline = time.monotonic() + 180
    while not answered():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    page.locator("#evaluate-cancel").click()
    page.locator("#evaluate-progress").get_by_text("Evaluate goes on from there", exact=False).wait_for()
    page.locator("#evaluate-start").wait_for()
    before = answered()
    assert 0 < len(before) < 2 * HELD_OUT
    time.sleep(1)
    assert answered() == before

    page.locator("#evaluate-start").click()
    page.locator("#evaluate-result").get_by_text("chrF", exact=False).first.wait_for()
    after = answered()
    assert len(after) == 2 * HELD_OUT
    assert after[: len(before)] == before
