"""Template: how conversations are written, and every row exactly as it will be trained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, replace
from html import escape
from typing import Any

import gradio as gr

from studio.domain.config import Setting, settings
from studio.domain.errors import StudioError
from studio.domain.run import Run
from studio.engine import models
from studio.engine.implications import explained, implications
from studio.engine.templates import AUTO, CUSTOM, choices, resolve
from studio.engine.tokenizer import Tokenizer, load_tokenizer
from studio.services import preview
from studio.ui import form, loss_views, row_view, set_views, views
from studio.ui.chat_tab import usable
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page
from studio.ui.row_view import Asked, Beside

NAME, SOURCE, LENGTH, OVERLONG = "template.name", "template.source", "train.max_length", "data.overlong"
MASKS = ("template.turns", "template.reasoning", "template.tool_calls", "template.prompts")


def build(page: Page) -> None:
    with page.tab("template"):
        error = page.error_box()
        with gr.Column(elem_classes="surface", elem_id="template-controls"):
            with gr.Row(elem_classes="controls"):
                name = gr.Dropdown(
                    label=t("template.name"),
                    info=t("template.name.info"),
                    choices=[],
                    elem_id="template-name",
                )
                length = gr.Textbox(
                    label=t("template.length"), info=t("template.length.info"), elem_id="template-length"
                )
                overlong = gr.Dropdown(
                    label=t(f"setting.{OVERLONG}.label"),
                    info=t("template.overlong.info"),
                    choices=_choices_of(OVERLONG),
                    value="cut",
                    elem_id="template-overlong",
                )
            problem = gr.HTML(elem_classes="field-problem", elem_id="template-problem")
            about = gr.HTML(elem_id="template-about")
            with gr.Column(visible=False, elem_id="template-own") as own:
                source = gr.Code(
                    language="jinja2",
                    label=t("template.source"),
                    lines=8,
                    max_lines=24,
                    elem_id="template-source",
                )
                wrong = gr.HTML(elem_classes="field-problem", elem_id="template-wrong")
                with gr.Row(elem_classes="controls"):
                    copied = gr.Dropdown(
                        label=t("template.copy"),
                        info=t("template.copy.info"),
                        choices=[],
                        elem_id="template-copy",
                    )
            with gr.Row(elem_classes="controls", elem_id="masks"):
                turns = gr.Radio(
                    label=t(f"setting.{MASKS[0]}.label"), choices=_choices_of(MASKS[0]), value="all"
                )
                flags = [
                    gr.Checkbox(
                        label=t("template.prompts" if key == "template.prompts" else f"setting.{key}.label"),
                        info=t(f"setting.{key}.help"),
                        elem_id=key.replace(".", "-"),
                    )
                    for key in MASKS[1:]
                ]
        with gr.Column(elem_classes="surface", elem_id="token-panel"):
            with gr.Row(elem_classes="controls", elem_id="beside"):
                other = gr.Dropdown(
                    label=t("template.other"), choices=[("", "")], value="", elem_id="template-other"
                )
                heat = gr.Checkbox(
                    label=t("template.loss"), info=t("template.loss.info"), elem_id="template-loss"
                )
                run = gr.Dropdown(
                    label=t("template.loss.run"),
                    choices=[("", "")],
                    value="",
                    elem_id="template-loss-run",
                    visible=False,
                )
            viewer = row_view.build(page)
        overview = gr.HTML(elem_id="set-view", js_on_load=None, min_height=220)
        page.next_button("hyperparameters")
        drawn_for = gr.State("")

    masks = [turns, *flags]
    controls = [name, length, overlong, about, own, source, copied, *masks, other, run]
    beside = [other, heat, run]

    def told(say: Words, draft: Draft, *given: Any, found: preview.Overview | None = None) -> Any:
        """The viewer after a change."""
        return gr.HTML(state=row_view.state(say, page, draft, Beside(*given), found))

    def enter(say: Words, draft: Draft, last: str, *given: Any) -> tuple[Any, ...]:
        if not draft.dataset:
            nothing = views.empty(say("template.empty"), say("template.empty.next"))
            return (*_controls(say, draft, None, [], Beside()), told(say, draft), nothing, "")
        tokenizer, runs = _tokenizer(page, draft), _runs(page, draft)
        chosen = _still_there(Beside(*given), draft, tokenizer, runs)
        panel = gr.skip() if last == draft.dataset else page.probing(say) or set_views.waiting(say)
        controls = _controls(say, draft, tokenizer, runs, chosen)
        return (*controls, told(say, draft, *astuple(chosen)), panel, last)

    def settled(say: Words, draft: Draft, *given: Any) -> tuple[Any, ...]:
        """All that needs every row to be encoded."""
        config = form.sound(draft).config(page.store)
        try:
            found = preview.overview(page.store, config)
        except StudioError as error:
            if draft.values.get(NAME) == CUSTOM and _complaint(page, say, draft):
                return tuple([gr.skip()] * 4)  # it is said beneath the template, while it is written
            return set_views.failed(say, views.error(say, error)), gr.skip(), "", gr.skip()
        panel = set_views.overview(say, found, config.data.overlong)
        about = gr.skip()
        if draft.values.get(NAME) == CUSTOM:
            about = _about(say, draft, _tokenizer(page, draft))
        return panel, told(say, draft, *given, found=found), draft.dataset, about

    def renamed(say: Words, draft: Draft, chosen: str, *given: Any) -> tuple[Any, ...]:
        before = str(draft.values.get(NAME) or AUTO)
        draft = draft.with_value(NAME, None if chosen == AUTO else chosen)
        tokenizer = _tokenizer(page, draft)
        if chosen == CUSTOM and not draft.values.get(SOURCE):
            draft = draft.with_value(SOURCE, resolve(before, tokenizer).source)
        return (draft, *_own(say, draft, tokenizer), "", told(say, draft, *given))

    def copied_from(say: Words, draft: Draft, chosen: str, *given: Any) -> tuple[Any, ...]:
        draft = draft.with_value(SOURCE, resolve(chosen, _tokenizer(page, draft)).source)
        return draft, gr.Code(draft.values[SOURCE]), gr.Dropdown(value=None), "", told(say, draft, *given)

    def written(say: Words, draft: Draft, text: str, *given: Any) -> tuple[Any, ...]:
        """Each change of one's own template, with what is wrong with it."""
        if draft.values.get(NAME) != CUSTOM or text == draft.values.get(SOURCE):
            return gr.skip(), gr.skip(), gr.skip()
        draft = draft.with_value(SOURCE, text)
        return draft, _complaint(page, say, draft), told(say, draft, *given)

    def resized(say: Words, draft: Draft, held: str, *given: Any) -> tuple[Any, ...]:
        setting = _setting(LENGTH)
        if held == form.text_of(setting, draft.values.get(LENGTH)):
            return gr.skip(), gr.skip(), gr.skip()
        draft = draft.with_value(LENGTH, form.typed(setting, held))
        fault = form.problems(draft, say("form.source_name")).get(LENGTH)
        complaint = views.field_problem(form.complaint(say, fault)) if fault else ""
        return draft, complaint, told(say, draft, *given)

    def set_to(key: str) -> Any:
        def changed(say: Words, draft: Draft, value: Any, *given: Any) -> tuple[Any, ...]:
            draft = draft.with_value(key, None if value == _setting(key).default else value)
            return draft, told(say, draft, *given)

        return changed

    def placed(say: Words, draft: Draft, chosen: str | None, heat: bool, run: str) -> tuple[Any, ...]:
        return gr.Dropdown(visible=heat), told(say, draft, chosen or "", heat, run)

    def measured(say: Words, draft: Draft, event: gr.EventData, *given: Any) -> Iterator[Any]:
        asked = Asked.from_json(event._data)
        for losses in _measured(page, say, draft, asked, str(given[2] or "")):
            yield gr.HTML(losses=json.dumps(losses))

    def given_up(say: Words, draft: Draft, event: gr.EventData) -> None:
        page.chat.stop(Asked.from_json(event._data).token)

    page.on_enter(
        "template", enter, [*controls, viewer, overview, drawn_for], inputs=[drawn_for, *beside], error=error
    )
    page.on(viewer.submit, settled, beside, [overview, viewer, drawn_for, about], error=error, latest=True)
    page.on(
        name.input, renamed, [name, *beside], [page.draft, about, own, source, wrong, viewer], error=error
    )
    page.on(
        copied.input, copied_from, [copied, *beside], [page.draft, source, copied, wrong, viewer], error=error
    )
    page.on(source.change, written, [source, *beside], [page.draft, wrong, viewer], error=error, latest=True)
    page.on(
        length.change, resized, [length, *beside], [page.draft, problem, viewer], error=error, latest=True
    )
    for key, control in ((OVERLONG, overlong), *zip(MASKS, masks, strict=True)):
        page.on(control.input, set_to(key), [control, *beside], [page.draft, viewer], error=error)
    page.on([other.input, heat.input, run.input], placed, beside, [run, viewer], error=error)
    page.on(viewer.select, measured, beside, [viewer], error=error, event=True, trigger_mode="multiple")
    page.on(viewer.stop, given_up, [], [], error=error, event=True, trigger_mode="multiple")
    # The row that is shown is kept with the rest of the draft, without asking the server.
    viewer.moved(
        None,
        [page.draft],
        [page.draft],
        js="(draft) => ({...draft, row: Number(document.querySelector('#row-view [data-place]')?.dataset.place) || 1})",
        api_visibility="private",
        show_progress="hidden",
    )


