"""A dataset of the hub by its id, or a file or folder of this machine: fetched in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.services import uploads
from studio.services.uploads import Elsewhere
from studio.ui import task_views, views
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page
from studio.ui.task_controls import TaskControls

if TYPE_CHECKING:
    from studio.services.tasks import TaskStatus


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
        controls = TaskControls(page, "source", "fetch", t("source.start"), told_of)

    def begun(say: Words, draft: Draft, *fields: str) -> tuple[Any, ...]:
        wanted = Elsewhere(*(field.strip() for field in fields))
        return controls.watching(say, uploads.start_fetching(page.store, wanted, page.local))

    asked = [controls.start.click, name.submit]
    page.on(asked, begun, [name, config, split], controls.outputs, error=error)
    controls.wire("data", error, {"dataset": fetched})
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
