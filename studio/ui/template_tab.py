"""Template: how conversations are written, and every row exactly as it will be trained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import gradio as gr

from studio.domain.errors import StudioError
from studio.domain.run import Run
from studio.engine.templates import choices, meant
from studio.engine.tokenizer import Tokenizer
from studio.services import apart, preview
from studio.ui import form, loss_views, row_view, run_views, set_views, template_controls, views
from studio.ui.i18n import Words, t
from studio.ui.loss_views import Asked
from studio.ui.page import Draft, Page
from studio.ui.row_view import Beside
from studio.ui.template_controls import tokenizer_of
from studio.ui.usable_runs import usable

_KEEP_PLACE = """(draft) => {
  const shown = document.querySelector('#row-view [data-place]');
  const held = typeof draft === 'string' ? JSON.parse(draft) : draft;
  return JSON.stringify({...held, row: Number(shown?.dataset.place) || held.row});
}"""


@dataclass(frozen=True)
class _BesideControls:
    """What is chosen beside a row's tokens, in the order of `Beside`."""

    other: gr.Dropdown
    loss: gr.Checkbox
    run: gr.Dropdown

    @property
    def all(self) -> list[gr.components.Component]:
        return [self.other, self.loss, self.run]


def build(page: Page) -> None:
    with page.tab("template"):
        error = page.error_box()
        controls = template_controls.build()
        with gr.Column(elem_classes="surface", elem_id="token-panel"):
            beside = _build_beside()
            viewer = row_view.build(page)
        overview = gr.HTML(elem_id="set-view", js_on_load=None, min_height=220)
        page.next_button("hyperparameters")
        drawn_for = gr.State("")

    def told(say: Words, draft: Draft, *given: Any, found: preview.Overview | None = None) -> Any:
        """The viewer after a change."""
        return gr.HTML(state=row_view.state(say, page, draft, Beside.chosen(*given), found))

    def enter(say: Words, draft: Draft, last: str, length: str, *given: Any) -> Iterator[tuple[Any, ...]]:
        if draft.dataset and last != draft.dataset and form.reads_large_files(page.store, draft):
            held = [gr.skip()] * (len(controls.filled) + 2)
            yield (*held, gr.HTML(state=row_view.NO_ROWS), set_views.drawing(say), gr.skip())
        yield entered(say, draft, last, length, *given)

    def entered(say: Words, draft: Draft, last: str, length: str, *given: Any) -> tuple[Any, ...]:
        if not draft.dataset:
            nothing = views.empty(say("template.empty"), say("template.empty.next"))
            held = template_controls.values(say, draft, None, length)
            return (*held, *_offered(say, None, [], Beside()), told(say, draft), nothing, "")
        tokenizer, runs = tokenizer_of(page, draft), _runs(page, draft)
        kept = _still_there(Beside.chosen(*given), draft, tokenizer, runs)
        panel = gr.skip() if last == draft.dataset else page.probing(say) or set_views.waiting(say)
        held = template_controls.values(say, draft, tokenizer, length)
        labelled = [_choice(page, say, tokenizer, run) for run in runs]
        offered = _offered(say, tokenizer, labelled, kept)
        return (*held, *offered, told(say, draft, *astuple(kept)), panel, last)

    def settled(say: Words, draft: Draft, *given: Any) -> tuple[Any, ...]:
        """All that needs every row to be encoded."""
        config = form.sound(draft).config(page.store)
        key, own = row_view.settings_key(config), template_controls.is_own(draft)
        try:
            found = apart.work(config, preview.overview, page.store, config)
        except StudioError as problem:
            if own and template_controls.complaint(page, say, draft):
                panel = set_views.broken(say)
            else:
                panel = set_views.failed(say, views.error(say, problem))
            return set_views.of_settings(key, panel), gr.skip(), "", gr.skip()
        panel = set_views.of_settings(key, set_views.overview(say, found))
        about = template_controls.about(say, draft, tokenizer_of(page, draft)) if own else gr.skip()
        return panel, told(say, draft, *given, found=found), draft.dataset, about

    def placed(say: Words, draft: Draft, *given: Any) -> tuple[Any, ...]:
        chosen = Beside.chosen(*given)
        if not chosen.loss or not draft.dataset:
            return gr.Dropdown(visible=False), told(say, draft, *given)
        # Offered anew: a run may have ended since the tab came up.
        tokenizer = tokenizer_of(page, draft)
        labelled = [_choice(page, say, tokenizer, run) for run in _runs(page, draft)]
        runs = [(say("template.loss.base_alone"), ""), *labelled]
        return gr.Dropdown(choices=runs, value=chosen.run, visible=True), told(say, draft, *given)

    def measured(say: Words, _: Draft, event: gr.EventData) -> Iterator[Any]:
        for losses in _measured(page, say, Asked.from_json(event._data)):
            yield gr.HTML(losses=json.dumps(losses))

    def given_up(say: Words, draft: Draft, event: gr.EventData) -> None:
        page.chat.stop(Asked.from_json(event._data).token)

    page.on_enter(
        "template",
        enter,
        [*controls.filled, beside.other, beside.run, viewer, overview, drawn_for],
        inputs=[drawn_for, controls.length, *beside.all],
        error=error,
    )
    template_controls.wire(page, controls, viewer, overview, beside.all, told, error)
    triggers = [control.input for control in (beside.other, beside.loss, beside.run)]
    page.on(triggers, placed, beside.all, [beside.run, viewer], error=error)
    settles = [overview, viewer, drawn_for, controls.about]
    page.on(viewer.submit, settled, beside.all, settles, error=error, latest=True)
    page.on(viewer.select, measured, [], [viewer], error=error, event=True, trigger_mode="multiple")
    page.on(viewer.stop, given_up, [], [], error=error, event=True, trigger_mode="multiple")
    # The row that is shown is kept with the rest of the draft, without asking the server.
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    viewer.moved(None, [page.draft], [page.draft], js=_KEEP_PLACE, **quiet)


