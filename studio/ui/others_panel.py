"""What the administrator sees of everybody else: their runs that wait or work, and a way to stop one."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from studio.domain.errors import StudioError
from studio.domain.run import ALIVE, Run
from studio.ui import run_views, views
from studio.ui.i18n import Words
from studio.ui.page import Draft, Page

EVERY = 4.0
_LOOKED = """(draft, _) => [draft, {
  tab: Boolean(document.querySelector('#tab-runs')?.offsetParent), window: !document.hidden}]"""


def build(page: Page, error: gr.HTML) -> None:
    """The panel, which only the administrator of a home with accounts sees."""
    with gr.Column(elem_classes="surface", elem_id="others", visible=False) as panel:
        listed = gr.HTML(elem_id="others-runs", js_on_load=views.CLICKS)
    timer = gr.Timer(EVERY, active=False)
    looked = gr.JSON(visible=False)
    outputs = [panel, listed, timer]

    def shown(say: Words, draft: Draft) -> tuple[Any, ...]:
        """In the order of `outputs`."""
        if not page.rooms.administrator_is_here:
            return gr.Column(visible=False), "", gr.Timer(active=False)
        runs = at_work(page)
        return gr.Column(visible=True), table(say, runs), gr.Timer(active=bool(runs))

    def ticked(say: Words, draft: Draft, looked: dict[str, bool]) -> tuple[Any, ...]:
        if not looked["tab"]:
            return gr.skip(), gr.skip(), gr.Timer(active=False)
        return shown(say, draft) if looked["window"] else (gr.skip(), gr.skip(), gr.skip())

    def clicked(say: Words, draft: Draft, event: gr.EventData) -> tuple[Any, ...]:
        stop(page, str(event._data.get("user")), str(event._data.get("run")))
        return shown(say, draft)

    page.on_enter("runs", shown, outputs, error=error)
    page.on(timer.tick, ticked, [looked], outputs, error=error, js=_LOOKED)
    page.on(listed.click, clicked, [], outputs, error=error, event=True)


def at_work(page: Page) -> list[tuple[str, Run]]:
    """The runs of all others that wait or work, with their users' names."""
    accounts = page.rooms.accounts
    names = [account.name for account in accounts.all() if not account.administrator] if accounts else []
    return [(name, run) for name in names for run in page.rooms.of(name).jobs.list() if run.state in ALIVE]


def stop(page: Page, user: str, run_id: str) -> None:
    """Ask another one's run to stop. StudioError for whoever is not the administrator."""
    if not page.rooms.administrator_is_here:
        raise StudioError("Only the administrator stops the runs of others.", "Ask for it.")
    page.rooms.of(user).jobs.stop(run_id)


def table(say: Words, runs: Sequence[tuple[str, Run]]) -> str:
    """The list, or that nobody else's run is at work."""
    title = f'<p class="section-title">{escape(say("others.title"))}</p>'
    if not runs:
        return title + f'<p class="muted">{escape(say("others.none"))}</p>'
    heads = [say(f"others.{head}") for head in ("user", "run", "state")]
    return title + views.table([*heads, ""], "".join(_line(say, user, run) for user, run in runs))


def _line(say: Words, user: str, run: Run) -> str:
    steps = f"{views.count(run.step)} / {views.count(run.steps)}" if run.steps else ""
    doing = run_views.in_line(say, run) or steps
    act = (
        f'<button type="button" class="act quiet" data-user="{escape(user)}" data-run="{escape(run.id)}">'
        f"{escape(say('runs.stop'))}</button>"
        if run.state != "stopping"
        else ""
    )
    return (
        f"<tr><td>{escape(user)}</td><td>{escape(run_views.title(run))}</td>"
        f'<td>{run_views.chip(say, run)} <span class="muted small">{escape(doing)}</span></td><td>{act}</td></tr>'
    )
