"""The part of the blind desk where a judge model is asked: what it would cost first, then the judgement itself."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from studio.domain.errors import StudioError
from studio.services import judging, ratings
from studio.services.judging import Endpoint, Judging
from studio.services.ratings import JUDGE, Desk
from studio.services.store import Store
from studio.ui import live, rating_views, views
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page

EVERY = 1.0
USUAL = "http://127.0.0.1:8000/v1"


@dataclass(frozen=True)
class Looked:
    """What is looked at: the desk that is open, or whose results are, and those that may be ended or deleted next."""

    run: str = ""
    opened: str = ""
    results: str = ""
    ending: str = ""
    deleting: str = ""

    @property
    def shown(self) -> str:
        return self.opened or self.results


def build(page: Page, looked: gr.State, listed: gr.HTML, error: gr.HTML) -> None:
    """The panel, for the desk that is looked at or else the newest; `listed` shows all of them."""
    work = Judging()
    with gr.Accordion(t("judge.title"), open=False, elem_id="judge"):
        gr.HTML(t("judge.about"), elem_classes="muted")
        with gr.Row():
            url = gr.Textbox(USUAL, label=t("judge.url"), info=t("judge.url.info"), elem_id="judge-url")
            model = gr.Textbox(label=t("judge.model"), info=t("judge.model.info"), elem_id="judge-model")
            key = gr.Textbox(
                label=t("judge.key"), info=t("judge.key.info"), type="password", elem_id="judge-key"
            )
        with gr.Row():
            read = gr.Number(label=t("judge.price.read"), info=t("judge.price.info"), minimum=0)
            written = gr.Number(label=t("judge.price.written"), info=t("judge.price.info"), minimum=0)
        with gr.Row(elem_classes="actions"):
            count = gr.Button(t("judge.cost"), elem_id="judge-cost")
            send = gr.Button(t("judge.send"), variant="primary", visible=False, elem_id="judge-send")
            stop = gr.Button(t("self_written.cancel"), visible=False, elem_id="judge-stop")
        told = gr.HTML(elem_id="judge-progress")
        result = gr.HTML(elem_id="judge-result")
    timer = gr.Timer(EVERY, active=False)
    form = [url, model, key, read, written]
    shown_for = gr.State(("", "", ""))  # desk, address and model whose cost was shown
    watched = [count, send, stop, told, result, listed, timer]

    def counted(say: Words, draft: Draft, last: Looked, *given: Any) -> tuple[Any, ...]:
        endpoint, prices = _asked(*given)
        desk = _desk(page, last)
        if desk is None:
            raise _nothing_yet()
        found = judging.cost(page.store, desk, endpoint, prices)
        price = f" {say('judge.price', price=f'{found.price:.4g}')}" if found.price is not None else ""
        text = say(
            "judge.would",
            pairs=views.count(found.pairs),
            requests=views.count(found.requests),
            read=views.count(found.read),
            written=views.count(found.written),
            url=endpoint.url,
        )
        seen = (desk.id, endpoint.url, endpoint.model)
        return (gr.Button(visible=found.pairs > 0), _note(text + price), _known(say, page.store, desk), seen)

    def sent(
        say: Words, draft: Draft, last: Looked, seen: tuple[str, str, str], *given: Any
    ) -> tuple[Any, ...]:
        endpoint, _ = _asked(*given)
        desk = _desk(page, last)
        if desk is None or seen != (desk.id, endpoint.url, endpoint.model):
            raise StudioError(
                "The address, the model or the comparison changed since the cost was shown.",
                "Look at what it would cost now.",
            )
        work.start(desk, endpoint)
        return watching(say, last)

    def ticked(say: Words, draft: Draft, last: Looked) -> tuple[Any, ...]:
        return watching(say, last)

    def stopped(say: Words, draft: Draft, last: Looked) -> tuple[Any, ...]:
        work.stop()
        return watching(say, last)

    def watching(say: Words, last: Looked) -> tuple[Any, ...]:
        """In the order of `watched`."""
        busy = work.busy
        desks = ratings.desks(page.store, last.run) if last.run else []
        return (
            gr.Button(visible=not busy),
            gr.Button(visible=False),
            gr.Button(visible=busy),
            _told(say, work),
            _known(say, page.store, _desk(page, last)),
            rating_views.listed(say, desks, last.shown, last.ending, last.deleting),
            gr.Timer(active=busy),
        )

    page.on(count.click, counted, [looked, *form], [send, told, result, shown_for], error=error)
    page.on(send.click, sent, [looked, shown_for, *form], watched, error=error)
    page.on(timer.tick, ticked, [looked], watched, error=error)
    page.on(stop.click, stopped, [looked], watched, error=error)


def _asked(
    url: str, model: str, key: str, read: float | None, written: float | None
) -> tuple[Endpoint, tuple[float, float] | None]:
    prices = (read or 0.0, written or 0.0) if read or written else None
    return Endpoint(url.strip(), model or "", key.strip()), prices


def _desk(page: Page, last: Looked) -> Desk | None:
    """The one that is looked at, or else (also where that was deleted) the newest; None where there is none."""
    desks = ratings.desks(page.store, last.run) if last.run else []
    return next((desk for desk in desks if desk.id == last.shown), next(iter(desks), None))


def _nothing_yet() -> StudioError:
    return StudioError(
        "There are no answers to be judged yet.",
        "Compare the evaluation's answers, or answers to your own prompts, first.",
    )


def _known(say: Words, store: Store, desk: Desk | None) -> str:
    """What judges said, once the desk is ended: before, it would tell raters which model wins."""
    if desk is None or not any(name.startswith(JUDGE) for name in ratings.done(desk)):
        return ""
    if ratings.is_blind(store, desk.run):
        return _note(say("judge.held_back"))
    return "".join(rating_views.judge(say, name, found) for name, found in ratings.judges(desk).items())


def _told(say: Words, work: Judging) -> str:
    if work.busy:
        share = work.done / work.total if work.total else 0.0
        if work.stopped:
            told = say("judge.stopping")
        else:
            told = say("judge.done", done=work.done, total=work.total)
            if left := work.seconds_left:
                told += f" {say('background.left', time=views.about(say, left))}"
        return live.bar(say, share) + _note(told)
    if work.error is not None:
        return views.error(say, work.error)
    if work.result is None:
        return ""
    found = work.result
    took = say(
        "judge.stopped" if work.stopped else "judge.took",
        read=views.count(found.read),
        written=views.count(found.written),
    )
    unclear = f" {say('judge.unclear', count=found.unclear)}" if found.unclear else ""
    return _note(took + unclear)


def _note(text: str) -> str:
    return f'<p class="note" role="status">{escape(text)}</p>'
