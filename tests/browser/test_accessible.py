"""Everybody can use the page: axe-core finds nothing serious on any tab; all of it fits a phone, and 200 % zoom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from studio.engine.assets import ASSETS
from studio.services.store import Store
from tests.browser.test_whole_way import Server, page, server, tab  # noqa: F401
from tests.runs import finished_run

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

TABS = {
    "Data": "#rows .entry",
    "Template": "#token-panel .token",
    "Hyperparameters": "#estimate table",
    "Training": "#run-status *",
    "Chat": "#chat-run input",
    "Evaluation": "#evaluate-run input",
    "Runs": "#runs table",
    "Export": "#export-run input",
}
"""Each tab, and what stands on it once it is filled."""
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
WIDTHS = {"phone": 390, "200 % zoom of 1280 pixels": 640}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with a run that has ended."""
    home = tmp_path_factory.mktemp("home")
    finished_run(Store(home))
    return home


def opened(page: Page, server: Server) -> None:  # noqa: F811
    page.goto(server.url)
    page.get_by_text("Start with a sample").first.wait_for()
    page.locator("input[type=file]").first.set_input_files(str(ASSETS / "samples" / "dirty.jsonl"))
    page.locator(TABS["Data"]).first.wait_for()


def visited(page: Page, name: str) -> None:  # noqa: F811
    tab(page, name)
    page.locator(TABS[name]).first.wait_for()
    page.wait_for_timeout(1500)  # what fills itself in after it


def unfolded(page: Page) -> None:  # noqa: F811
    """All that is folded on the tab is open."""
    for button in page.locator(".tabitem button.label-wrap:not(.open):visible").all():
        button.click()
    page.wait_for_timeout(1500)


def faults(page: Page) -> list[str]:  # noqa: F811
    """What axe-core calls serious or critical, with the element."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found: list[dict[str, Any]] = axe.run(page, options=RULES).response["violations"]
    return [
        f"{fault['id']} ({fault['impact']}): {node['html'][:300]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_tab(page: Page, server: Server, scheme: Any) -> None:  # noqa: F811
    page.emulate_media(color_scheme=scheme)
    opened(page, server)
    found: dict[str, list[str]] = {}
    for name in TABS:
        visited(page, name)
        unfolded(page)
        found[name] = faults(page)
    assert found == {name: [] for name in TABS}


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_no_tab_is_wider_than_the_window(page: Page, server: Server, width: int) -> None:  # noqa: F811
    page.set_viewport_size({"width": width, "height": 800})
    opened(page, server)
    wide = {}
    for name in TABS:
        visited(page, name)
        unfolded(page)
        wide[name] = page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth")
        if wide[name] > 0:
            page.screenshot(path=server.home / f"wide-{name}.png", full_page=True)
    assert wide == dict.fromkeys(TABS, 0)
