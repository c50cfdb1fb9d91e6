"""Training: what will run, and the run as it goes: loss, progress, result; found again after a reload or a restart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.domain.errors import StudioError
from studio.domain.run import ALIVE, RESUMABLE, Run
from studio.services import apart
from studio.services.remedies import remedy, troubles
from studio.services.run_names import named
from studio.ui import plots, run_views, sample_views, views
from studio.ui.i18n import Words, t
from studio.ui.live import LIVE
from studio.ui.page import Draft, Page
from studio.ui.plots import View

if TYPE_CHECKING:
    from studio.domain.config import RunConfig
    from studio.services.jobs import Jobs
    from studio.services.plan import Plan
    from studio.services.progress import Progress
    from studio.services.run_files import RunFiles
    from studio.services.store import Store

EVERY = 0.8
"""Seconds from look to look at a run that is alive."""
_LOG_BYTES = 6_000
# A hidden tab, or one of a window in the background, is not drawn.
LOOKED = """(draft, before, _, ...rest) => [draft, before, {
  tab: Boolean(document.querySelector('#tab-%s')?.offsetParent), window: !document.hidden}, ...rest]"""


@dataclass(frozen=True)
class New:
    """What the draft would start, or why it cannot be started; neither while that is worked out."""

    data: str = ""
    plan: Plan | None = None
    problem: StudioError | None = None


def build(page: Page) -> None:
    with page.tab("training"):
        error = page.error_box()
        empty = gr.HTML(elem_id="training-empty", visible=False)
        with gr.Column(elem_classes="surface", elem_id="run", visible=False) as card:
            status = gr.HTML(elem_id="run-status", js_on_load=LIVE, min_height=180)
            with gr.Row(elem_classes="actions", visible=False) as actions:
                stop = gr.Button(t("training.stop"), variant="stop", elem_id="stop", visible=False)
                resume = gr.Button(t("training.resume"), variant="primary", elem_id="resume", visible=False)
                hint = gr.HTML(elem_classes="muted small")
        with gr.Column(elem_classes="surface", elem_id="loss", visible=False) as curves:
            smoothing, log = view_controls()
            plot = gr.HTML(elem_id="loss-plot", js_on_load=LIVE, min_height=340)
        samples = gr.HTML(elem_id="run-samples", js_on_load=LIVE)
        notes = gr.HTML(elem_id="run-notes", js_on_load=LIVE)
        with gr.Column(elem_classes=["surface", "new-run"], elem_id="new-run", visible=False) as new:
            summary = gr.HTML(elem_id="new-run-summary", min_height=64)
            with gr.Row(elem_classes="actions"):
                start = gr.Button(t("training.start"), variant="primary", elem_id="start")
        following = page.next_button("chat")
        timer = gr.Timer(EVERY, active=False)
        before = gr.State({})
        looked = gr.JSON(visible=False)
    parts: dict[str, Any] = {
        "empty": empty,
        "card": card,
        "status": status,
        "actions": actions,
        "stop": stop,
        "resume": resume,
        "hint": hint,
        "curves": curves,
        "plot": plot,
        "samples": samples,
        "notes": notes,
        "new": new,
        "summary": summary,
        "start": start,
        "following": following,
        "timer": timer,
    }
    outputs = [page.draft, before, *parts.values()]
    looked_at = LOOKED % "training"

    def answer(draft: Any, last: Mapping[str, Any], now: Mapping[str, Mapping[str, Any]]) -> tuple[Any, ...]:
        """Updates for what differs from what stands there; what `now` does not name stays."""
        changed = {
            name: gr.update(**now[name]) if now.get(name, last.get(name)) != last.get(name) else gr.skip()
            for name in parts
        }
        return (draft, {**last, **now}, *changed.values())

    def whole(
        say: Words, draft: Draft, last: Mapping[str, Any], view: View, new_run: str = ""
    ) -> Iterator[tuple[Any, ...]]:
        """All of the tab: the run at once, and what could be started when it is worked out."""
        run = page.jobs.get(new_run) if new_run else chosen(page.jobs, draft)
        run_id = run.id if run else ""
        # A draft that stays as it was is not given back: meanwhile another tab may have changed it.
        kept = gr.skip() if run_id == draft.run else replace(draft, run=run_id)
        now = {**running(say, page.jobs, run, view), "wanted": wanted(draft)}
        if run is None and draft.dataset:
            now = {**now, **startable(say, run, New())}
        yield answer(kept, last, now)
        # Said again as a whole: of two answers in quick succession the page may show the last one only.
        yield answer(kept, last, {**now, **startable(say, run, next_run(page, draft, run))})

    def enter(say: Words, draft: Draft, last: dict[str, Any], *view: Any) -> Iterator[tuple[Any, ...]]:
        yield from whole(say, draft, last, View(*view))

    def redone(
        say: Words, draft: Draft, last: dict[str, Any], looked: dict[str, bool], *view: Any
    ) -> Iterator[tuple[Any, ...]]:
        """Without the draft: given back by its own `change`, it would change again, for ever."""
        if looked["tab"] and wanted(draft) != last.get("wanted"):
            yield from (answered[1:] for answered in whole(say, draft, last, View(*view)))
        else:
            yield answer(None, last, {})[1:]  # a stream without an answer would empty all that it fills

    def tick(
        say: Words, draft: Draft, last: dict[str, Any], looked: dict[str, bool], *view: Any
    ) -> tuple[Any, ...]:
        if not looked["tab"]:
            return answer(gr.skip(), last, {"timer": {"active": False}})
        if not looked["window"]:
            return answer(gr.skip(), last, {})
        run = chosen(page.jobs, draft)
        now = running(say, page.jobs, run, View(*view))
        if run is None or run.state not in ALIVE:  # its last tick
            now = {**now, **startable(say, run, next_run(page, draft, run))}
        return answer(gr.skip(), last, now)

    def started(say: Words, draft: Draft, last: dict[str, Any], *view: Any) -> Iterator[tuple[Any, ...]]:
        yield from whole(say, draft, last, View(*view), page.start(draft).run)

    def stopped(say: Words, draft: Draft, last: dict[str, Any], *view: Any) -> Iterator[tuple[Any, ...]]:
        page.jobs.stop(draft.run)
        yield from whole(say, draft, last, View(*view))

    def resumed(say: Words, draft: Draft, last: dict[str, Any], *view: Any) -> Iterator[tuple[Any, ...]]:
        page.resume(draft.run)
        yield from whole(say, draft, last, View(*view))

    def again(
        say: Words, draft: Draft, trouble: str, last: dict[str, Any], view: View
    ) -> Iterator[tuple[Any, ...]]:
        """The run that is shown, anew with what helps against its trouble; it is stopped where it still works."""
        run = page.jobs.get(draft.run)
        changes = remedies_of(page.jobs, run, page.jobs.progress(run.id)).get(trouble)
        if not changes:  # no longer so, or clicked on a page that is out of date
            yield answer(gr.skip(), last, {})
            return
        config = page.jobs.files(run.id).given_config().with_values(changes)
        if run.state in ALIVE:
            page.jobs.stop(run.id)
        for key, value in changes.items():
            draft = draft.with_value(key, value)
        yield from whole(say, draft, last, view, page.submit(config))

    def acted(
        say: Words, draft: Draft, event: gr.EventData, last: dict[str, Any], *view: Any
    ) -> Iterator[tuple[Any, ...]]:
        if event._data.get("again"):
            yield from again(say, draft, str(event._data["again"]), last, View(*view))
            return
        run = page.jobs.get(str(event._data.get("run")))
        yield answer(replace(draft, run=run.id), last, running(say, page.jobs, run, View(*view)))

    def viewed(say: Words, draft: Draft, last: dict[str, Any], *view: Any) -> tuple[Any, ...]:
        run = chosen(page.jobs, draft)
        return answer(gr.skip(), last, curves_of(say, page.jobs, run, View(*view)) if run else {})

    view = [smoothing, log]
    page.on_enter("training", enter, outputs, inputs=[before, *view], error=error)
    # What was typed in another tab may be answered only after this one came up.
    page.on(
        page.draft.change,
        redone,
        [before, looked, *view],
        outputs[1:],
        error=error,
        shared=True,
        js=looked_at,
    )
    page.on(timer.tick, tick, [before, looked, *view], outputs, error=error, js=looked_at)
    page.on(start.click, started, [before, *view], outputs, error=error)
    page.on(stop.click, stopped, [before, *view], outputs, error=error)
    page.on(resume.click, resumed, [before, *view], outputs, error=error)
    page.on([status.click, notes.click], acted, [before, *view], outputs, error=error, event=True)
    page.on([smoothing.input, log.input], viewed, [before, *view], outputs, error=error, latest=True)


def view_controls() -> tuple[gr.Slider, gr.Checkbox]:
    """How curves are looked at: the fields of `View`, in their order."""
    with gr.Row(elem_classes="plot-controls"):
        smoothing = gr.Slider(
            0,
            30,
            plots.USUAL.smoothing,
            step=1,
            label=t("plot.smoothing"),
            buttons=[],
            elem_classes="smoothing",
        )
        log = gr.Checkbox(plots.USUAL.log, label=t("plot.log"), elem_classes="log-scale")
    return smoothing, log


def wanted(draft: Draft) -> dict[str, Any]:
    """As much of a draft as says what could be started."""
    said = {"dataset": draft.dataset, "values": dict(draft.values), "held_out": draft.held_out}
    return {**said, "general": draft.general, "share": draft.general_share}


def chosen(jobs: Jobs, draft: Draft) -> Run | None:
    """The run to show: the draft's; else one that is at work, else the newest."""
    if draft.run:
        try:
            return jobs.get(draft.run)
        except StudioError:  # deleted since
            pass
    runs = jobs.list()
    return next((run for run in runs if run.state in ALIVE), runs[0] if runs else None)


