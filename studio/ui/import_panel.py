"""A run of another machine, from its folder or an archive of it: checked, and taken over in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.services import run_imports, tasks
from studio.ui import task_views, views
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page

if TYPE_CHECKING:
    from studio.services.tasks import TaskStatus

EVERY = 1.0


def build(page: Page, error: gr.HTML) -> gr.State:
    """The panel; the state that it returns holds the id of the run that came last."""
    came = gr.State("")
    with gr.Accordion(t("import.title"), open=False, elem_id="import"):
        gr.HTML(t("import.about"), elem_classes="muted small")
        upload = gr.File(
            label=t("import.upload"),
            show_label=False,
            file_types=[".zip"],
            height=104,
            elem_id="import-upload",
        )
        # Paths are for a page that only this machine reaches: others must not look around in it.
        with gr.Row(elem_classes="controls", visible=page.local):
            folder = gr.Textbox(label=t("import.folder"), max_lines=1, elem_id="import-folder")
            base = gr.Textbox(label=t("import.base"), max_lines=1, elem_id="import-base")
        with gr.Row(elem_classes="actions"):
            start = gr.Button(t("import.start"), elem_id="import-start")
            cancel = gr.Button(t("source.cancel"), visible=False, elem_id="import-cancel")
        told = gr.HTML(elem_id="import-told")
        task = gr.State("")
        timer = gr.Timer(EVERY, active=False)
    watched = [task, start, cancel, told, timer]

    def watching(say: Words, task: str) -> tuple[Any, ...]:
        """In the order of `watched`."""
        found = tasks.known(page.store, task)
        busy = found is not None and found.state == "running"
        return (
            task,
            gr.Button(visible=not busy),
            gr.Button(visible=busy),
            told_of(say, found) if found else "",
            gr.Timer(active=busy),
        )

    def begun(say: Words, draft: Draft, upload: str | None, folder: str, base: str) -> tuple[Any, ...]:
        named = (folder.strip(), base.strip()) if page.local else ("", "")
        return watching(say, run_imports.start(page.store, upload or named[0], named[1]))

    def ticked(say: Words, draft: Draft, task: str) -> tuple[Any, ...]:
        found = tasks.status(page.store, task)
        run = found.result["run"] if found.state == "finished" and found.result else gr.skip()
        return run, *watching(say, task)

    def ended(say: Words, draft: Draft, task: str) -> tuple[Any, ...]:
        if task:
            tasks.cancel(page.store, task)
        return watching(say, task)

    def entered(say: Words, draft: Draft, task: str) -> tuple[Any, ...]:
        """A task that is at work goes on being watched, also on a page that was loaded anew."""
        found = tasks.running(page.store, "import")
        return watching(say, found.id if found else task)

    page.on_enter("runs", entered, watched, inputs=[task], error=error)
    page.on(start.click, begun, [upload, folder, base], watched, error=error)
    page.on(timer.tick, ticked, [task], [came, *watched], error=error)
    page.on(cancel.click, ended, [task], watched, error=error)
    return came


def told_of(say: Words, found: TaskStatus) -> str:
    """How far the import is, or how it ended."""
    if found.error is not None:
        return views.error(say, found.error)
    if found.state == "stopped":
        return task_views.note(say("import.stopped"))
    if found.state == "finished" and found.result:
        return task_views.note(say("import.done", run=found.result["run"]))
    if found.phase == "unpacking" and found.total:
        done, total = views.size(found.done), views.size(found.total)
        return task_views.progress(say, found, say("import.unpacking", done=done, total=total))
    return task_views.note(say("import.checking"))
