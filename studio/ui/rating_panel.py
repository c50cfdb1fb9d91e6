"""The part of the Evaluation tab where people judge: what is to be compared, the blind desk itself, what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.domain.errors import StudioError
from studio.engine.assets import ASSETS
from studio.services import evaluations, ratings, tasks
from studio.services.files import write_text
from studio.services.ratings import Desk, Given
from studio.ui import evaluate_views, judge_panel, live, rating_views, task_views, views
from studio.ui.i18n import Words, language_of, t, words
from studio.ui.judge_panel import Looked
from studio.ui.page import Draft, Page

if TYPE_CHECKING:
    from studio.services.tasks import TaskStatus

EVERY = 1.0


def build(
    page: Page, run: gr.Dropdown, evaluated_rows: gr.HTML, error: gr.HTML
) -> tuple[gr.Column, list[Any]]:
    """The panel for the run that `run` holds, and what `offered` fills; who shows it decides when.

    `evaluated_rows` shows the run's evaluation, whose rows are withheld as long as they are rated.
    """
    with gr.Column(elem_classes="surface", elem_id="rating", visible=False) as panel:
        gr.HTML(t("rating.title"), elem_classes="section-title")
        gr.HTML(t("rating.about"), elem_classes="muted")
        with gr.Row(elem_classes="actions"):
            from_evaluation = gr.Button(
                t("rating.from_evaluation"), elem_id="rating-from-evaluation", interactive=False
            )
            none_yet = gr.HTML(t("rating.evaluate_first"), elem_classes="muted", elem_id="rating-none-yet")
        with gr.Accordion(t("rating.own"), open=False, elem_id="rating-own"):
            prompts = gr.Textbox(
                label=t("rating.prompts"), info=t("rating.prompts.info"), lines=4, elem_id="rating-prompts"
            )
            with gr.Row(elem_classes="actions"):
                from_prompts = gr.Button(t("rating.from_prompts"), elem_id="rating-from-prompts")
                cancel = gr.Button(t("self_written.cancel"), visible=False, elem_id="rating-cancel")
            told = gr.HTML(elem_id="rating-progress")
        listed = gr.HTML(elem_id="rating-desks", js_on_load=live.LIVE)
        desk = gr.HTML(
            html_template=rating_views.shell(),
            elem_id="rating-desk",
            js_on_load=(ASSETS / "rating_desk.js").read_text(encoding="utf-8"),
            apply_default_css=False,
            server_functions=[_turn_of(page)],
            state="",
        )
        result = gr.HTML(elem_id="rating-result", js_on_load=live.LIVE)
        task, looked = gr.State(""), gr.State(Looked())
        if page.local:
            judge_panel.build(page, looked, listed, error)
        download = gr.DownloadButton(visible="hidden")
        timer = gr.Timer(EVERY, active=False)
    watched = [task, from_prompts, cancel, told, timer]
    shown = [looked, listed, desk, result, evaluated_rows]

    def showing(say: Words, found: Looked) -> tuple[Any, ...]:
        """In the order of `shown`."""
        desks = ratings.desks(page.store, found.run) if found.run else []
        ended = next((one for one in desks if one.id == found.results), None)
        told = rating_views.results(say, ended) if ended and all(one.closed for one in desks) else ""
        at = {"run": found.run, "desk": found.opened, "failed": views.error_text(say, say("template.failed"))}
        return (
            found,
            rating_views.listed(say, desks, found.shown, found.ending, found.deleting),
            gr.HTML(state=json.dumps(at) if found.opened else ""),
            told,
            evaluate_views.newest(say, page.store, found.run),
        )

    def picked(say: Words, draft: Draft, run_id: str | None, name: str, last: Looked) -> tuple[Any, ...]:
        found = last if last.run == run_id else Looked(run_id or "")
        return (*showing(say, found), *watching(say, name))

    def evaluated(say: Words, draft: Draft, run_id: str) -> tuple[Any, ...]:
        made = ratings.from_evaluation(page.store, run_id)
        return showing(say, Looked(run_id, opened=made.id))

    def asked(say: Words, draft: Draft, run_id: str, texts: str) -> tuple[Any, ...]:
        page.chat.close_if_idle()
        return watching(say, ratings.start(page.store, run_id, texts.splitlines()))

    def ticked(say: Words, draft: Draft, name: str, last: Looked) -> tuple[Any, ...]:
        found = tasks.known(page.store, name)
        ended = found is not None and found.state == "finished" and found.result is not None
        if ended and found.result["run"] == last.run:  # type: ignore[union-attr, index]
            last = Looked(last.run, opened=found.result["desk"])  # type: ignore[union-attr, index]
            return (*showing(say, last), *watching(say, name))
        return (*[gr.skip()] * len(shown), *watching(say, name))

    def cancelled(say: Words, draft: Draft, name: str) -> tuple[Any, ...]:
        if tasks.known(page.store, name):
            ratings.cancel(page.store, name)
        return watching(say, name)

    def watching(say: Words, name: str) -> tuple[Any, ...]:
        """In the order of `watched`."""
        found = tasks.known(page.store, name)
        busy = found is not None and found.state == "running"
        buttons = gr.Button(visible=not busy), gr.Button(visible=busy)
        return (name if busy else "", *buttons, told_of(say, found) if found else "", gr.Timer(active=busy))

    def acted(say: Words, draft: Draft, event: gr.EventData, last: Looked) -> tuple[Any, ...]:
        data = event._data if isinstance(event._data, dict) else {}
        act, name = str(data.get("act")), str(data.get("desk"))
        one = ratings.desk_of(page.store, last.run, name)
        if act == "end" and last.ending == name:  # it was asked whether it really is to end
            ratings.close(one)
        if act == "delete" and last.deleting == name:
            ratings.delete(one)
            left = ("" if at == name else at for at in (last.opened, last.results))
            return (*showing(say, Looked(last.run, *left)), None)
        if act == "csv":
            ratings.refuse_while_blind(page.store, last.run)
            file = one.folder / "ratings.csv"
            write_text(file, ratings.as_csv(one))
            served = page.offer(file, f"ratings-{one.run}-{one.id}.csv")
            return (*showing(say, last), gr.DownloadButton(value=served))
        found = {
            "rate": Looked(last.run, opened=name),
            "ask": Looked(last.run, last.opened, last.results, ending=name),
            "discard": Looked(last.run, last.opened, last.results, deleting=name),
            "keep": Looked(last.run, last.opened, last.results),
            "end": Looked(last.run, results=name),
            "results": Looked(last.run, results=name),
        }.get(act, last)
        return (*showing(say, found), None)

    def rated(say: Words, draft: Draft, last: Looked) -> str:
        return rating_views.listed(
            say, ratings.desks(page.store, last.run), last.shown, last.ending, last.deleting
        )

    page.on_enter("evaluate", picked, [*shown, *watched], inputs=[run, task, looked], error=error)
    page.on(run.change, picked, [run, task, looked], [*shown, *watched], error=error)
    page.on(from_evaluation.click, evaluated, [run], shown, error=error)
    page.on(from_prompts.click, asked, [run, prompts], watched, error=error)
    page.on(timer.tick, ticked, [task, looked], [*shown, *watched], error=error)
    page.on(cancel.click, cancelled, [task], watched, error=error)
    done = page.on(listed.click, acted, [looked], [*shown, download], error=error, event=True)
    done.then(None, download, None, js=live.SAVE, api_visibility="private", show_progress="hidden")
    page.on(desk.change, rated, [looked], [listed], error=error, latest=True)
    return panel, [from_evaluation, none_yet]


def offered(page: Page, run_id: str) -> tuple[Any, ...]:
    """For the components that `build` returns: an evaluation's answers can be compared as soon as there are some."""
    known = evaluations.latest(page.store, run_id) is not None
    return gr.Button(interactive=known), gr.HTML(visible=not known)