def running(say: Words, jobs: Jobs, run: Run | None, view: View = plots.USUAL) -> dict[str, dict[str, Any]]:
    """What each part of the tab shows of the run."""
    if run is None:
        shown = {name: {"visible": False} for name in ("card", "curves", "following")}
        return {**shown, "samples": {"value": ""}, "notes": {"value": ""}, "timer": {"active": False}}
    run, progress = named(jobs, run), jobs.progress(run.id)
    alive, resumable = run.state in ALIVE, run.state in RESUMABLE
    log = log_end(jobs.files(run.id).worker_log) if run.state in ("failed", "interrupted") else []
    queued = run.state == "queued"
    goes_on = "training.resume.hint" if progress.saved else "training.resume.begins"
    hint = ("training.cancel.hint" if queued else "training.stop.hint") if alive else goes_on
    better = remedies_of(jobs, run, progress)
    others = [] if alive else [other for other in jobs.list() if other.state in ALIVE]
    return {
        "empty": {"visible": False},
        "card": {"visible": True},
        "status": {"value": run_views.also(say, others) + run_views.status(say, run, progress, better)},
        "actions": {"visible": alive or resumable},
        "stop": {
            "visible": alive,
            "interactive": run.state != "stopping",
            "value": say("training.cancel" if queued else "training.stop"),
        },
        "resume": {"visible": resumable},
        "hint": {"value": say(hint)},
        "curves": {"visible": True},
        **curves_of(say, jobs, run, view),
        "samples": {"value": sample_views.of_run(say, jobs.store, run.id, progress.samples)},
        "notes": {"value": run_views.notes(say, progress, log, better)},
        "following": {"visible": run.state == "finished"},
        "timer": {"active": alive},
    }


