"""Template: any row exactly as it will be trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from studio.domain.config import Setting
from studio.domain.errors import StudioError
from studio.engine import models
from studio.engine.encode import encode
from studio.engine.templates import AUTO, choices, resolve
from studio.engine.tokenizer import Tokenizer, load_tokenizer
from studio.ui import form, token_views, views
from studio.ui.data_tab import examine
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page

LENGTH = "train.max_length"
NAME = "template.name"


def build(page: Page) -> None:
    with page.tab("template"):
        error = page.error_box()
        with gr.Column(elem_classes="surface"):
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
            problem = gr.HTML(elem_classes="field-problem", elem_id="template-problem")
        with gr.Row(elem_classes="row-nav"):
            previous = gr.Button(t("template.previous"), size="sm", elem_id="previous-row")
            number = gr.Textbox(
                show_label=False, container=False, elem_id="row-number", max_lines=1, min_width=72, scale=0
            )
            following = gr.Button(t("template.next"), size="sm", elem_id="next-row")
            position = gr.HTML(elem_classes="muted small", elem_id="row-position")
        with gr.Column(elem_classes="surface", elem_id="token-panel"):
            drawn = gr.HTML(elem_id="tokens", min_height=240)
        with gr.Accordion(t("template.rendered"), open=False, elem_classes="surface", elem_id="rendered"):
            text = gr.HTML()
        page.next_button("hyperparameters")

    preview = [number, position, drawn, text]

    def enter(say: Words, draft: Draft) -> Iterator[tuple[Any, ...]]:
        if not draft.dataset:
            nothing = views.empty(say("template.empty"), say("template.empty.next"))
            yield (*_controls(say, draft, None), "", "", nothing, "")
            return
        tokenizer = _tokenizer(page, draft)
        if waiting := page.probing(say):
            yield (*_controls(say, draft, tokenizer), "", "", waiting, "")
        yield (*_controls(say, draft, tokenizer), *_preview(page, say, draft, tokenizer))

    def turned(say: Words, draft: Draft, step: int) -> tuple[Any, ...]:
        total = len(examine(page.store, draft).dataset.conversations)
        draft = replace(draft, row=min(max(1, draft.row + step), total))
        return (draft, *_preview(page, say, draft, _tokenizer(page, draft)))

    def jumped(say: Words, draft: Draft, wanted: str) -> tuple[Any, ...]:
        conversations = examine(page.store, draft).dataset.conversations
        numbers = [conversation.row for conversation in conversations]
        if not wanted.strip().isdigit() or int(wanted) not in numbers:
            raise StudioError(
                "There is no row {row} to show: usable rows are {first} to {last}.",
                "Type one of their numbers.",
                row=wanted.strip() or "''",
                first=numbers[0],
                last=numbers[-1],
            )
        draft = replace(draft, row=numbers.index(int(wanted)) + 1)
        return (draft, *_preview(page, say, draft, _tokenizer(page, draft)))

    def renamed(say: Words, draft: Draft, chosen: str) -> tuple[Any, ...]:
        draft = draft.with_value(NAME, None if chosen == AUTO else chosen)
        return (draft, *_preview(page, say, draft, _tokenizer(page, draft)))

    def resized(say: Words, draft: Draft, held: str) -> tuple[Any, ...]:
        setting = _length_setting()
        if held == form.text_of(setting, draft.values.get(LENGTH)):
            return tuple([gr.skip()] * (len(preview) + 2))
        draft = draft.with_value(LENGTH, form.typed(setting, held))
        fault = form.problems(draft, say("form.source_name")).get(LENGTH)
        complaint = views.field_problem(form.complaint(say, fault)) if fault else ""
        return (draft, *_preview(page, say, draft, _tokenizer(page, draft)), complaint)

    page.on_enter("template", enter, [name, length, *preview], error=error)
    page.on(
        previous.click, lambda say, draft: turned(say, draft, -1), [], [page.draft, *preview], error=error
    )
    page.on(
        following.click, lambda say, draft: turned(say, draft, 1), [], [page.draft, *preview], error=error
    )
    page.on([number.submit], jumped, [number], [page.draft, *preview], error=error)
    page.on(name.input, renamed, [name], [page.draft, *preview], error=error)
    page.on(length.change, resized, [length], [page.draft, *preview, problem], error=error, latest=True)


def _length_setting() -> Setting:
    return next(setting for setting in form.form_settings() if setting.key == LENGTH)


def _tokenizer(page: Page, draft: Draft) -> Tokenizer:
    config = form.sound(draft).config(page.store).model
    path = models.locate(config.id, page.store.models_dir, revision=config.revision, download=False)
    return load_tokenizer(path)


def _controls(say: Words, draft: Draft, tokenizer: Tokenizer | None) -> tuple[Any, Any]:
    offered = [(say(f"template.name.{name}"), name) for name, _ in choices(tokenizer)]
    chosen = draft.values.get(NAME) or AUTO
    typed = form.text_of(_length_setting(), draft.values.get(LENGTH))
    return gr.Dropdown(choices=offered, value=chosen), gr.Textbox(value=typed, placeholder=say("form.auto"))


def _preview(page: Page, say: Words, draft: Draft, tokenizer: Tokenizer) -> tuple[str, str, str, str]:
    """Row number, its place among all, its tokens, its text."""
    conversations = examine(page.store, draft).dataset.conversations
    conversation = conversations[min(draft.row, len(conversations)) - 1]
    limit = _limit(page, draft)
    template = resolve(form.sound(draft).config(page.store).template.name, tokenizer)
    encoded = encode(conversation, template, tokenizer, limit)
    place = say("template.position", total=views.count(len(conversations)), length=views.count(limit))
    special = frozenset(tokenizer.special.values())
    return (
        str(conversation.row),
        escape(place),
        token_views.tokens(say, encoded, special),
        token_views.rendered(encoded),
    )


def _limit(page: Page, draft: Draft) -> int:
    """The maximum length: as typed, even where no run could be planned with it, or as recommended."""
    typed = form.sound(draft).values.get(LENGTH)
    if isinstance(typed, int):
        return typed
    recommended = form.planned(page.store, draft).config.train.max_length
    assert recommended is not None  # a plan leaves nothing open
    return recommended
