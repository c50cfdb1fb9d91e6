"""What is chosen in the Template tab: the template, or one's own, the length of rows, and what of them is learnt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from studio.domain.config import Setting, settings
from studio.domain.errors import StudioError
from studio.engine.implications import explained, implications
from studio.engine.templates import AUTO, CUSTOM, choices, resolve
from studio.engine.tokenizer import Tokenizer, load_tokenizer
from studio.ui import form, row_view, set_views, views
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page

NAME, SOURCE, LENGTH, OVERLONG = "template.name", "template.source", "train.max_length", "data.overlong"
MASKS = ("template.turns", "template.reasoning", "template.tool_calls", "template.prompts")

Told = Callable[..., Any]
"""The viewer after a change: `told(say, draft, *beside)`."""


@dataclass(frozen=True)
class Controls:
    """The widgets. `problem` and `wrong` say what is wrong with the length and with one's own template."""

    name: gr.Dropdown
    length: gr.Textbox
    overlong: gr.Dropdown
    problem: gr.HTML
    about: gr.HTML
    own: gr.Column
    source: gr.Code
    wrong: gr.HTML
    copied: gr.Dropdown
    masks: tuple[gr.components.Component, ...]

    @property
    def filled(self) -> list[Any]:
        """In the order of `values`."""
        return [self.name, self.length, self.overlong, *self.described, self.copied, *self.masks]

    @property
    def described(self) -> list[Any]:
        """In the order of `description`."""
        return [self.about, self.own, self.source]


def build() -> Controls:
    with gr.Column(elem_classes="surface", elem_id="template-controls"):
        with gr.Row(elem_classes="controls"):
            name = gr.Dropdown(
                label=t("template.name"), info=t("template.name.info"), choices=[], elem_id="template-name"
            )
            length = gr.Textbox(
                label=t("template.length"), info=t("template.length.info"), elem_id="template-length"
            )
            overlong = gr.Dropdown(
                label=t(f"setting.{OVERLONG}.label"),
                info=t("template.overlong.info"),
                choices=_choices_of(OVERLONG),
                value=_setting(OVERLONG).default,
                elem_id="template-overlong",
            )
        problem = gr.HTML(elem_classes="field-problem", elem_id="template-problem")
        about = gr.HTML(elem_id="template-about")
        own, source, wrong, copied = _editor()
        with gr.Row(elem_classes="controls", elem_id="masks"):
            masks = tuple(_mask(key) for key in MASKS)
    return Controls(name, length, overlong, problem, about, own, source, wrong, copied, masks)


def _editor() -> tuple[gr.Column, gr.Code, gr.HTML, gr.Dropdown]:
    with gr.Column(visible=False, elem_id="template-own") as own:
        source = gr.Code(
            language="jinja2", label=t("template.source"), lines=8, max_lines=24, elem_id="template-source"
        )
        wrong = gr.HTML(elem_classes="field-problem", elem_id="template-wrong")
        with gr.Row(elem_classes="controls"):
            copied = gr.Dropdown(
                label=t("template.copy"), info=t("template.copy.info"), choices=[], elem_id="template-copy"
            )
    return own, source, wrong, copied


def _mask(key: str) -> gr.components.Component:
    setting = _setting(key)
    if setting.kind == "choice":
        return gr.Radio(label=t(f"setting.{key}.label"), choices=_choices_of(key), value=setting.default)
    label = "template.prompts" if key == "template.prompts" else f"setting.{key}.label"
    return gr.Checkbox(label=t(label), info=t(f"setting.{key}.help"), elem_id=key.replace(".", "-"))


def wire(
    page: Page,
    controls: Controls,
    viewer: gr.HTML,
    overview: gr.HTML,
    beside: Sequence[Any],
    told: Told,
    error: gr.HTML,
) -> None:
    """Each change goes into the draft and to the viewer at once; `beside` are the viewer's own choices.

    The figures of the set in `overview` go as soon as one's own template changes: an endless one takes a while to fail.
    """

    def renamed(say: Words, draft: Draft, chosen: str, *given: Any) -> tuple[Any, ...]:
        before = str(draft.values.get(NAME) or AUTO)
        draft = draft.with_value(NAME, None if chosen == AUTO else chosen)
        tokenizer = tokenizer_of(page, draft)
        if chosen == CUSTOM and not draft.values.get(SOURCE):
            draft = draft.with_value(SOURCE, resolve(before, tokenizer).source)
        return (draft, *description(say, draft, tokenizer), "", told(say, draft, *given))

    def copied_from(say: Words, draft: Draft, chosen: str, *given: Any) -> tuple[Any, ...]:
        draft = draft.with_value(SOURCE, resolve(chosen, tokenizer_of(page, draft)).source)
        return draft, gr.Code(draft.values[SOURCE]), gr.Dropdown(value=None), "", told(say, draft, *given)

    def resized(say: Words, draft: Draft, held: str, *given: Any) -> tuple[Any, ...]:
        setting = _setting(LENGTH)
        if held == form.text_of(setting, draft.values.get(LENGTH)):
            return gr.skip(), gr.skip(), gr.skip()
        draft = draft.with_value(LENGTH, form.typed(setting, held))
        fault = form.problems(draft, say("form.source_name")).get(LENGTH)
        said = views.field_problem(form.complaint(say, fault)) if fault else ""
        return draft, said, told(say, draft, *given)

    def set_to(key: str) -> Callable[..., tuple[Any, ...]]:
        def changed(say: Words, draft: Draft, value: Any, *given: Any) -> tuple[Any, ...]:
            draft = draft.with_value(key, None if value == _setting(key).default else value)
            return draft, told(say, draft, *given)

        return changed

    c, draft = controls, page.draft
    page.on(c.name.input, renamed, [c.name, *beside], [draft, *c.described, c.wrong, viewer], error=error)
    page.on(
        c.copied.input,
        copied_from,
        [c.copied, *beside],
        [draft, c.source, c.copied, c.wrong, viewer],
        error=error,
    )
    page.on(
        c.source.change,
        partial(written, page, told),
        [c.source, *beside],
        [draft, c.wrong, viewer, overview, c.about],
        error=error,
        latest=True,
    )
    page.on(
        c.length.change, resized, [c.length, *beside], [draft, c.problem, viewer], error=error, latest=True
    )
    for key, control in ((OVERLONG, c.overlong), *zip(MASKS, c.masks, strict=True)):
        page.on(control.input, set_to(key), [control, *beside], [draft, viewer], error=error)


