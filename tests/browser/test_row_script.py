"""The Template tab's script by itself in a real Chromium, with answers that come when the test lets them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from studio.ui import row_view, row_views
from studio.ui.i18n import words
from tests.browser.test_whole_way import CHROMIUM, FLAGS, missing

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

RUN = """([shell, script, state]) => {
  document.body.innerHTML = shell;
  const props = {state: '', losses: ''};
  const watched = {};
  const tell = (name, value) => { props[name] = value; watched[name](); };
  window.asked = [];
  window.triggered = [];
  window.tell = tell;
  const server = {rows: (asked) => new Promise((answer) => window.asked.push({asked, answer}))};
  const trigger = (name, data) => window.triggered.push([name, data]);
  const watch = (name, then) => { watched[name] = then; };
  new Function('element', 'props', 'server', 'trigger', 'watch', script)(document.body, props, server, trigger, watch);
  tell('state', state);
}"""
"""What Gradio gives the script; `asked` are the requests for rows, each with the function that answers it."""
ANSWER = """([at, text]) => {
  const {asked, answer} = window.asked[at];
  const side = (place) => {
    const said = `${text} ${place}`;
    return {head: '', pieces: [`<b>${said}</b>`], runs: '', text: said, ids: [1], problem: '', kept: false};
  };
  answer(Object.fromEntries(asked.places.map((place) => [place, {number: place, position: '', sides: [side(place)]}])));
}"""


@pytest.fixture
def page() -> Iterator[Page]:
    sync_api = pytest.importorskip("playwright.sync_api")
    executable = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if executable is None:
        missing("there is no Chromium: run `make browser`")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        page = browser.new_page()
        page.set_default_timeout(20_000)
        yield page
        browser.close()


def state(**told: Any) -> str:
    """Five rows, of which nothing is known yet but that they are there."""
    known = {
        "key": "as it is",
        "settings": "as they are",
        "draft": {"dataset": "d", "row": 1},
        "total": 5,
        "numbers": [[1, 5]],
        "hazards": [],
        "limit": None,
        "settled": True,
        "other": "",
        "loss": False,
        "run": "",
        "run_note": "",
        "words": row_views.labels(words("en")),
    }
    return json.dumps({**known, **told})


def begin(page: Page, **told: Any) -> None:
    page.evaluate(RUN, [row_views.shell(), row_view.script(), state(**told)])
    answer(page, 0, "whole")
    page.locator("#tokens").get_by_text("whole 1").wait_for()


def answer(page: Page, request: int, text: str) -> None:
    page.wait_for_function("(at) => window.asked.length > at", arg=request)
    page.evaluate(ANSWER, [request, text])


def limits(page: Page) -> list[int | None]:
    found: list[int | None] = page.evaluate("window.asked.map(({asked}) => asked.limit)")
    return found


def test_rows_that_were_fetched_ahead_at_another_length_are_not_shown(page: Page) -> None:
    begin(page)
    page.wait_for_function("window.asked.length == 2")  # the rows ahead
    page.evaluate("(state) => window.tell('state', state)", state(limit=64))
    answer(page, 2, "cut")
    page.locator("#tokens").get_by_text("cut 1").wait_for()
    answer(page, 1, "whole")
    answer(page, 3, "cut")
    page.locator("#next-row").click()
    page.locator("#tokens").get_by_text("cut 2").wait_for()
    assert limits(page)[:4] == [None, None, 64, 64]


def test_no_rows_are_fetched_ahead_of_one_that_fails(page: Page) -> None:
    begin(page)
    answer(page, 1, "ahead")
    page.evaluate("(state) => window.tell('state', state)", state(key="endless", settled=False))
    page.wait_for_function("window.asked.length == 3")
    page.evaluate("""() => {
      const side = {head: '', pieces: [], runs: '', text: '', ids: [], problem: '<p>It has no end.</p>', kept: false};
      window.asked[2].answer({1: {number: 1, position: '', sides: [side]}});
    }""")
    page.get_by_text("It has no end.").wait_for()
    page.wait_for_timeout(300)
    assert page.evaluate("window.asked.map(({asked}) => asked.places)") == [[1], [2, 3], [1]]


def test_the_tokens_of_another_row_do_not_stand_under_a_template_that_fails(page: Page) -> None:
    """While one's own template is written the last tokens of the row stay, but they are those of that row alone."""
    begin(page)
    answer(page, 1, "ahead")
    page.evaluate("(state) => window.tell('state', state)", state(key="half-written", settled=False))
    fail = """([at, place]) => {
      const side = {head: '', pieces: [], runs: '', text: '', ids: [], problem: 'A bracket is open.', kept: true};
      window.asked[at].answer({[place]: {number: place, position: '', sides: [side]}});
    }"""
    page.evaluate(fail, [2, 1])
    page.locator(".stale #tokens").get_by_text("whole 1").wait_for()
    page.locator("#next-row").click()
    page.wait_for_function("window.asked.length == 4")
    page.evaluate(fail, [3, 2])
    page.locator("#tokens").get_by_text("A bracket is open.").wait_for()