def remedies_of(jobs: Jobs, run: Run, progress: Progress) -> dict[str, dict[str, Any]]:
    """By trouble, the settings that a new run would have instead."""
    try:
        config = jobs.config(run.id)
    except StudioError:  # a damaged folder: there is nothing to start again
        return {}
    return {trouble: remedy(trouble, progress, config) for trouble in troubles(progress)}


def curves_of(say: Words, jobs: Jobs, run: Run, view: View) -> dict[str, dict[str, Any]]:
    return {"plot": {"value": plots.run_charts(say, jobs.progress(run.id), view)}}


def next_run(page: Page, draft: Draft, run: Run | None) -> New | None:
    """What the draft would start; None where it describes the run that is shown, or nothing is chosen."""
    from studio.services.plan import plan

    if not draft.dataset:
        return None
    try:
        config = draft.config(page.store, source="")
        if run is not None and apart.work(config, is_same, page.store, config, page.jobs.files(run.id)):
            return None
        return New(
            data=page.store.dataset(draft.dataset).name, plan=apart.work(config, plan, page.store, config)
        )
    except StudioError as problem:
        return New(problem=problem)


def startable(say: Words, run: Run | None, new: New | None) -> dict[str, dict[str, Any]]:
    """What the tab shows of the run that could be started."""
    if new is None:
        nothing = run is None
        text = views.empty(say("training.empty"), say("training.empty.next")) if nothing else ""
        return {"empty": {"value": text, "visible": nothing}, "new": {"visible": False}}
    alive = run is not None and run.state in ALIVE
    title = f'<p class="section-title">{say("training.next" if run else "training.ready")}</p>'
    text = views.error(say, new.problem) if new.problem else run_views.planned(say, new.plan, new.data, alive)
    return {
        "empty": {"visible": False},
        "new": {"visible": True, "elem_classes": ["surface", "new-run", "" if alive else "first"]},
        "summary": {"value": title + text},
        "start": {"visible": new.problem is None, "variant": "secondary" if alive else "primary"},
    }


def is_same(store: Store, config: RunConfig, run: RunFiles) -> bool:
    """Whether the run was started with this configuration, and its files still hold the rows that it was given."""
    from studio.services.plan import load_data

    if config != run.given_config():
        return False
    data = load_data(store, config)
    # A repair writes the file anew under the same name.
    return run.is_of(config, data.train, data.held_out)


def log_end(path: Path) -> list[str]:
    """The last lines of a worker's raw output."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
    return lines[-60:]