def _build_beside() -> _BesideControls:
    with gr.Row(elem_classes="controls", elem_id="beside"):
        return _BesideControls(
            gr.Dropdown(label=t("template.other"), choices=[("", "")], value="", elem_id="template-other"),
            gr.Checkbox(label=t("template.loss"), info=t("template.loss.info"), elem_id="template-loss"),
            gr.Dropdown(
                label=t("template.loss.run"),
                choices=[("", "")],
                value="",
                elem_id="template-loss-run",
                visible=False,
            ),
        )


def _offered(
    say: Words, tokenizer: Tokenizer | None, runs: Sequence[tuple[str, str]], kept: Beside
) -> tuple[Any, Any]:
    """The templates to compare with, and the tuned models."""
    others = [(say("template.other.none"), ""), *template_controls.names(say, tokenizer)]
    tuned = [(say("template.loss.base_alone"), ""), *runs]
    return gr.Dropdown(choices=others, value=kept.other), gr.Dropdown(choices=tuned, value=kept.run)


def _choice(page: Page, say: Words, tokenizer: Tokenizer, run: Run) -> tuple[str, str]:
    """A run by its name, date and template, as runs are often named alike."""
    label, chosen = run_views.choice(run)
    template = meant(page.jobs.config(run.id).template.name, tokenizer)
    return f"{label} · {say(f'template.name.{template}')}", chosen


def _runs(page: Page, draft: Draft) -> list[Run]:
    """Those that tuned the draft's model, the newest first."""
    model = draft.values.get("model.id") or "starter"
    return [run for run in usable(page) if page.jobs.config(run.id).model.id == model]


def _still_there(beside: Beside, draft: Draft, tokenizer: Tokenizer, runs: Sequence[Run]) -> Beside:
    """What was chosen, where it is still on offer; a run that is looked at elsewhere is taken here too."""
    known = {run.id for run in runs}
    run = next((run for run in (beside.run, draft.run) if run in known), "")
    return replace(beside, run=run, other=beside.other if beside.other in dict(choices(tokenizer)) else "")


def _measured(page: Page, say: Words, asked: Asked) -> Iterator[loss_views.Heat]:
    """The losses of the row that the browser asks for, and before them how far they are; nothing once it gave up."""
    draft, run = asked.draft, asked.run
    model = form.sound(draft).config(page.store).model
    base: list[float | None] = []
    tuned: list[float | None] = []
    texts: list[str] = []
    try:
        for row in row_view.fed(page, draft, asked.limit, asked.place):
            losses = None
            for step in page.chat.measure(run or None, model.id, model.revision, row, token=asked.token):
                losses = step.losses
                if losses is None:
                    said = say(f"loss.phase.{step.phase}", share=round(100 * step.share))
                    yield loss_views.waiting(asked, said)
            if losses is None:
                return
            beyond = [None] * len(row.cut_ids)
            base += [*losses["base"], *beyond]
            tuned += [*(losses["tuned"] or ()), *beyond]
            texts += [row.text[start:end] for start, end in row.spans]
    except StudioError as error:
        yield loss_views.failed(asked, views.error(say, error))
        return
    name = next((item.name for item in _runs(page, draft) if item.id == run), "")
    yield loss_views.heat(say, asked, texts, base, tuned if run else None, name)
