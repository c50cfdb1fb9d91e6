"""The part of the checklist that needs a model: how much each prompt helps it to foresee the response."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.services import difficulty, tasks
from studio.services.tasks import TaskStatus
from studio.ui import task_views, views
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page
from studio.ui.self_written_panel import EVERY, model_of, template_of


def build(page: Page, error: gr.HTML, changed: gr.State) -> None:
    """The panel. `changed` is told when there is something new for the checklist."""
    with gr.Column(visible=False, elem_classes="surface", elem_id="difficulty") as panel:
        gr.HTML(t("difficulty.title"), elem_classes="section-title")
        gr.HTML(t("difficulty.about"), elem_classes="muted")
        with gr.Row(elem_classes="actions"):
            start = gr.Button(t("difficulty.start"), elem_id="difficulty-start")
            cancel = gr.Button(t("self_written.cancel"), visible=False, elem_id="difficulty-cancel")
        told = gr.HTML(elem_id="difficulty-told")
        task = gr.State("")
        timer = gr.Timer(EVERY, active=False)
    watched = [task, panel, start, cancel, told, timer]

    def begun(say: Words, draft: Draft) -> tuple[Any, ...]:
        entry = page.store.dataset(draft.dataset)
        form, columns, read_as = draft.reading(entry)
        model, revision = model_of(draft)
        name = difficulty.start(
            page.store,
            str(entry.path),
            model,
            revision=revision,
            template=template_of(draft),
            dataset=entry.id,
            format=form,
            columns=columns,
            read_as=read_as,
        )
        return watching(say, draft, name)

    def ticked(say: Words, draft: Draft, name: str) -> tuple[Any, ...]:
        found = tasks.status(page.store, name)
        return name if found.state == "finished" else gr.skip(), *watching(say, draft, name)

    def ended(say: Words, draft: Draft, name: str) -> tuple[Any, ...]:
        if name:
            tasks.cancel(page.store, name)
        return watching(say, draft, name)

    def follow(say: Words, draft: Draft, name: str) -> tuple[Any, ...]:
        """A task that is at work goes on being watched, also on a page that was loaded anew."""
        at_work = tasks.running(page.store, "difficulty")
        return watching(say, draft, at_work.id if at_work else name)

    def watching(say: Words, draft: Draft, name: str) -> tuple[Any, ...]:
        """In the order of `watched`. Of another dataset's task nothing is said, but two are not at work at once."""
        found = tasks.status(page.store, name) if name else None
        busy = found is not None and found.state == "running"
        own = found is not None and found.request["dataset"] == draft.dataset
        return (
            name if busy or own else "",
            gr.Column(visible=bool(draft.dataset)),
            gr.Button(visible=not busy),
            gr.Button(visible=busy),
            told_of(say, found) if found and (own or busy) else "",
            gr.Timer(active=busy),
        )

    page.on_enter("data", follow, watched, inputs=[task], error=error)
    page.on(page.draft.change, follow, [task], watched, error=error, shared=True)
    page.on(start.click, begun, [], watched, error=error)
    page.on(timer.tick, ticked, [task], [changed, *watched], error=error)
    page.on(cancel.click, ended, [task], watched, error=error)


def told_of(say: Words, found: TaskStatus) -> str:
    """How far the measuring is, or how it ended."""
    if found.error is not None:
        return views.error(say, found.error)
    if found.state == "stopped":
        return task_views.note(say("difficulty.stopped"))
    if found.state == "finished" and found.result:
        flagged = sum(len(item["rows"]) for item in found.result["findings"])
        rows = views.rows(say, len(found.result["ratios"]))
        return task_views.note(say("difficulty.done", rows=rows, flagged=views.rows(say, flagged)))
    if found.phase != "measuring" or not found.total:
        return task_views.note(say("self_written.loading"))
    done, total = views.count(int(found.done)), views.count(int(found.total))
    return task_views.progress(say, found, say("difficulty.measuring", done=done, total=total))
