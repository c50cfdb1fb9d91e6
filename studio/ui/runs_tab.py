"""Runs: every run there is with its true state, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from studio.domain.errors import StudioError
from studio.domain.run import ALIVE, Run
from studio.services import comparison, history
from studio.services.run_names import named
from studio.ui import comparison_views, import_panel, modes, others_panel, plots, room_panel, run_views, views
from studio.ui.i18n import Words
from studio.ui.live import LIVE
from studio.ui.page import Draft, Page
from studio.ui.run_views import Listed, Look
from studio.ui.training_tab import LOOKED, log_end

EVERY = 2.0
MOST_COMPARED = 6


def build(page: Page) -> None:
    with page.tab("runs"):
        error = page.error_box()
        with gr.Column(elem_classes="surface", elem_id="runs-compared", visible=False) as compared:
            plot = gr.HTML(elem_id="compared-plot", js_on_load=LIVE)
        table = gr.HTML(elem_id="runs", js_on_load=LIVE, min_height=120)
        others_panel.build(page, error)
        imported = import_panel.build(page, error)
        room_panel.build(page, error)
        timer = gr.Timer(EVERY, active=False)
        before = gr.State({})
        look = gr.State(Look())
        looked = gr.JSON(visible=False)
    parts = {"table": table, "compared": compared, "plot": plot, "timer": timer}
    outputs = [look, before, *parts.values()]

    def answer(say: Words, at: Look, last: Mapping[str, Any]) -> tuple[Any, ...]:
        """Updates for what differs from what stands there."""
        now = shown(say, page, at)
        changed = [gr.update(**now[name]) if now[name] != last.get(name) else gr.skip() for name in parts]
        return (at, now, *changed)

    def enter(say: Words, draft: Draft, at: Look, last: dict[str, Any]) -> tuple[Any, ...]:
        return answer(say, replace(at, deleting=""), last)

    def tick(
        say: Words, draft: Draft, last: dict[str, Any], looked: dict[str, bool], at: Look
    ) -> tuple[Any, ...]:
        if not looked["tab"]:
            return (at, {**last, "timer": {"active": False}}, *[gr.skip()] * 3, gr.Timer(active=False))
        if not looked["window"]:
            return (at, last, *[gr.skip()] * 4)
        return answer(say, at, last)

    def done(
        say: Words, draft: Draft, event: gr.EventData, at: Look, last: dict[str, Any]
    ) -> tuple[Any, ...]:
        run = found(page, str(event._data.get("run")))
        what = event._data.get("do")
        if what == "open":
            return (replace(draft, run=run.id), page.show("training"), at, last, *[gr.skip()] * len(parts))
        if what == "continue":
            draft = modes.continuing(draft, run.id, page.jobs.config(run.id))
            return (draft, page.show("data"), at, last, *[gr.skip()] * len(parts))
        if what == "stop":
            page.jobs.stop(run.id)
        elif what == "resume":
            page.resume(run.id)
        elif what in ("earlier", "later") and run.place:
            page.jobs.move(run.id, run.place + (1 if what == "later" else -1))
        elif what == "delete-yes" and at.deleting == run.id:
            page.jobs.delete(run.id)
            draft = replace(draft, run="" if draft.run == run.id else draft.run)
        return (draft, gr.skip(), *answer(say, moved(at, run, str(what)), last))

    def ordered(
        say: Words, draft: Draft, event: gr.EventData, at: Look, last: dict[str, Any]
    ) -> tuple[Any, ...]:
        by = str(event._data.get("by"))
        return answer(say, replace(at, by=by) if by in comparison.FIGURES else at, last)

    page.on_enter("runs", enter, outputs, inputs=[look, before], error=error)
    page.on(imported.change, enter, [look, before], outputs, error=error)
    page.on(
        timer.tick,
        tick,
        [before, looked, look],
        outputs,
        error=error,
        js=LOOKED % "runs",
    )
    page.on(table.click, done, [look, before], [page.draft, page.tabs, *outputs], error=error, event=True)
    page.on(plot.click, ordered, [look, before], outputs, error=error, event=True)


def found(page: Page, run_id: str) -> Run:
    """A run of the list, which may be one whose folder is damaged."""
    for run in page.jobs.list():
        if run.id == run_id:
            return run
    raise StudioError("There is no run {run}.", "Choose one from the list.", run=run_id)


def moved(at: Look, run: Run, what: str) -> Look:
    """What is unfolded after a click."""
    if what == "details":
        return replace(at, opened="" if at.opened == run.id else run.id)
    if what == "compare" and run.id in at.compared:
        return replace(at, compared=tuple(other for other in at.compared if other != run.id))
    if what == "compare":
        return replace(at, compared=(*at.compared, run.id)[-MOST_COMPARED:])
    if what == "delete":
        return replace(at, deleting=run.id)
    if what.startswith("delete"):
        kept = tuple(other for other in at.compared if what == "delete-no" or other != run.id)
        return replace(at, deleting="", compared=kept)
    return at


def shown(say: Words, page: Page, at: Look) -> dict[str, dict[str, Any]]:
    """What each part of the tab shows."""
    runs = page.jobs.list()
    listed = [listed_run(page, run, at) for run in runs]
    if not runs:
        text = views.empty(say("runs.empty"), say("runs.empty.next"))
    else:
        text = f'<div class="panel runs-panel">{run_views.table(say, listed, at)}</div>'
    chosen = [run for run in at.compared if any(one.run.id == run for one in listed)]
    return {
        "table": {"value": text},
        "compared": {"visible": bool(chosen)},
        "plot": {"value": side_by_side(say, page, chosen, at.by)},
        "timer": {"active": any(run.state in ALIVE for run in runs)},
    }


def side_by_side(say: Words, page: Page, chosen: Sequence[str], by: str) -> str:
    """The runs that are compared: their figures, their curves, and what is set otherwise."""
    if len(chosen) < 2:
        return plots.waiting(say("runs.compare.hint"))
    try:
        found = comparison.candidates(page.jobs, chosen)
    except StudioError as damaged:  # a folder that cannot be read
        return views.error(say, damaged)
    curves = plots.compared(say, [(run_views.title(one.run), one.progress) for one in found])
    return comparison_views.table(say, found, by) + curves + comparison_views.settings(say, found)


def listed_run(page: Page, run: Run, at: Look) -> Listed:
    """A run with as much of it as is looked at."""
    run = named(page.jobs, run)
    progress = page.jobs.progress(run.id)
    size = folder_size(page.jobs.files(run.id).folder) if run.id == at.deleting else 0
    if run.id != at.opened:
        return Listed(run, progress, size=size)
    try:
        config = page.jobs.config(run.id)
    except StudioError:  # its folder is damaged; the run says so
        config = None
    files = page.jobs.files(run.id)
    return Listed(run, progress, config, log_end(files.worker_log), size, history.of_run(files.history()))


def folder_size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