def _turn_of(page: Page) -> Any:
    def turn(asked: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        """Keep what was said of a pair, if anything was, and show the next one: HTML, or what is wrong."""
        return _turn(page, words(language_of(request)), asked)

    return page.asked(turn)


def _turn(page: Page, say: Words, asked: Mapping[str, Any]) -> dict[str, Any]:
    """`rater` in the answer is the name as it is kept, once there is one; until then the form asks for it."""
    rater, place, vote = (asked.get(name) for name in ("rater", "place", "vote"))
    answer: dict[str, Any] = {"html": "", "problem": "", "rated": False, "rater": ""}
    given = rater if isinstance(rater, str) else ""
    if not given.strip():
        return {**answer, "html": rating_views.who(say, "")}
    try:
        name = ratings.rater_name(given)
    except StudioError as problem:
        return {**answer, "html": rating_views.who(say, given), "problem": views.error(say, problem)}
    try:
        desk = ratings.desk_of(page.store, str(asked.get("run")), str(asked.get("desk")))
        at = place if type(place) is int else None
        if vote is not None and at is not None:
            _rate(desk, name, at, asked)
            answer["rated"] = True
            # On to the next pair; from the last one back to those that were passed over.
            at = at + 1 if at < len(desk.asked) else None
        shown = ratings.look(desk, name, at)
        seen = ratings.token(desk, name, shown.place)
        return {**answer, "rater": name, "html": rating_views.pair(say, name, shown, seen)}
    except StudioError as problem:
        return {**answer, "rater": name, "problem": views.error(say, problem)}


def _rate(desk: Desk, rater: str, place: int, asked: Mapping[str, Any]) -> None:
    """StudioError where the vote is for another pair than stands at this rater's place."""
    if asked.get("token") != ratings.token(desk, rater, place):
        raise StudioError("This vote is not for the pair that is shown.", "Look at it again, then vote.")
    scores = asked.get("scores")
    ratings.rate(desk, rater, place, Given(asked["vote"], scores if isinstance(scores, dict) else {}))


def told_of(say: Words, found: TaskStatus) -> str:
    """How far the answers to one's own prompts are, or how that ended."""
    if found.error is not None:
        return views.error(say, found.error)
    if found.state == "stopped":
        return task_views.note(say("rating.stopped"))
    if found.state == "finished":
        return ""
    return task_views.part(say, found, f"evaluate.{found.phase}")
