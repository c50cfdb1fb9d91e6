"""Everybody can use the page: axe-core finds nothing serious on any tab, all of it fits a phone and 200 % zoom, and the
keyboard reaches what the mouse does and shows where it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from studio.engine.assets import ASSETS
from studio.services.store import Store
from tests.browser.test_whole_way import Server, page, server, tab, with_starter  # noqa: F401
from tests.runs import finished_run

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

TABS = ("Data", "Template", "Hyperparameters", "Training", "Chat", "Evaluation", "Runs", "Export")
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
DESK, PHONE, ZOOMED = (
    {"width": 1280, "height": 900},
    {"width": 390, "height": 844},
    {"width": 640, "height": 450},
)
"""The last is what 1280 x 900 pixels are at 200 %."""
OPEN_ALL = """
for (const button of document.querySelectorAll('.tabitem button.label-wrap:not(.open)'))
  if (button.offsetParent) button.click();
for (const folded of document.querySelectorAll('.tabitem details')) if (folded.offsetParent) folded.open = true;
"""
CUT_OFF = """() => {
  const scrolls = (element) => {
    for (let at = element; at && !at.classList.contains('gradio-container'); at = at.parentElement)
      if (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(at).overflowX)) return true;
    return false;
  };
  return [...document.querySelectorAll('.tabitem *')]
    .filter((element) => element.offsetParent && element.getBoundingClientRect().right > innerWidth + 1)
    .filter((element) => !scrolls(element))
    .map((element) => `${element.tagName}#${element.id}.${element.className}`);
}"""
"""What reaches beyond the window and lies in nothing that scrolls by itself."""
HELD = """() => {
  const at = document.activeElement, frame = at.closest('.container > .wrap');
  const shown = (element) => {
    const style = getComputedStyle(element);
    return style.outlineStyle !== 'none' || style.boxShadow !== 'none';
  };
  return [at.id, at === document.body || shown(at) || Boolean(frame && shown(frame)), at.outerHTML.slice(0, 200)];
}"""
"""The element that the keyboard is at, and whether one sees it."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with a run that has ended, and the starter."""
    home = with_starter(tmp_path_factory.mktemp("home"))
    finished_run(Store(home))
    return home


def opened(page: Page, server: Server) -> None:  # noqa: F811
    page.goto(server.url)
    page.get_by_text("Start with a sample").first.wait_for()
    page.locator("input[type=file]").first.set_input_files(str(ASSETS / "samples" / "dirty.jsonl"))
    page.locator("#rows .entry").first.wait_for()


def visited(page: Page, name: str) -> None:  # noqa: F811
    """The tab has filled itself in, and all that is folded on it is open."""
    tab(page, name)
    page.wait_for_timeout(4000)
    page.evaluate(OPEN_ALL)
    page.wait_for_timeout(2000)


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


def test_axe_finds_nothing_serious_on_any_tab_and_nothing_is_cut_off(page: Page, server: Server) -> None:  # noqa: F811
    opened(page, server)
    found: dict[str, Any] = {}
    for name in TABS:
        visited(page, name)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.wait_for_timeout(1000)  # colours change gently
            found[f"{name}, {scheme}"] = faults(page)
        for size in (PHONE, ZOOMED):
            page.set_viewport_size(size)  # type: ignore[arg-type]
            page.wait_for_timeout(500)
            found[f"{name}, {size['width']} pixels"] = page.evaluate(CUT_OFF)
        page.set_viewport_size(DESK)  # type: ignore[arg-type]
    assert {place: what for place, what in found.items() if what} == {}


def test_the_keyboard_goes_the_whole_way_and_is_seen(page: Page, server: Server) -> None:  # noqa: F811
    page.goto(server.url)
    page.locator("#samples [data-sample]").first.focus()
    page.keyboard.press("Enter")
    page.locator("#rows .pager .num").wait_for()
    page.locator("#rows .entry summary").first.focus()
    page.keyboard.press("Enter")
    page.locator("#rows .entry[open]").wait_for()
    unseen = []
    for name, onward in (
        ("Data", "next-template"),
        ("Template", "next-hyperparameters"),
        ("Export", "serve-start"),
    ):
        page.get_by_role("tab", name=name, exact=True).focus()
        page.keyboard.press("Enter")
        page.wait_for_timeout(4000)
        for _ in range(150):
            page.keyboard.press("Tab")
            identity, seen, markup = page.evaluate(HELD)
            if not seen:
                unseen.append(f"{name}: {markup}")
            if identity == onward:
                break
        else:
            pytest.fail(f"the keyboard does not come to {onward} on {name}")
    assert unseen == []