def written(
    page: Page, told: Told, say: Words, draft: Draft, text: str, *given: Any
) -> Iterator[tuple[Any, ...]]:
    """One's own template as it is written: draft, what is wrong with it, the viewer, the set, and what it implies.

    What is wrong comes second and alone, as it may take seconds, in which other choices are made.
    """
    if not is_own(draft) or text == draft.values.get(SOURCE):
        yield tuple([gr.skip()] * 5)
        return
    draft = draft.with_value(SOURCE, text)
    yield draft, gr.skip(), told(say, draft, *given), set_views.waiting(say), gr.skip()
    problem = complaint(page, say, draft)
    if problem:
        key = row_view.settings_key(form.sound(draft).config(page.store))
        broken = set_views.of_settings(key, set_views.broken(say))
        yield gr.skip(), problem, gr.skip(), broken, about(say, draft, None)
    else:
        yield gr.skip(), "", gr.skip(), gr.skip(), gr.skip()


def values(say: Words, draft: Draft, tokenizer: Tokenizer | None, length: str) -> list[Any]:
    """What the controls hold, in the order of `Controls.filled`.

    `length` is what its field holds: where that is right it is left alone, as a person may be typing there by now.
    """
    offered = names(say, tokenizer)
    typed = form.text_of(_setting(LENGTH), draft.values.get(LENGTH))
    return [
        gr.Dropdown(
            choices=[*offered, (say("template.name.custom"), CUSTOM)], value=draft.values.get(NAME) or AUTO
        ),
        gr.Textbox(placeholder=say("form.auto"), **({} if typed == length else {"value": typed})),
        gr.Dropdown(value=draft.values.get(OVERLONG) or _setting(OVERLONG).default),
        *description(say, draft, tokenizer),
        gr.Dropdown(choices=offered, value=None),
        *(draft.values.get(key, _setting(key).default) for key in MASKS),
    ]


def names(say: Words, tokenizer: Tokenizer | None) -> list[tuple[str, str]]:
    """The templates that are there for a model, without one's own."""
    return [(say(f"template.name.{name}"), name) for name, _ in choices(tokenizer)]


def description(say: Words, draft: Draft, tokenizer: Tokenizer | None) -> tuple[Any, ...]:
    """What the chosen template means for the model, and the editor where it is one's own."""
    own = is_own(draft)
    editor = gr.Code(draft.values.get(SOURCE) or "") if own else gr.skip()
    return about(say, draft, tokenizer), gr.Column(visible=own), editor


def about(say: Words, draft: Draft, tokenizer: Tokenizer | None) -> str:
    """The template in a sentence, and what it implies for this model; without the latter while it is wrong."""
    name = str(draft.values.get(NAME) or AUTO)
    sentences = []
    if tokenizer is not None:
        with suppress(StudioError):
            sentences = explained(implications(name, tokenizer, draft.values.get(SOURCE)))
    listed = "".join(f"<li>{escape(say.text(sentence))}</li>" for sentence in sentences)
    sentence = escape(say.ui.get(f"template.about.{name}", ""))
    return f'<p class="about">{sentence}</p><ul class="implied">{listed}</ul>'


def complaint(page: Page, say: Words, draft: Draft) -> str:
    """What is wrong with one's own template when it writes the shown row; empty where nothing is."""
    try:
        row_view.fed(page, draft, None, draft.row)
    except StudioError as error:
        return views.field_problem(form.complaint(say, error))
    return ""


def is_own(draft: Draft) -> bool:
    return draft.values.get(NAME) == CUSTOM


def tokenizer_of(page: Page, draft: Draft) -> Tokenizer:
    """The tokenizer of the draft's model. StudioError where that is not on this machine."""
    config = form.sound(draft).config(page.store).model
    path = page.store.locate(config.id, revision=config.revision, download=False)
    return load_tokenizer(path)


def _choices_of(key: str) -> list[tuple[Any, str]]:
    return [(t(f"choice.{key}.{choice}"), choice) for choice in _setting(key).choices]


def _setting(key: str) -> Setting:
    section = key.partition(".")[0]
    return next(setting for setting in settings(section) if setting.key == key)
