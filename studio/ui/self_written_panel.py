"""The part of the modes panel where the model that is to be tuned writes the general rows itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.domain.config import TemplateConfig
from studio.ui import task_views, views
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page

if TYPE_CHECKING:
    from studio.services.tasks import TaskStatus

ROWS = 200
EVERY = 1.0


def build(page: Page, error: gr.HTML) -> gr.Column:
    """The panel; who shows it decides when. What was written becomes the draft's general data by itself."""
    with gr.Column(visible=False, elem_id="self-written") as panel:
        gr.HTML(t("self_written.about"), elem_classes="muted")
        with gr.Row(elem_classes="controls"):
            rows = gr.Number(
                ROWS,
                label=t("self_written.rows"),
                info=t("self_written.rows.info"),
                precision=0,
                minimum=1,
                elem_id="self-written-rows",
            )
            start = gr.Button(t("self_written.start"), variant="primary", elem_id="self-written-start")
            cancel = gr.Button(t("self_written.cancel"), visible=False, elem_id="self-written-cancel")
    # Outside: the panel goes once its rows are the general data, and how many they are is still to be read.
    told = gr.HTML(elem_id="self-written-told")
    task = gr.State("")
    timer = gr.Timer(EVERY, active=False)
    watched = [task, start, cancel, told, timer]

    def begun(say: Words, draft: Draft, wanted: float | None) -> tuple[Any, ...]:
        from studio.services import self_writing

        model, revision = model_of(draft)
        name = self_writing.start(
            page.store,
            model,
            int(wanted or 0),
            revision=revision,
            template=template_of(draft),
            seed=int(draft.values.get("train.seed") or 0),
        )
        return _watched(say, page, name)

    def ticked(say: Words, draft: Draft, name: str) -> tuple[Any, ...]:
        from studio.services import tasks

        found = tasks.status(page.store, name)
        if found.state == "finished" and found.result:
            draft = replace(draft, general=str(found.result["dataset"]))
            return draft, *_watched(say, page, name)
        return gr.skip(), *_watched(say, page, name)

    def ended(say: Words, draft: Draft, name: str) -> tuple[Any, ...]:
        from studio.services import tasks

        if name:
            tasks.cancel(page.store, name)
        return _watched(say, page, name)

    def entered(say: Words, draft: Draft) -> tuple[Any, ...]:
        """A task that is at work goes on being watched, also on a page that was loaded anew."""
        from studio.services import tasks

        found = tasks.running(page.store, "write")
        return _watched(say, page, found.id if found else "")

    page.on_enter("data", entered, watched, error=error)
    page.on(start.click, begun, [rows], watched, error=error)
    page.on(timer.tick, ticked, [task], [page.draft, *watched], error=error)
    page.on(cancel.click, ended, [task], watched, error=error)
    return panel


def model_of(draft: Draft) -> tuple[str, str | None]:
    """The model that is to be tuned: what it can do is what has to be kept."""
    revision = draft.values.get("model.revision")
    return str(draft.values.get("model.id") or "starter"), str(revision) if revision else None


def template_of(draft: Draft) -> TemplateConfig:
    """The template that it is asked with."""
    name, source = draft.values.get("template.name"), draft.values.get("template.source")
    return TemplateConfig(name=str(name or "auto"), source=str(source) if source else None)


def _watched(say: Words, page: Page, name: str) -> tuple[Any, ...]:
    """In the order of `watched`."""
    from studio.services import tasks

    found = tasks.status(page.store, name) if name else None
    busy = found is not None and found.state == "running"
    return (
        name,
        gr.Button(visible=not busy),
        gr.Button(visible=busy),
        told_of(say, found) if found else "",
        gr.Timer(active=busy),
    )


def told_of(say: Words, found: TaskStatus) -> str:
    """How far the writing is, or how it ended."""
    if found.error is not None:
        return views.error(say, found.error)
    if found.state == "stopped":
        return task_views.note(say("self_written.stopped"))
    if found.state == "finished" and found.result:
        said = say(
            "self_written.done",
            kept=views.count(found.result["kept"]),
            written=views.count(found.result["written"]),
            percent=f"{100 * found.result['passed']:.0f}",
        )
        few = say("self_written.few") if found.result["kept"] < found.result["asked"] else ""
        return task_views.note(f"{said} {few}".strip())
    if found.phase != "writing" or not found.total:
        return task_views.note(say("self_written.loading"))
    said = say("self_written.writing", done=views.count(int(found.done)), total=views.count(int(found.total)))
    return task_views.progress(say, found, said)
