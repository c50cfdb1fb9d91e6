"""The part of the Evaluation tab for public benchmarks: which tasks, how far they are, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from studio.domain.answer import SIDES
from studio.services import benchmarks, tasks
from studio.services.benchmarks import LIMIT, USUAL, Asked
from studio.ui import task_views, views
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page

EVERY = 2.0


def build(page: Page, run: gr.Dropdown, error: gr.HTML) -> gr.Column:
    """The panel for the run that `run` holds; who shows it decides when."""
    with gr.Column(elem_classes="surface", elem_id="benchmarks", visible=False) as panel:
        gr.HTML(t("benchmark.title"), elem_classes="section-title")
        gr.HTML(t("benchmark.about"), elem_classes="muted")
        with gr.Row():
            names = gr.Textbox(
                ", ".join(USUAL),
                label=t("benchmark.tasks"),
                info=t("benchmark.tasks.info"),
                elem_id="benchmark-tasks",
            )
            limit = gr.Number(
                LIMIT, label=t("benchmark.limit"), info=t("benchmark.limit.info"), precision=0, minimum=0
            )
        with gr.Row():
            chat = gr.Checkbox(True, label=t("benchmark.chat"), info=t("benchmark.chat.info"))
            # Code in such a folder is run: only who sits at this machine may name one.
            own = gr.Textbox(
                label=t("benchmark.own"),
                info=t("benchmark.own.info"),
                elem_id="benchmark-own",
                visible=page.local,
            )
        with gr.Row(elem_classes="actions"):
            start = gr.Button(t("benchmark.start"), elem_id="benchmark-start")
            cancel = gr.Button(t("self_written.cancel"), visible=False, elem_id="benchmark-cancel")
        told = gr.HTML(elem_id="benchmark-progress")
        shown = gr.HTML(elem_id="benchmark-result")
        timer = gr.Timer(EVERY, active=False)
        task = gr.State("")
    watched = [task, start, cancel, told, shown, timer]

    def begun(
        say: Words, draft: Draft, run_id: str, wanted: str, most: float | None, as_chat: bool, folder: str
    ) -> tuple[Any, ...]:
        named = folder.strip() if page.local and folder else ""
        include = str(Path(named).expanduser().resolve()) if named else None
        asked = Asked(run_id, (wanted or "").split(","), int(most or 0) or None, as_chat, include)
        page.chat.close_if_idle()
        return watching(say, draft, run_id, benchmarks.start(page.store, asked))

    def ticked(say: Words, draft: Draft, run_id: str | None, name: str) -> tuple[Any, ...]:
        return watching(say, draft, run_id, name, ticking=True)

    def watching(
        say: Words, draft: Draft, run_id: str | None, name: str, *, ticking: bool = False
    ) -> tuple[Any, ...]:
        """In the order of `watched`. `ticking`: looked at again only because time has passed."""
        at_work = tasks.running(page.store, "benchmark")
        found = tasks.known(page.store, name or (at_work.id if at_work else ""))
        busy = found is not None and found.state == "running"
        own = found is not None and found.request["run"] == run_id
        measured = benchmarks.results(page.store, run_id) if run_id else []
        return (
            found.id if found and busy else "",
            gr.Button(visible=not busy),
            gr.Button(visible=busy),
            _told(say, found) if found and own else task_views.note(say("benchmark.other")) if busy else "",
            gr.skip() if busy and ticking else figures(say, measured),
            gr.Timer(active=busy),
        )

    def cancelled(say: Words, draft: Draft, run_id: str, name: str) -> tuple[Any, ...]:
        if name:
            tasks.cancel(page.store, name)
        return watching(say, draft, run_id, name)

    page.on_enter("evaluate", watching, watched, inputs=[run, task], error=error)
    page.on(run.change, watching, [run, task], watched, error=error)
    page.on(start.click, begun, [run, names, limit, chat, own], watched, error=error)
    page.on(timer.tick, ticked, [run, task], watched, error=error)
    page.on(cancel.click, cancelled, [run, task], watched, error=error)
    return panel


def _told(say: Words, found: tasks.TaskStatus) -> str:
    if found.error is not None:
        return views.error(say, found.error)
    if found.state == "running":
        if found.phase == "loading":
            return task_views.part(say, found, "evaluate.loading")
        side = say("chat.base") if found.done < 1 else say("chat.tuned")
        return task_views.progress(say, found, say("benchmark.measuring", side=side))
    return task_views.note(say("rating.stopped")) if found.state == "stopped" else ""


def figures(say: Words, measured: Sequence[Mapping[str, Any]]) -> str:
    """All that was measured, the newest first: a line for each task and measure."""
    return "".join(_table(say, one) for one in measured)


def _table(say: Words, one: Mapping[str, Any]) -> str:
    lines = "".join(
        f"<tr><td>{escape(line['task'])}</td><td>{escape(line['measure'])}</td>"
        f'<td class="num">{line["questions"] or "–"}</td>'
        + "".join(f'<td class="num">{_value(line[side], line[f"{side}_error"])}</td>' for side in SIDES)
        + f'<td class="num">{line["tuned"] - line["base"]:+.3f}</td></tr>'.replace("-", "−")
        for line in one["figures"]
    )
    heads = [
        say("evaluate.task"),
        say("evaluate.measure"),
        say("benchmark.questions"),
        say("chat.base"),
        say("chat.tuned"),
        say("evaluate.change"),
    ]
    how = say("benchmark.asked_as_chat" if one["chat"] else "benchmark.asked_plainly")
    note = say("benchmark.note", version=one["harness"], how=how)
    return views.panel(
        str(one["created"])[:16].replace("T", " ") + " UTC",
        views.table(heads, lines) + f'<p class="muted small">{escape(note)}</p>',
    )


def _value(value: float, error: float | None) -> str:
    return f"{value:.3f}" + ("" if error is None else f" ± {error:.3f}")
