"""Evaluation: base and tuned model on rows that the run never saw, in figures and row by row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr

from studio.domain.errors import StudioError
from studio.domain.run import ALIVE
from studio.services import evaluations, tasks
from studio.services.evaluations import ROWS, TOKENS, Asked
from studio.services.files import write_text
from studio.services.tasks import TaskStatus
from studio.ui import benchmark_panel, evaluate_views, rating_panel, run_report, run_views, task_views, views
from studio.ui.i18n import Words, t
from studio.ui.live import LIVE, SAVE
from studio.ui.page import Draft, Page
from studio.ui.usable_runs import usable

EVERY = 1.0
_MOST_ROWS = 512


def build(page: Page) -> None:
    with page.tab("evaluate"):
        error = page.error_box()
        empty = gr.HTML(elem_id="evaluate-empty", visible=False)
        with gr.Column(elem_classes="surface", elem_id="evaluate-new", visible=False) as new:
            gr.HTML(t("evaluate.about"), elem_classes="muted")
            run = gr.Dropdown(
                label=t("chat.run"), choices=[], elem_id="evaluate-run", elem_classes="run-pick"
            )
            with gr.Row():
                rows = gr.Slider(
                    8,
                    _MOST_ROWS,
                    ROWS,
                    step=8,
                    label=t("evaluate.most_rows"),
                    info=t("evaluate.most_rows.info"),
                )
                tokens = gr.Slider(
                    16,
                    1024,
                    TOKENS,
                    step=16,
                    label=t("chat.most"),
                    info=t("chat.most.info"),
                )
            with gr.Row(elem_classes="actions"):
                start = gr.Button(t("evaluate.start"), variant="primary", elem_id="evaluate-start")
                cancel = gr.Button(t("self_written.cancel"), visible=False, elem_id="evaluate-cancel")
                save = gr.Button(t("report.save"), elem_id="report-save")
            told = gr.HTML(elem_id="evaluate-progress")
        shown = gr.HTML(elem_id="evaluate-result", js_on_load=LIVE)
        rating, offer = rating_panel.build(page, run, shown, error)
        panels = [rating, benchmark_panel.build(page, run, error)]
        page.next_button("export")
        download = gr.DownloadButton(visible="hidden")
        timer = gr.Timer(EVERY, active=False)
        task = gr.State("")
    watched = [task, start, cancel, told, shown, *offer, timer]
    whole = [page.draft, empty, new, *panels, run, *watched]

    def enter(say: Words, draft: Draft, name: str) -> tuple[Any, ...]:
        runs = usable(page)
        if not runs:
            alive = any(found.state in ALIVE for found in page.jobs.list())
            text = views.empty(say("chat.none"), say("chat.none.training" if alive else "chat.none.next"))
            return (gr.skip(), gr.HTML(text, visible=True), *[gr.Column(visible=False)] * 3, *[gr.skip()] * 9)
        run_id = draft.run if draft.run in [found.id for found in runs] else runs[0].id
        at_work = tasks.running(page.store, "evaluate")
        return (
            replace(draft, run=run_id),
            gr.HTML(visible=False),
            *[gr.Column(visible=True)] * 3,
            gr.Dropdown(choices=[run_views.choice(found) for found in runs], value=run_id),
            *watching(say, run_id, at_work.id if at_work else name),
        )

    def picked(say: Words, draft: Draft, run_id: str, name: str) -> tuple[Any, ...]:
        return (replace(draft, run=run_id), *watching(say, run_id, name))

    def begun(say: Words, draft: Draft, run_id: str, most_rows: float, most_tokens: float) -> tuple[Any, ...]:
        at_work = tasks.running(page.store, "evaluate")
        if at_work is not None:
            raise StudioError(
                "Another evaluation is at work.",
                "Wait for its end, or cancel it: two would slow each other down.",
            )
        page.chat.close_if_idle()  # an evaluation needs the memory more than a model that nobody is talking to
        return watching(say, run_id, evaluations.start(page.store, asked(run_id, most_rows, most_tokens)))

    def ticked(say: Words, draft: Draft, run_id: str, name: str) -> tuple[Any, ...]:
        return watching(say, run_id, name, ticking=True)

    def ended(say: Words, draft: Draft, run_id: str, name: str) -> tuple[Any, ...]:
        if name:
            tasks.cancel(page.store, name)
        return watching(say, run_id, name)

    def watching(say: Words, run_id: str, name: str, *, ticking: bool = False) -> tuple[Any, ...]:
        """In the order of `watched`. An evaluation of another run is told of as long as it is at work.

        `ticking`: looked at again only because time has passed, so that the result is new at the end alone.
        """
        found = tasks.known(page.store, name)
        busy = found is not None and found.state == "running"
        own = found is not None and found.request["run"] == run_id
        if busy and not own:
            text = task_views.note(say("evaluate.other"))
        else:
            text = told_of(say, found) if found and own else ""
        return (
            name if busy or own else "",
            gr.Button(visible=not busy),
            gr.Button(visible=busy),
            text,
            gr.skip() if busy and ticking else evaluate_views.newest(say, page.store, run_id),
            *rating_panel.offered(page, run_id),
            gr.Timer(active=busy),
        )

    def reported(say: Words, draft: Draft, run_id: str) -> Any:
        file = page.jobs.files(run_id).folder / "report.html"
        write_text(file, run_report.as_html(say, page.jobs, run_id))
        return gr.DownloadButton(value=page.offer(file, f"report-{run_id}.html"))

    page.on_enter("evaluate", enter, whole, inputs=[task], error=error)
    page.on(run.input, picked, [run, task], [page.draft, *watched], error=error)
    page.on(start.click, begun, [run, rows, tokens], watched, error=error)
    page.on(timer.tick, ticked, [run, task], watched, error=error)
    page.on(cancel.click, ended, [run, task], watched, error=error)
    saved = page.on(save.click, reported, [run], [download], error=error)
    saved.then(None, download, None, js=SAVE, api_visibility="private", show_progress="hidden")


def asked(run_id: str, rows: float, tokens: float) -> Asked:
    return Asked(run_id, rows=int(rows), tokens=int(tokens))


def told_of(say: Words, found: TaskStatus) -> str:
    """How far the evaluation is, or how it ended."""
    if found.error is not None:
        return views.error(say, found.error)
    if found.state == "stopped":
        return task_views.note(say("evaluate.stopped"))
    if found.state == "finished":
        return task_views.note(say("evaluate.done"))
    return task_views.part(say, found, f"evaluate.{found.phase}")