def _choices_of(key: str) -> list[tuple[Any, str]]:
    return [(t(f"choice.{key}.{choice}"), choice) for choice in _setting(key).choices]


def _setting(key: str) -> Setting:
    section = key.partition(".")[0]
    return next(setting for setting in settings(section) if setting.key == key)


def _tokenizer(page: Page, draft: Draft) -> Tokenizer:
    config = form.sound(draft).config(page.store).model
    path = models.locate(config.id, page.store.models_dir, revision=config.revision, download=False)
    return load_tokenizer(path)


def _controls(
    say: Words, draft: Draft, tokenizer: Tokenizer | None, runs: Sequence[Run], beside: Beside
) -> tuple[Any, ...]:
    """All controls as the draft has them, in the order of `controls`."""
    offered = [(say(f"template.name.{name}"), name) for name, _ in choices(tokenizer)]
    models_of = [(say("template.loss.base_alone"), ""), *((run.name, run.id) for run in runs)]
    typed = form.text_of(_setting(LENGTH), draft.values.get(LENGTH))
    return (
        gr.Dropdown(
            choices=[*offered, (say("template.name.custom"), CUSTOM)], value=draft.values.get(NAME) or AUTO
        ),
        gr.Textbox(value=typed, placeholder=say("form.auto")),
        gr.Dropdown(value=draft.values.get(OVERLONG) or _setting(OVERLONG).default),
        *_own(say, draft, tokenizer),
        gr.Dropdown(choices=offered, value=None),
        *(draft.values.get(key, _setting(key).default) for key in MASKS),
        gr.Dropdown(choices=[(say("template.other.none"), ""), *offered], value=beside.other),
        gr.Dropdown(choices=models_of, value=beside.run),
    )


