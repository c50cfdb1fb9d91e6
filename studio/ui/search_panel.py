"""A search over settings beside the form: values of up to three settings, what that takes, and how the runs did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.domain.errors import StudioError
from studio.domain.run import ALIVE
from studio.services import sweeps
from studio.services.sweeps import MOST_SETTINGS, searchable
from studio.ui import form, search_views, views
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page

if TYPE_CHECKING:
    from studio.services.sweeps import Sweep

EVERY = 2.0
BEGIN_WITH = (("train.learning_rate", "3e-4, 1e-3, 3e-3"), ("train.rank", "8, 32"), ("train.epochs", ""))
"""What the fields hold at first: rate and rank around what is usual for an adapter."""


def build(page: Page, error: gr.HTML) -> gr.HTML:
    """The panel. Returned is the list of runs, whose clicks the form answers: `do` is `use` or `open` a `run`."""
    settings = [(t(f"setting.{setting.key}.label"), setting.key) for setting in searchable()]
    with gr.Column(elem_classes="group", elem_id="search"):
        gr.HTML(t("search.title"), elem_classes="section-title")
        gr.HTML(t("search.about"), elem_classes="muted")
        keys, values = [], []
        for number, (key, text) in enumerate(BEGIN_WITH[:MOST_SETTINGS], start=1):
            with gr.Row(elem_classes="controls search-axis"):
                keys.append(
                    gr.Dropdown(
                        settings, value=key, label=t("search.setting"), elem_id=f"search-setting-{number}"
                    )
                )
                values.append(
                    gr.Textbox(text, label=t("search.values"), max_lines=1, elem_id=f"search-values-{number}")
                )
        cost = gr.HTML(elem_id="search-cost")
        with gr.Row(elem_classes="actions"):
            look = gr.Button(t("search.look"), elem_id="search-look")
            start = gr.Button(t("search.start"), variant="primary", elem_id="search-start")
        chosen = gr.Dropdown([], label=t("search.chosen"), visible=False, elem_id="search-chosen")
        board = gr.HTML(elem_id="search-board", js_on_load=views.CLICKS)
        cancel = gr.Button(t("search.cancel"), variant="stop", visible=False, elem_id="search-cancel")
        timer = gr.Timer(EVERY, active=False)
    asked, shown = [*keys, *values], [chosen, board, cancel, timer]

    def looked(say: Words, draft: Draft, *held: Any) -> str:
        return search_views.cost(say, sweeps.cost(page.store, draft.config(page.store), axes(*held)))

    def started(say: Words, draft: Draft, *held: Any) -> tuple[Any, ...]:
        page.chat.close_if_idle()  # the runs need the memory more than a model that nobody is talking to
        sweep = sweeps.start(page.jobs, draft.config(page.store), axes(*held))
        return ("", *showing(say, sweep))

    def followed(say: Words, draft: Draft, sweep_id: str | None) -> tuple[Any, ...]:
        return showing(say, found(sweep_id))

    def cancelled(say: Words, draft: Draft, sweep_id: str | None) -> tuple[Any, ...]:
        sweep = found(sweep_id)
        if sweep is not None:
            sweeps.cancel(page.jobs, sweep)
        return showing(say, sweep)

    def found(sweep_id: str | None) -> Sweep | None:
        """The one that is looked at; the newest at first."""
        known = sweeps.all_of(page.store)
        return next((sweep for sweep in known if sweep.id == sweep_id), known[0] if known else None)

    def showing(say: Words, sweep: Sweep | None) -> tuple[Any, ...]:
        """In the order of `shown`."""
        if sweep is None:
            return (gr.Dropdown(visible=False), "", gr.Button(visible=False), gr.Timer(active=False))
        places = sweeps.leaderboard(page.jobs, sweep)
        alive = any(place.run is not None and place.run.state in ALIVE for place in places)
        known = [
            (f"{one.name} · {one.created[:16].replace('T', ' ')}", one.id)
            for one in sweeps.all_of(page.store)
        ]
        return (
            gr.Dropdown(known, value=sweep.id, visible=len(known) > 1),
            search_views.leaderboard(say, sweep, places),
            gr.Button(visible=alive),
            gr.Timer(active=alive),
        )

    page.on_enter("hyperparameters", followed, shown, inputs=[chosen], error=error)
    page.on(look.click, looked, asked, [cost], error=error)
    page.on(start.click, started, asked, [cost, *shown], error=error)
    page.on([chosen.input, timer.tick], followed, [chosen], shown, error=error)
    page.on(cancel.click, cancelled, [chosen], shown, error=error)
    return board


def axes(*held: Any) -> dict[str, list[Any]]:
    """Values by setting, from the chosen settings and then what was typed for each; one without values is left out."""
    known = {setting.key: setting for setting in searchable()}
    found: dict[str, list[Any]] = {}
    for key, text in zip(held[:MOST_SETTINGS], held[MOST_SETTINGS:], strict=True):
        parts = [part.strip() for part in (text or "").split(",") if part.strip()]
        if not parts:
            continue
        if key in found:
            raise StudioError("A search names {key} twice.", "Put all of its values into one field.", key=key)
        found[key] = [form.typed(known[key], part) for part in parts]
    return found
