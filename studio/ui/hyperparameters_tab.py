"""Hyperparameters: the form that the configuration classes describe, and what it comes to."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.domain.config import RunConfig, Setting, value_of
from studio.domain.errors import StudioError
from studio.engine import models
from studio.services import sweeps
from studio.ui import dataset_choices, form, job_panel, plan_views, rate_panel, samples, search_panel, views
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page

if TYPE_CHECKING:
    from studio.engine.fit import Fitted
    from studio.services.store import Store

MODEL, RATE = "model.id", "train.learning_rate"


def build(page: Page) -> None:
    fields: list[Setting] = []
    widgets: list[gr.components.Component] = []
    groups: list[gr.Column] = []

    def place(settings: list[Setting]) -> None:
        for setting in settings:
            fields.append(setting)
            widgets.append(form.widget(setting))

    with page.tab("hyperparameters"):
        error = page.error_box()
        with gr.Row(elem_classes="split"):
            with gr.Column(scale=2, min_width=320):
                with gr.Column(elem_classes="surface"):
                    model = gr.Dropdown(
                        label=t("setting.model.id.label"),
                        info=t("setting.model.id.help"),
                        choices=["starter"],
                        value="starter",
                        allow_custom_value=True,
                        elem_id="model",
                    )
                    # Fields come up with their values in them: what is typed before that would be lost.
                    with gr.Column(elem_classes="fields", visible=False) as first:
                        place(form.first_settings())
                with gr.Accordion(t("form.advanced"), open=False, elem_classes="surface", elem_id="advanced"):
                    for group, settings in form.grouped_settings():
                        with gr.Column(elem_classes="group", visible=False) as column:
                            groups.append(column)
                            gr.HTML(t(f"form.group.{group}"), elem_classes="section-title")
                            with gr.Column(elem_classes="fields"):
                                place(settings)
                                if group == "measure":
                                    held_out = gr.Dropdown(
                                        label=t("form.held_out"),
                                        info=t("form.held_out.info"),
                                        choices=[],
                                        elem_id="held-out",
                                    )
                reset = gr.Button(t("form.reset"), size="sm", elem_id="reset")
                with gr.Accordion(
                    t("search.accordion"), open=False, elem_classes="surface", elem_id="finding"
                ):
                    use_rate, suggested = rate_panel.build(page, error)
                    board = search_panel.build(page, error)
                job_panel.build(page, error)
            with gr.Column(scale=1, min_width=300, elem_id="estimate-column"):
                estimate = gr.HTML(elem_id="estimate", min_height=320)
                fit = gr.Button(t("fit.button"), variant="primary", visible=False, elem_id="fit")
                told = gr.HTML(elem_id="fit-told")
                offer = gr.Button(visible=False, elem_id="fit-offer")
        page.next_button("training")
        shown = gr.State({})
        edits = form.edits()
    results = [shown, estimate, fit, told, offer, *widgets, first, *groups]

    def enter(say: Words, draft: Draft) -> Iterator[tuple[Any, ...]]:
        choices = _choices(page, say, draft)
        waiting = page.probing(say) if draft.dataset else ""
        if draft.dataset and not waiting and form.reads_large_files(page.store, draft):
            waiting = views.empty(say("plan.waiting"), say("plan.waiting.next"))
        if waiting:
            filled = _filled(page, say, draft, fields, {}, planned=(None, waiting, True))
            yield (*choices, *_flat(_typable(filled, len(fields), False)))
        yield (*choices, *_flat(_typable(_filled(page, say, draft, fields, {}), len(fields), True)))

    def changed(
        say: Words, draft: Draft, event: gr.EventData, before: dict[str, Any], *held: Any
    ) -> tuple[Any, ...]:
        edits = form.told(event, before)
        draft, typed, over = form.collect(fields, draft, held, before, edits)
        before = {**before, **typed, form.TOLD: edits.number}
        if not typed:
            return (gr.skip(), before, *[gr.skip()] * (len(results) - 1))
        return (draft, *_flat(_filled(page, say, draft, fields, before, typed, over=over)))

    def chosen(say: Words, draft: Draft, name: str | None, before: dict[str, Any]) -> tuple[Any, ...]:
        draft = draft.with_value(MODEL, (name or "").strip() or None)
        return (draft, *_flat(_filled(page, say, draft, fields, before)))

    def measured(say: Words, draft: Draft, key: str | None, before: dict[str, Any]) -> tuple[Any, ...]:
        draft = replace(draft, held_out=key or "")
        return (draft, *_flat(_filled(page, say, draft, fields, before)))

    def recommended(say: Words, draft: Draft) -> tuple[Any, ...]:
        kept = {key: value for key, value in draft.values.items() if key in form.ELSEWHERE}
        draft = replace(draft, values=kept)
        return (draft, *_flat(_filled(page, say, draft, fields, {})))

    def made_to_fit(say: Words, draft: Draft, before: dict[str, Any]) -> tuple[Any, ...]:
        return taken(say, draft, before, fitted(page.store, draft))

    def offered(say: Words, draft: Draft, before: dict[str, Any]) -> tuple[Any, ...]:
        found = fitted(page.store, draft)
        return taken(say, draft, before, found.offer or found)

    def taken(say: Words, draft: Draft, before: dict[str, Any], found: Fitted) -> tuple[Any, ...]:
        """The form with what was changed, and what is said of it."""
        for key, value in found.values.items():
            draft = draft.with_value(key, value)
        filled = _filled(page, say, draft, fields, before)
        return (draft, *_flat(filled, plan_views.fitted(say, found), plan_views.offer(say, found)))

    def rated(say: Words, draft: Draft, before: dict[str, Any], rate: float) -> tuple[Any, ...]:
        draft = draft.with_value(RATE, rate)
        return (draft, *_flat(_filled(page, say, draft, fields, before)))

    def picked(say: Words, draft: Draft, event: gr.EventData, before: dict[str, Any]) -> tuple[Any, ...]:
        """A run of a search: looked at, or its values taken over."""
        run = str(event._data.get("run"))
        if event._data.get("do") == "open":
            return (replace(draft, run=run), page.show("training"), *[gr.skip()] * len(results))
        for key, value in sweeps.values_of(page.store, run).items():
            draft = draft.with_value(key, value)
        return (draft, gr.skip(), *_flat(_filled(page, say, draft, fields, before)))

    page.on_enter("hyperparameters", enter, [model, held_out, *results], error=error)
    page.on(
        edits.input,
        changed,
        [shown, *widgets],
        [page.draft, *results],
        error=error,
        event=True,
        latest=True,
    )
    page.on([model.input], chosen, [model, shown], [page.draft, *results], error=error, latest=True)
    page.on(held_out.input, measured, [held_out, shown], [page.draft, *results], error=error)
    page.on(fit.click, made_to_fit, [shown], [page.draft, *results], error=error)
    page.on(offer.click, offered, [shown], [page.draft, *results], error=error)
    page.on(use_rate.click, rated, [shown, suggested], [page.draft, *results], error=error)
    page.on(board.click, picked, [shown], [page.draft, page.tabs, *results], error=error, event=True)
    page.on(reset.click, recommended, [], [page.draft, *results], error=error)


Planned = tuple["RunConfig | None", str, bool]
"""The configuration that a draft comes to, if it comes to one, the panel beside the form, and whether it fits."""
Filled = tuple[dict[str, Any], str, bool, list[Any]]
"""What each widget shows, the panel, whether all fits into memory, and the updates of widgets and groups."""


def _flat(filled: Filled, told: str = "", offer: str = "") -> tuple[Any, ...]:
    values, panel, fits, updates = filled
    return (values, panel, gr.Button(visible=not fits), told, gr.Button(offer, visible=bool(offer)), *updates)


def _typable(filled: Filled, fields: int, whether: bool) -> Filled:
    """The form with fields that can be typed in, or that only show: what is typed before the rows are read would be
    lost."""
    values, panel, fits, updates = filled
    some = [gr.update(**{**update, "interactive": whether}) for update in updates[:fields]]
    return values, panel, fits, [*some, *updates[fields:]]


def fitted(store: Store, draft: Draft) -> Fitted:
    """What makes the sound part of the draft fit into memory."""
    from studio.services import apart, fitting

    config = form.sound(draft).config(store)
    return apart.work(config, fitting.fitted, store, config)


def _choices(page: Page, say: Words, draft: Draft) -> tuple[Any, Any]:
    """The models on this machine, and the datasets that can be measured on."""
    chosen = str(draft.values.get(MODEL) or "starter")
    known = [(plan_views.model_title(say, info), info.id) for info in models.known(page.store.models_dir)]
    if chosen not in [name for _, name in known]:
        known.append((chosen, chosen))
    measures = [(say("form.held_out.share"), "")]
    measures += [(say.message(s.title), s.held_out_key) for s in samples.samples() if s.held_out_key]
    measures += dataset_choices.others(page.store, draft.dataset)
    return gr.Dropdown(choices=known, value=chosen), gr.Dropdown(choices=measures, value=draft.held_out)


def _filled(
    page: Page,
    say: Words,
    draft: Draft,
    fields: list[Setting],
    before: dict[str, Any],
    keep: Container[str] = (),
    planned: Planned | None = None,
    over: Container[str] = (),
) -> Filled:
    """`keep` are being typed in, and what the page wrote `over` is put back; `planned` is what the draft comes to,
    where that is not to be worked out now."""
    wrong = form.problems(draft, say("form.source_name"))
    config, panel, fits = planned or _planned(page, say, draft)
    missing = form.missing(page.store.machine()) if draft.dataset and planned is None else {}
    shown: dict[str, Any] = {form.TOLD: before[form.TOLD]} if form.TOLD in before else {}
    updates: list[Any] = []
    for setting in fields:
        key = setting.key
        change: dict[str, Any] = {}
        if key in keep or (key in wrong and key in before):
            shown[key] = before.get(key)
            if key in over:
                change["value"] = shown[key]
        else:
            given = key in draft.values
            value = draft.values[key] if given else value_of(config, key) if config else setting.default
            shown[key] = form.text_of(setting, value)
            if before.get(key, object()) != shown[key]:
                change["value"] = shown[key]
        looks = form.looks(say, setting, draft, config, wrong.get(key), missing.get(key, {}))
        if before.get(f"{key}#looks", form.PLAIN) != looks:
            change |= form.look(say, setting, looks)
        shown[f"{key}#looks"] = looks
        updates.append(gr.update(**change) if change else gr.skip())
    updates.append(gr.update(visible=True))
    seen = {setting.key for setting in fields if shown[f"{setting.key}#looks"].applies}
    for _, settings in form.grouped_settings():
        updates.append(gr.update(visible=any(setting.key in seen for setting in settings)))
    return shown, panel, fits, updates


def _planned(page: Page, say: Words, draft: Draft) -> Planned:
    if not draft.dataset:
        return None, views.empty(say("plan.empty"), say("plan.empty.next")), True
    try:
        plan = form.planned(page.store, draft)
    except StudioError as problem:
        return None, views.error(say, problem), True
    return plan.config, plan_views.estimate(say, plan, page.store.machine()), plan.estimate.fits