def _own(say: Words, draft: Draft, tokenizer: Tokenizer | None) -> tuple[Any, ...]:
    """What the chosen template means for the model, and the editor where it is one's own."""
    custom = draft.values.get(NAME) == CUSTOM
    editor = gr.Code(draft.values.get(SOURCE) or "") if custom else gr.skip()
    return _about(say, draft, tokenizer), gr.Column(visible=custom), editor


def _about(say: Words, draft: Draft, tokenizer: Tokenizer | None) -> str:
    """In a sentence, and in what it implies for this model; nothing of the latter while the template is wrong."""
    name = str(draft.values.get(NAME) or AUTO)
    sentences = []
    if tokenizer is not None:
        with suppress(StudioError):
            sentences = explained(implications(name, tokenizer, draft.values.get(SOURCE)))
    listed = "".join(f"<li>{escape(say.text(sentence))}</li>" for sentence in sentences)
    about = escape(say.ui.get(f"template.about.{name}", ""))
    return f'<p class="about">{about}</p><ul class="implied">{listed}</ul>'


def _complaint(page: Page, say: Words, draft: Draft) -> str:
    """What is wrong with one's own template when it writes the shown row; empty where nothing is."""
    try:
        row_view.fed(page, draft, None, draft.row)
    except StudioError as error:
        return views.field_problem(form.complaint(say, error))
    return ""


def _runs(page: Page, draft: Draft) -> list[Run]:
    """Those that tuned the draft's model, the newest first."""
    model = draft.values.get("model.id") or "starter"
    return [run for run in usable(page) if page.jobs.config(run.id).model.id == model]


def _still_there(beside: Beside, draft: Draft, tokenizer: Tokenizer, runs: Sequence[Run]) -> Beside:
    """What was chosen, where it is still on offer; a run that is looked at elsewhere is taken here too."""
    known = {run.id for run in runs}
    run = next((run for run in (beside.run, draft.run) if run in known), "")
    return replace(beside, run=run, other=beside.other if beside.other in dict(choices(tokenizer)) else "")


def _measured(page: Page, say: Words, draft: Draft, asked: Asked, run: str) -> Iterator[loss_views.Heat]:
    """The losses of the row that the browser asks for, and before them how far they are; nothing once it gave up."""
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
                    yield loss_views.waiting(asked.key, asked.place, said)
            if losses is None:
                return
            beyond = [None] * len(row.cut_ids)
            base += [*losses["base"], *beyond]
            tuned += [*(losses["tuned"] or ()), *beyond]
            texts += [row.text[start:end] for start, end in row.spans]
    except StudioError as error:
        yield loss_views.failed(asked.key, asked.place, views.error(say, error))
        return
    name = next((item.name for item in _runs(page, draft) if item.id == run), "")
    yield loss_views.heat(say, asked.key, asked.place, texts, base, tuned if run else None, name)
