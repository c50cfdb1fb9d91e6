"""A dataset of the hub by its id, or a file or folder of this machine: fetched in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.services import tasks, uploads
from studio.services.uploads import Elsewhere
from studio.ui import task_views, views
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page

if TYPE_CHECKING:
    from studio.services.tasks import TaskStatus

EVERY = 1.0


def build(page: Page, error: gr.HTML) -> gr.State:
    """The panel; the state that it returns holds the id of the dataset that came last."""
    fetched = gr.State("")
    with gr.Accordion(t("source.title"), open=False, elem_id="source"):
        about = "source.about.local" if page.local else "source.about"
        gr.HTML(t(about), elem_classes="muted small")
        with gr.Row(elem_classes="controls"):
            label = "source.name.local" if page.local else "source.name"
            name = gr.Textbox(label=t(label), placeholder="owner/name", max_lines=1, elem_id="source-name")
            config = gr.Textbox(label=t("source.config"), max_lines=1, elem_id="source-config")
            split = gr.Textbox(
                label=t("source.split"), placeholder="train", max_lines=1, elem_id="source-split"
            )
        with gr.Row(elem_classes="actions"):
            start = gr.Button(t("source.start"), elem_id="source-start")
            cancel = gr.Button(t("source.cancel"), visible=False, elem_id="source-cancel")
        told = gr.HTML(elem_id="source-told")
        task = gr.State("")
        timer = gr.Timer(EVERY, active=False)
    watched = [task, start, cancel, told, timer]

    def watching(say: Words, task: str) -> tuple[Any, ...]:
        """In the order of `watched`."""
        found = tasks.status(page.store, task) if task else None
        busy = found is not None and found.state == "running"
        return (
            task,
            gr.Button(visible=not busy),
            gr.Button(visible=busy),
            told_of(say, found) if found else "",
            gr.Timer(active=busy),
        )

    def begun(say: Words, draft: Draft, *fields: str) -> tuple[Any, ...]:
        wanted = Elsewhere(*(field.strip() for field in fields))
        return watching(say, uploads.start_fetching(page.store, wanted, page.local))

    def ticked(say: Words, draft: Draft, task: str) -> tuple[Any, ...]:
        found = tasks.status(page.store, task)
        came = found.result["dataset"] if found.state == "finished" and found.result else gr.skip()
        return came, *watching(say, task)

    def ended(say: Words, draft: Draft, task: str) -> tuple[Any, ...]:
        if task:
            tasks.cancel(page.store, task)
        return watching(say, task)

    def entered(say: Words, draft: Draft, task: str) -> tuple[Any, ...]:
        """A task that is at work goes on being watched, also on a page that was loaded anew."""
        found = tasks.running(page.store, "fetch")
        return watching(say, found.id if found else task)

    page.on_enter("data", entered, watched, inputs=[task], error=error)
    page.on([start.click, name.submit], begun, [name, config, split], watched, error=error)
    page.on(timer.tick, ticked, [task], [fetched, *watched], error=error)
    page.on(cancel.click, ended, [task], watched, error=error)
    return fetched


def told_of(say: Words, found: TaskStatus) -> str:
    """How far the fetching is, or how it ended."""
    if found.error is not None:
        return views.error(say, found.error)
    if found.state == "stopped":
        return task_views.note(say("source.stopped"))
    if found.state == "finished":
        return task_views.note(say("source.done", source=found.request["source"]))
    if found.phase == "download" and found.total:
        done, total = views.size(found.done), views.size(found.total)
        return task_views.progress(say, found, say("source.downloading", done=done, total=total))
    return task_views.note(say("source.keeping" if found.phase == "keeping" else "source.asking"))
