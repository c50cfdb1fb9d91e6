"""A run of another machine, from its folder or an archive of it: checked, and taken over in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.services import run_imports
from studio.ui import task_views, views
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page
from studio.ui.task_controls import TaskControls

if TYPE_CHECKING:
    from studio.services.tasks import TaskStatus


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
        controls = TaskControls(page, "import", "import", t("import.start"), told_of)

    def begun(say: Words, draft: Draft, upload: str | None, folder: str, base: str) -> tuple[Any, ...]:
        named = (folder.strip(), base.strip()) if page.local else ("", "")
        return controls.watching(say, run_imports.start(page.store, upload or named[0], named[1]))

    page.on(controls.start.click, begun, [upload, folder, base], controls.outputs, error=error)
    controls.wire("runs", error, {"run": came})
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
