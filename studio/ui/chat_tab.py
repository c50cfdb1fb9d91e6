"""Chat: the models before and after training answer the same message side by side, as it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.domain.answer import SIDES, ChatSettings
from studio.domain.beside import MOST_SIDES
from studio.engine.assets import ASSETS
from studio.ui import talk_list, views
from studio.ui.chat_acts import ChatActs
from studio.ui.chat_desk import Desk
from studio.ui.i18n import Words, t
from studio.ui.live import LIVE, SAVE
from studio.ui.page import Draft, Page

_DEFAULT = ChatSettings()
EVERY = 3.0
"""Seconds after which a tab without a model looks whether a run has trained one."""
_SCRIPT = LIVE + (ASSETS / "chat.js").read_text(encoding="utf-8")
_TO_FIELD = """() => {
  if (document.querySelector('#chat-note .do-cancel')) document.querySelector('#chat-prompt textarea').focus();
}"""
"""Where something is written anew, it is in the field: there the caret goes."""


@dataclass(frozen=True)
class _Composer:
    """Where a message is written, and what is said about it."""

    note: gr.HTML
    prompt: gr.Textbox
    send: gr.Button
    stop: gr.Button


def build(page: Page) -> None:
    with page.tab("chat"):
        error = page.error_box()
        empty = gr.HTML(elem_id="chat-empty", visible=False)
        with gr.Column(elem_id="chat-body", visible=False) as body:
            run, beside, new = _head()
            with gr.Accordion(t("chat.kept"), open=False, elem_classes="surface", elem_id="chat-kept"):
                kept = gr.HTML(elem_id="talks", js_on_load=LIVE + talk_list.RENAMING)
            chips = gr.HTML(elem_id="chat-examples", js_on_load=views.CLICKS)
            view = gr.HTML(elem_id="talk", js_on_load=_SCRIPT, min_height=240)
            composer = _composer()
            with gr.Accordion(
                t("chat.settings"), open=False, elem_classes="surface", elem_id="chat-settings"
            ):
                settings = _settings()
        page.next_button("evaluate")
        desk, asked = gr.State(Desk()), gr.State(talk_list.Asked())
        download = gr.DownloadButton(visible="hidden")
        waiting = gr.Timer(EVERY, active=False)

    acts = ChatActs(page)
    shown = [page.draft, view, composer.note, composer.prompt, composer.send, composer.stop, kept, desk]
    whole = [empty, body, run, beside, chips, *settings, *shown]

    def entered(say: Words, draft: Draft, *given: Any) -> tuple[Any, ...]:
        return (*acts.enter(say, draft, *given), gr.Timer(active=acts.waits()))

    page.on_enter("chat", entered, [*whole, waiting], inputs=[desk, beside], error=error)
    page.on(waiting.tick, entered, [desk, beside], [*whole, waiting], error=error)
    page.on(run.input, acts.picked, [run], whole, error=error)
    page.on(new.click, acts.picked, [run], whole, error=error)
    page.on(composer.stop.click, acts.stopped, [desk], [], error=error)
    said = [desk, beside, composer.prompt, *settings]
    answers = [
        page.on([composer.send.click, composer.prompt.submit], acts.sent, said, shown, error=error),
        page.on(chips.click, acts.example, said, [*shown, settings[0]], error=error, event=True),
        page.on(
            [view.click, composer.note.click], acts.acted, said, [*shown, page.tabs], error=error, event=True
        ),
    ]
    for answer in answers:
        drawn = answer.then(
            acts.settled,
            [page.draft, desk, composer.prompt],
            shown,
            api_visibility="private",
            show_progress="hidden",
        )
        drawn.then(None, None, None, js=_TO_FIELD, api_visibility="private", show_progress="hidden")
    listed = page.on(
        kept.click, acts.listed, [desk, asked], [download, asked, *whole], error=error, event=True
    )
    listed.then(None, download, None, js=SAVE, api_visibility="private", show_progress="hidden")


def _head() -> tuple[gr.Dropdown, gr.Dropdown, gr.Button]:
    with gr.Row(elem_classes="chat-head"):
        run = gr.Dropdown(
            label=t("chat.run"), choices=[], elem_id="chat-run", elem_classes="run-pick", min_width=240
        )
        beside = gr.Dropdown(
            label=t("chat.beside"),
            choices=[],
            multiselect=True,
            max_choices=MOST_SIDES - len(SIDES),
            elem_id="chat-beside",
            elem_classes="run-pick",
            min_width=240,
        )
        new = gr.Button(t("chat.new"), size="sm", elem_id="chat-new", scale=0, min_width=120)
    return run, beside, new


def _composer() -> _Composer:
    with gr.Column(elem_classes="composer"):
        note = gr.HTML(elem_id="chat-note", js_on_load=views.CLICKS)
        with gr.Row(elem_classes="composer-row"):
            prompt = gr.Textbox(
                show_label=False,
                label=t("chat.prompt"),
                placeholder=t("chat.prompt.hint"),
                lines=1,
                max_lines=8,
                elem_id="chat-prompt",
                container=False,
                scale=1,
            )
            send = gr.Button(t("chat.send"), variant="primary", elem_id="chat-send", scale=0, min_width=96)
            stop = gr.Button(
                t("chat.stop"), variant="stop", elem_id="chat-stop", visible=False, scale=0, min_width=96
            )
    return _Composer(note, prompt, send, stop)


def _settings() -> list[Any]:
    """System message, seed, temperature, top-p, most new tokens: as `ChatActs` takes them."""
    system = gr.Textbox(
        label=t("chat.system"), info=t("chat.system.info"), lines=2, max_lines=8, elem_id="chat-system"
    )
    with gr.Row():
        temperature = gr.Slider(
            0,
            2,
            _DEFAULT.temperature,
            step=0.05,
            label=t("chat.temperature"),
            info=t("chat.temperature.info"),
            elem_id="chat-temperature",
        )
        top_p = gr.Slider(
            0.05, 1, _DEFAULT.top_p, step=0.05, label=t("chat.top_p"), info=t("chat.top_p.info")
        )
    with gr.Row():
        most = gr.Slider(
            1,
            1024,
            _DEFAULT.max_new_tokens,
            step=1,
            label=t("chat.most"),
            info=t("chat.most.info"),
            elem_id="chat-most",
        )
        seed = gr.Number(
            _DEFAULT.seed, label=t("chat.seed"), info=t("chat.seed.info"), precision=0, minimum=0
        )
    return [system, seed, temperature, top_p, most]
