"""The check of a large file as it goes on: how far it is, how long the rest takes, and how to end it."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.domain.errors import StudioError
from studio.services import surveys, tasks
from studio.ui import live, task_views, views
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page

if TYPE_CHECKING:
    from studio.services.store import Store
    from studio.services.tasks import TaskStatus

EVERY = 1.0
_CHECKING = 0.9
"""About which share of the time rows are looked at one by one; then they are compared."""


def build(page: Page, error: gr.HTML, changed: gr.State) -> None:
    """The panel. A large file that is chosen is checked by itself; one whose check was ended, once it is asked for.

    `changed` says that other rows are in use, and is told when a check is done.
    """
    with gr.Column(visible=False, elem_id="survey", elem_classes="surface") as panel:
        told = gr.HTML(elem_id="survey-told")
        with gr.Row(elem_classes="actions"):
            cancel = gr.Button(t("survey.cancel"), elem_id="survey-cancel")
            start = gr.Button(t("survey.start"), visible=False, elem_id="survey-start")
        timer = gr.Timer(EVERY, active=False)
    task = gr.State("")
    watched = [task, panel, told, cancel, start, timer]

    def shown(say: Words, name: str) -> tuple[Any, ...]:
        """In the order of `watched`."""
        found = tasks.status(page.store, name) if name else None
        busy = found is not None and found.state == "running"
        over = found is not None and found.state == "finished"
        return (
            name,
            gr.Column(visible=found is not None and not over),
            told_of(say, found) if found else "",
            gr.Button(visible=busy),
            gr.Button(visible=not busy),
            gr.Timer(active=busy),
        )

    def followed(say: Words, draft: Draft, name: str) -> tuple[Any, ...]:
        _end_forsaken(page.store, name)
        asked = unsurveyed(page.store, draft)
        if asked is None:
            return shown(say, "")
        found = surveys.latest(page.store, *asked)
        ended = found is not None and found.state in ("stopped", "failed")
        return shown(say, found.id if found and ended else surveys.start(page.store, *asked))

    def begun(say: Words, draft: Draft) -> tuple[Any, ...]:
        asked = unsurveyed(page.store, draft)
        return shown(say, surveys.start(page.store, *asked) if asked else "")

    def ended(say: Words, draft: Draft, name: str) -> tuple[Any, ...]:
        if name:
            surveys.cancel(page.store, name)
        return shown(say, name)

    def ticked(say: Words, draft: Draft, name: str) -> tuple[Any, ...]:
        over = bool(name) and tasks.status(page.store, name).state == "finished"
        return name if over else gr.skip(), *shown(say, name)

    page.on_enter("data", followed, watched, inputs=[task], error=error)
    page.on([page.draft.change, changed.change], followed, [task], watched, error=error, shared=True)
    page.on(start.click, begun, [], watched, error=error)
    page.on(cancel.click, ended, [task], watched, error=error)
    page.on(timer.tick, ticked, [task], [changed, *watched], error=error)


def unsurveyed(store: Store, draft: Draft) -> surveys.Asked | None:
    """The draft's file and how it is read, where it has to be surveyed and can be."""
    try:
        entry = store.dataset(draft.dataset)
        asked = (entry.path, *draft.reading(entry))
        if surveys.is_large(entry.path):
            surveys.kept(store, *asked)
    except surveys.Unsurveyed:
        return asked
    except StudioError:  # about which the tab says more
        return None
    return None


def _end_forsaken(store: Store, name: str) -> None:
    """A survey whose file is deleted goes on for nobody."""
    found = tasks.status(store, name) if name else None
    if found and found.state == "running" and not Path(found.request["path"]).exists():
        surveys.cancel(store, name)


def told_of(say: Words, found: TaskStatus) -> str:
    """How far a check is, or how it ended."""
    if found.error is not None:
        return views.error(say, found.error)
    if found.state == "stopped":
        return task_views.note(say("survey.stopped"))
    title = f'<p class="section-title">{escape(say("survey.title"))}</p>'
    if found.phase == "waiting":
        return title + task_views.note(say("survey.waiting"))
    if not found.total:
        return title + task_views.note(say("survey.beginning"))
    share = min(1.0, found.done / found.total)
    if found.phase == "compare":
        return f"{title}{live.bar(say, _CHECKING + (1 - _CHECKING) * share)}{task_views.note(say('survey.comparing'))}"
    return f"{title}{live.bar(say, _CHECKING * share)}{task_views.note(_checking(say, found))}"


def _checking(say: Words, found: TaskStatus) -> str:
    said = say("survey.checking", done=views.count(int(found.done)), total=views.count(_rounded(found.total)))
    if not (found.pace and found.seconds_left):
        return said
    left = found.seconds_left + (1 - _CHECKING) / _CHECKING * found.total / found.pace
    return f"{said} {say('survey.pace', pace=views.count(round(found.pace)), time=views.about(say, left))}"


def _rounded(total: float) -> int:
    """An estimated number, no more exact than it can be.

    >>> _rounded(123456.7)
    123000
    """
    unit = 10 ** max(0, len(str(int(total))) - 3)
    return round(total / unit) * unit
