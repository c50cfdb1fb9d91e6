"""The four modes of supervised fine-tuning: what each is for, the settings that make it, and what follows from them."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.domain.config import RunConfig
from studio.domain.errors import StudioError
from studio.domain.run import Run
from studio.services import apart
from studio.services.continual import continued
from studio.services.plan import mixed
from studio.ui import dataset_choices, form, run_views, self_written_panel, views
from studio.ui.i18n import Words, t
from studio.ui.page import RECOMMENDED_SHARE, SELF, Draft, Page

if TYPE_CHECKING:
    from studio.services.store import Store

MODES = ("domain", "general", "mixed", "continual")
SHARE, ADAPTER = "data.general_share", "model.adapter"
MOST_PERCENT = 50


_WITHIN = """(draft, percent) => {
  const ends = document.querySelector('#mode-share input[type=range]');
  return [draft, Math.min(+ends.max, Math.max(+ends.min, percent ?? +ends.min))];
}"""
"""A number beyond the slider's ends, or none, is taken as the end that its field shows once it is left."""


def mode_of(draft: Draft) -> str:
    """The mode that the draft's settings make.

    >>> mode_of(Draft("rows")), mode_of(Draft("rows", {"data.general_share": 0.0}))
    ('mixed', 'domain')
    """
    if draft.values.get(ADAPTER):
        return "continual"
    if draft.general_share > 0:
        return "mixed"
    return "general" if draft.broad else "domain"


def with_mode(draft: Draft, mode: str) -> Draft:
    """The draft with the settings of a mode; one that is continual keeps its general rows, as they help there too."""
    draft = replace(draft, broad=mode == "general")
    if mode != "continual":
        draft = draft.with_value(ADAPTER, None)
    if mode in ("domain", "general"):
        return draft.with_value(SHARE, 0.0 if mode == "domain" else None)
    if mode == "mixed" and not draft.general_share:
        return draft.with_value(SHARE, RECOMMENDED_SHARE)
    return draft


def continuing(draft: Draft, run_id: str, config: RunConfig) -> Draft:
    """The draft that goes on with the adapter of a run, on the base model that it belongs to."""
    draft = replace(draft, broad=False).with_value(ADAPTER, run_id)
    draft = draft.with_value("model.id", None if config.model.id == "starter" else config.model.id)
    return draft.with_value("model.revision", config.model.revision)


def build(page: Page, error: gr.HTML, changed: gr.State) -> None:
    """The part of the Data tab that asks for the mode. It follows the draft, and the rows that are in use."""
    with gr.Column(elem_classes="surface", elem_id="mode", visible=False) as panel:
        gr.HTML(t("mode.title"), elem_classes="section-title")
        mode = gr.Radio(
            choices=[(t(f"mode.{name}"), name) for name in MODES],
            value="mixed",
            label=t("mode.title"),
            show_label=False,
            elem_id="mode-choice",
        )
        about = gr.HTML(elem_id="mode-about")
        with gr.Column(visible=False, elem_id="mode-mixture") as mixture:
            with gr.Row(elem_classes="controls"):
                share = gr.Slider(
                    1,
                    MOST_PERCENT,
                    value=100 * RECOMMENDED_SHARE,
                    step=1,
                    label=t("mode.share"),
                    info=t("mode.share.info"),
                    elem_id="mode-share",
                )
                source = gr.Dropdown(
                    label=t("mode.source"), info=t("mode.source.info"), choices=[], elem_id="mode-source"
                )
            writing = self_written_panel.build(page, error)
        earlier = gr.Dropdown(
            label=t("mode.earlier"),
            info=t("mode.earlier.info"),
            choices=[],
            visible=False,
            elem_id="mode-run",
        )
        follows = gr.HTML(elem_id="mode-follows")
    # The slider is not among those that follow the draft: an answer that is late would pull it from under the hand.
    following = [panel, mode, about, mixture, source, writing, earlier, follows]

    def enter(say: Words, draft: Draft) -> tuple[Any, ...]:
        return _slider(draft), *_shown(page, say, draft)

    def follow(say: Words, draft: Draft) -> tuple[Any, ...]:
        return _shown(page, say, draft)

    def chosen(say: Words, draft: Draft, name: str) -> tuple[Any, ...]:
        runs = _continuable(page)
        if name == "continual" and not runs:
            told = explanation(say, name) + _note(say("mode.no_run"))
            return draft, gr.skip(), gr.Radio(value=mode_of(draft)), told
        draft = with_mode(draft, name)
        if name == "continual" and not draft.values.get(ADAPTER):
            draft = continuing(draft, runs[0].id, page.jobs.config(runs[0].id))
        return draft, _slider(draft), gr.skip(), gr.skip()

    def shared(say: Words, draft: Draft, percent: float) -> Draft:
        return draft.with_value(SHARE, round(percent / 100, 4))

    def drawn_from(say: Words, draft: Draft, dataset: str | None) -> Draft:
        return replace(draft, general=dataset or "")

    def gone_on(say: Words, draft: Draft, run_id: str) -> Draft:
        return continuing(draft, run_id, page.jobs.config(run_id))

    page.on_enter("data", enter, [share, *following], error=error)
    page.on([page.draft.change, changed.change], follow, [], following, error=error, shared=True)
    page.on(mode.input, chosen, [mode], [page.draft, share, mode, follows], error=error)
    page.on(share.input, shared, [share], [page.draft], error=error, latest=True, js=_WITHIN)
    page.on(source.input, drawn_from, [source], [page.draft], error=error)
    page.on(earlier.input, gone_on, [earlier], [page.draft], error=error)


