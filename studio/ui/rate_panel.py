"""The learning-rate range test beside the form: start it, watch it, take the rate that it suggests."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.engine.rate_range import RangeTest
from studio.services import tasks
from studio.services.tasks import TaskStatus
from studio.ui import rate_views, task_views, views
from studio.ui.i18n import Words, t
from studio.ui.live import LIVE
from studio.ui.page import Draft, Page
from studio.ui.self_written_panel import EVERY


def build(page: Page, error: gr.HTML) -> tuple[gr.Button, gr.State]:
    """The panel. Returned are the button that takes the suggested rate, and that rate; the form does the rest."""
    with gr.Column(elem_classes="group", elem_id="rates"):
        gr.HTML(t("rates.title"), elem_classes="section-title")
        gr.HTML(t("rates.about"), elem_classes="muted")
        with gr.Row(elem_classes="actions"):
            start = gr.Button(t("rates.start"), elem_id="rates-start")
            cancel = gr.Button(t("self_written.cancel"), visible=False, elem_id="rates-cancel")
            use = gr.Button(t("rates.use"), variant="primary", visible=False, elem_id="rates-use")
        told = gr.HTML(elem_id="rates-told", js_on_load=LIVE)
        task, suggested = gr.State(""), gr.State(None)
        timer = gr.Timer(EVERY, active=False)
    watched = [task, suggested, start, cancel, use, told, timer]

    def begun(say: Words, draft: Draft) -> tuple[Any, ...]:
        from studio.services import rate_range

        page.chat.close_if_idle()  # the test needs the memory more than a model that nobody is talking to
        return watching(say, draft, rate_range.start(page.store, draft.config(page.store), draft.dataset))

    def ticked(say: Words, draft: Draft, name: str) -> tuple[Any, ...]:
        return watching(say, draft, name)

    def ended(say: Words, draft: Draft, name: str) -> tuple[Any, ...]:
        if name:
            tasks.cancel(page.store, name)
        return watching(say, draft, name)

    def follow(say: Words, draft: Draft, name: str) -> tuple[Any, ...]:
        """A test that is at work goes on being watched, also on a page that was loaded anew."""
        at_work = tasks.running(page.store, "rates")
        return watching(say, draft, at_work.id if at_work else name)

    def watching(say: Words, draft: Draft, name: str) -> tuple[Any, ...]:
        """In the order of `watched`. Of a test on other rows nothing is said, but two are not at work at once."""
        found = tasks.status(page.store, name) if name else None
        busy = found is not None and found.state == "running"
        own = found is not None and found.request["dataset"] == draft.dataset
        result = result_of(found) if own and found else None
        rate = result.suggested if result else None
        return (
            name if busy or own else "",
            rate,
            gr.Button(visible=not busy, interactive=bool(draft.dataset)),
            gr.Button(visible=busy),
            gr.Button(visible=rate is not None),
            told_of(say, found) if found and (own or busy) else "",
            gr.Timer(active=busy),
        )

    page.on_enter("hyperparameters", follow, watched, inputs=[task], error=error)
    page.on(start.click, begun, [], watched, error=error)
    page.on(timer.tick, ticked, [task], watched, error=error)
    page.on(cancel.click, ended, [task], watched, error=error)
    return use, suggested


def result_of(found: TaskStatus) -> RangeTest | None:
    return RangeTest.from_json(found.result) if found.state == "finished" and found.result else None


def told_of(say: Words, found: TaskStatus) -> str:
    """How far the test is, or what it found."""
    if found.error is not None:
        return views.error(say, found.error)
    if found.state == "stopped":
        return task_views.note(say("rates.stopped"))
    result = result_of(found)
    if result is not None:
        return rate_views.result(say, result)
    if found.phase != "testing" or not found.total:
        return task_views.note(say("self_written.loading"))
    done, total = views.count(int(found.done)), views.count(int(found.total))
    return task_views.progress(say, found, say("rates.testing", done=done, total=total))