def test_a_row_that_is_asked_for_before_rows_are_there_is_shown_once_they_are(page: Page) -> None:
    page.evaluate(RUN, [row_views.shell(), row_view.script(), ""])
    page.locator("#row-number").fill("4")
    page.locator("#row-number").press("Tab")
    page.evaluate("(state) => window.tell('state', state)", state())
    page.wait_for_function("window.asked.some(({asked}) => asked.places[0] == 4)")
    assert page.locator("#row-number").input_value() == "4"


def test_a_question_for_losses_says_itself_which_row_at_which_length_and_settings_it_is_about(
    page: Page,
) -> None:
    begin(page, loss=True, run="r")
    page.wait_for_function("window.triggered.some(([name]) => name == 'select')")
    page.evaluate("(state) => window.tell('state', state)", state(loss=True, run="r", limit=64))
    answer(page, 2, "cut")
    page.wait_for_function("window.triggered.filter(([name]) => name == 'select').length == 2")
    told = page.evaluate(
        "window.triggered.filter(([name]) => name == 'select').map(([, question]) => question)"
    )
    assert [(one["draft"], one["run"], one["place"]) for one in told] == [
        ({"dataset": "d", "row": 1}, "r", 1)
    ] * 2
    assert [one["limit"] for one in told] == [None, 64]
    assert told[0]["key"] != told[1]["key"]


def test_a_text_can_be_copied_where_the_browser_gives_no_clipboard(page: Page) -> None:
    """As on a page that others open over plain http."""
    page.route(
        "http://shared.example/", lambda route: route.fulfill(body="<body></body>", content_type="text/html")
    )
    page.goto("http://shared.example/")
    assert page.evaluate("navigator.clipboard === undefined")
    begin(page)
    page.locator(".rendered summary").first.click()
    button = page.locator("[data-word=copy]").first
    button.click()
    page.get_by_text("Copied").wait_for()
    page.evaluate("document.body.append(document.createElement('textarea'))")
    page.locator("textarea").press("Control+V")
    assert page.locator("textarea").input_value() == "whole 1"
    page.get_by_text("Copied").wait_for(state="detached")
    page.evaluate("document.execCommand = () => false")
    button.click()
    page.get_by_text("Marked: press Ctrl+C").wait_for()
    assert page.evaluate("getSelection().toString()") == "whole 1"


def test_figures_that_come_late_are_dimmed_and_tell_nothing_of_the_rows(page: Page) -> None:
    """Those of settings before the last change, in either order of the answer's parts, and then those of the last."""
    begin(page)
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<div id=\"set-view\"></div>')")
    card = page.locator("#set-view")

    def tell(key: str, **told: Any) -> None:
        page.evaluate("(state) => window.tell('state', state)", state(key=key, settings=key, **told))

    def figures_of(key: str) -> None:
        panel = f'<div data-settings="{key}"><p class="panel">{key}</p></div>'
        page.evaluate("(panel) => { document.querySelector('#set-view').innerHTML = panel; }", panel)

    def is_stale() -> bool:
        return "stale" in (card.get_attribute("class") or "")

    tell("first", settled=False)
    figures_of("first")
    tell("first", hazards=[[2, 2]])
    assert not is_stale()
    assert page.locator("#next-hazard").is_enabled()

    tell("second", settled=False)
    assert is_stale()
    page.evaluate(
        "document.querySelector('#set-view').innerHTML = '<p>Counting</p>'"
    )  # one's own template is written
    assert not is_stale()
    tell("first", hazards=[[2, 2]])
    assert page.locator("#next-hazard").is_disabled()
    figures_of("first")
    assert is_stale()
    figures_of("second")
    assert not is_stale()
    tell("second", hazards=[[3, 3]], limit=64)
    assert page.locator("#next-hazard").is_enabled()
    assert not is_stale()


def test_figures_that_come_after_a_choice_beside_them_leave_it_as_it_is(page: Page) -> None:
    begin(page)
    page.evaluate("(state) => window.tell('state', state)", state(settled=False, loss=True, run="r"))
    page.evaluate("(state) => window.tell('state', state)", state(hazards=[[2, 2]]))
    assert page.locator("#next-hazard").is_enabled()
    page.wait_for_function("window.triggered.some(([name]) => name == 'select')")
    assert page.locator(".loss-head").first.is_visible()