def _slider(draft: Draft) -> gr.Slider:
    """It ends at one percent but for continual runs: mixed with nothing is another mode, and another choice."""
    least = 0 if mode_of(draft) == "continual" else 1
    return gr.Slider(minimum=least, value=min(MOST_PERCENT, round(100 * draft.general_share)))


def _continuable(page: Page) -> list[Run]:
    return [run for run in page.jobs.list() if run_views.continuable(run)]


def _shown(page: Page, say: Words, draft: Draft) -> tuple[Any, ...]:
    """All but the slider, in the order of `following`."""
    mode = mode_of(draft)
    runs = [run_views.choice(run) for run in _continuable(page)] if mode == "continual" else []
    mixes = mode in ("mixed", "continual")
    chosen = draft.values.get(ADAPTER)
    if chosen and chosen not in [run_id for _, run_id in runs]:
        runs.append((str(chosen), str(chosen)))
    sources = [(say("mode.shipped"), "")]
    sources += [(say("mode.self"), SELF)]
    sources += dataset_choices.readable_others(page.store, draft.dataset, draft.general)
    return (
        gr.Column(visible=bool(draft.dataset)),
        gr.Radio(value=mode),
        explanation(say, mode),
        gr.Column(visible=mixes),
        gr.Dropdown(choices=sources, value=draft.general),
        gr.Column(visible=mixes and draft.general == SELF),
        gr.Dropdown(choices=runs, value=chosen, visible=mode == "continual"),
        consequences(say, page.store, draft),
    )


def explanation(say: Words, mode: str) -> str:
    """What a mode is for, and what it does."""
    return f'<p class="muted">{escape(say(f"mode.{mode}.about"))}</p>'


def consequences(say: Words, store: Store, draft: Draft) -> str:
    """What the mode does to this run, with its counts; what stands in its way instead, where something does."""
    if not draft.dataset or mode_of(draft) in ("domain", "general"):
        return ""
    if draft.general == SELF:  # rows that are not written yet have no counts
        draft = draft.with_value("data.general_share", 0.0)
    try:
        config = form.sound(draft).config(store)
        _, about = continued(store, config)
        notes = [say.text(finding.text) for finding in about]
        if config.data.general_share:
            notes = [*_mixture(say, store, draft, config), *notes]
    except StudioError as problem:
        return views.error(say, problem)
    return "".join(map(_note, notes))


def _mixture(say: Words, store: Store, draft: Draft, config: RunConfig) -> list[str]:
    """How many general rows there are beside one's own, and whether they are as many as was asked for."""
    own, general, about = apart.work(config, mixed, store, config)
    file = store.dataset(draft.general).name if draft.general else say("mode.shipped")
    said = say(
        "mode.mixture",
        general=views.count(general),
        own=views.count(own),
        percent=f"{100 * general / (own + general):.3g}",
        file=file,
    )
    few = [say.text(finding.text) for finding in about if finding.check == "few_general"]
    if not general and not few:
        few = [say("mode.mixture.none")]
    return [said, *few]


def _note(sentence: str) -> str:
    return f'<p class="note">{escape(sentence)}</p>'
