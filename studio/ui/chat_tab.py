"""Chat: the model before and after training answer the same prompt side by side, as it is written."""

from __future__ import annotations

import time
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, cast

import gradio as gr

from studio.domain.answer import SIDES, Answer, ChatSettings, Piece, Side
from studio.domain.chat import Conversation, Message
from studio.domain.errors import StudioError
from studio.domain.run import ALIVE, Run
from studio.ui import chat_views, run_views, views
from studio.ui.chat_views import Round
from studio.ui.i18n import Words, language_of, t, words
from studio.ui.live import LIVE
from studio.ui.page import Draft, Page

EVERY = 0.1
"""Seconds between two drawings of an answer that comes in."""
_DEFAULT = ChatSettings()
_FOLLOW = """
let rounds = 0;
new MutationObserver(() => {
  const now = element.querySelectorAll('.round');
  if (now.length > rounds) now[now.length - 1].scrollIntoView({block: 'nearest', behavior: 'smooth'});
  rounds = now.length;
}).observe(element, {childList: true, subtree: true});
"""


@dataclass(frozen=True)
class Talk:
    """What was said so far with the models of one run."""

    run: str = ""
    system: str = ""
    rounds: tuple[Round, ...] = ()
    token: str = ""
    """Of the answer that was asked for last."""


def build(page: Page) -> None:
    with page.tab("chat"):
        error = page.error_box()
        empty = gr.HTML(elem_id="chat-empty", visible=False)
        with gr.Column(elem_id="chat-body", visible=False) as body:
            with gr.Row(elem_classes="chat-head"):
                run = gr.Dropdown(
                    label=t("chat.run"),
                    choices=[],
                    elem_id="chat-run",
                    elem_classes="run-pick",
                    min_width=240,
                )
                clear = gr.Button(t("chat.clear"), size="sm", elem_id="chat-clear", scale=0, min_width=96)
            chips = gr.HTML(elem_id="chat-examples", js_on_load=views.CLICKS)
            view = gr.HTML(elem_id="talk", js_on_load=LIVE + _FOLLOW, min_height=240)
            with gr.Column(elem_classes="composer"), gr.Row(elem_classes="composer-row"):
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
                send = gr.Button(
                    t("chat.send"), variant="primary", elem_id="chat-send", scale=0, min_width=96
                )
                stop = gr.Button(
                    t("chat.stop"), variant="stop", elem_id="chat-stop", visible=False, scale=0, min_width=96
                )
            with gr.Accordion(
                t("chat.settings"), open=False, elem_classes="surface", elem_id="chat-settings"
            ):
                system = gr.Textbox(
                    label=t("chat.system"),
                    info=t("chat.system.info"),
                    lines=2,
                    max_lines=8,
                    elem_id="chat-system",
                )
                with gr.Row():
                    temperature = gr.Slider(
                        0,
                        2,
                        _DEFAULT.temperature,
                        step=0.05,
                        label=t("chat.temperature"),
                        info=t("chat.temperature.info"),
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
                    )
                    seed = gr.Number(
                        _DEFAULT.seed, label=t("chat.seed"), info=t("chat.seed.info"), precision=0, minimum=0
                    )
        page.next_button("evaluate")
        talk = gr.State(Talk())

    settings = [system, seed, temperature, top_p, most]
    shown = [view, prompt, send, stop, talk]
    whole = [page.draft, empty, body, run, chips, view, system, talk]

    def enter(say: Words, draft: Draft, last: Talk) -> tuple[Any, ...]:
        runs = usable(page)
        if not runs:
            hint = (
                "chat.none.training" if any(r.state in ALIVE for r in page.jobs.list()) else "chat.none.next"
            )
            text = views.empty(say("chat.none"), say(hint))
            return (gr.skip(), gr.HTML(text, visible=True), gr.Column(visible=False), *[gr.skip()] * 5)
        return opened(say, draft, last, runs, draft.run)

    def picked(say: Words, draft: Draft, run_id: str, last: Talk) -> tuple[Any, ...]:
        return opened(say, draft, last, usable(page), run_id)

    def opened(say: Words, draft: Draft, last: Talk, runs: list[Run], run_id: str) -> tuple[Any, ...]:
        """The tab for one run; what was said with it already stays."""
        names = [run_views.choice(r) for r in runs]
        run_id = run_id if run_id in [r.id for r in runs] else runs[0].id
        rows = page.jobs.held_out(run_id)
        fresh = last if last.run == run_id else Talk(run_id)
        return (
            replace(draft, run=run_id),
            gr.HTML(visible=False),
            gr.Column(visible=True),
            gr.Dropdown(choices=names, value=run_id),
            chat_views.example_chips(say, chat_views.examples(rows)),
            chat_views.talk(say, fresh.rounds),
            gr.skip() if last.run == run_id else chat_views.shared_system(rows),
            fresh,
        )

    def sent(
        say: Words, draft: Draft, run_id: str, text: str, last: Talk, system: str, *given: float
    ) -> Iterator[tuple[Any, ...]]:
        if not text.strip():
            return
        said = Talk(run_id, system, (*last.rounds, Round(text.strip())))
        yield from answered(say, said, _settings(*given))

    def example(
        say: Words, draft: Draft, event: gr.EventData, run_id: str, system: str, *given: float
    ) -> Iterator[tuple[Any, ...]]:
        rows = page.jobs.held_out(run_id)
        asked = _example(rows, str(event._data.get("row")))
        system = _system(rows, asked, system)
        said = Talk(run_id, system, (Round(asked.prompt, asked.expected),))
        for update in answered(say, said, _settings(*given)):
            yield (*update, system)

    def answered(say: Words, said: Talk, how: ChatSettings) -> Iterator[tuple[Any, ...]]:
        """Both answers as they come: the prompt is taken out of its field, and Stop stands in the place of Send."""
        said = replace(said, token=uuid.uuid4().hex)
        phase = "" if page.chat.loaded == said.run else "loading"
        yield (
            chat_views.talk(say, said.rounds, phase),
            "",
            gr.Button(visible=False),
            gr.Button(visible=True),
            said,
        )
        for so_far, phase in _streamed(page, said, how):
            yield chat_views.talk(say, so_far.rounds, phase), gr.skip(), gr.skip(), gr.skip(), so_far

    def settled(text: str, last: Talk, request: gr.Request) -> tuple[Any, ...]:
        """After the last word, or a failure: a prompt that got no answer goes back into its field."""
        kept, given_back = _settled(last)
        field = given_back if given_back and not text else gr.skip()
        drawn = chat_views.talk(words(language_of(request)), kept.rounds)
        return drawn, field, gr.Button(visible=True), gr.Button(visible=False), kept

    def stopped(say: Words, draft: Draft, last: Talk) -> None:
        page.chat.stop(last.token)

    def cleared(say: Words, draft: Draft, last: Talk) -> tuple[Any, ...]:
        return chat_views.talk(say, ()), Talk(last.run)

    page.on_enter("chat", enter, whole, inputs=[talk], error=error)
    page.on(run.input, picked, [run, talk], whole, error=error)
    for done in (
        page.on([send.click, prompt.submit], sent, [run, prompt, talk, *settings], shown, error=error),
        page.on(chips.click, example, [run, *settings], [*shown, system], error=error, event=True),
    ):
        done.then(settled, [prompt, talk], shown, api_visibility="private", show_progress="hidden")
    page.on(stop.click, stopped, [talk], [], error=error)
    page.on(clear.click, cleared, [talk], [view, talk], error=error)


def usable(page: Page) -> list[Run]:
    """Runs with something to talk to, the newest first."""
    from studio.services.trained import read_trained

    found = []
    for run in page.jobs.list():
        if run.state in ALIVE:
            continue
        try:
            read_trained(page.jobs.files(run.id))
        except StudioError:
            continue
        found.append(run)
    return found


def _settings(seed: float | None, temperature: float, top_p: float, most: float) -> ChatSettings:
    return ChatSettings(int(seed or 0), float(temperature), float(top_p), int(most))


def _example(rows: Sequence[Conversation], row: str) -> chat_views.Example:
    for found in chat_views.examples(rows):
        if str(found.row) == row:
            return found
    raise StudioError("There is no example {row}.", "Choose one of those shown.", row=row)


def _system(rows: Sequence[Conversation], asked: chat_views.Example, field: str) -> str:
    """The system message that an example is asked with; the field shows it from then on.

    One that all rows share stands in the field already, or was taken out of it on purpose.
    """
    return field if chat_views.shared_system(rows) else asked.system or field


def _streamed(page: Page, said: Talk, how: ChatSettings) -> Iterator[tuple[Talk, str]]:
    """The talk as it grows, with what is waited for, not more often than it can be drawn."""
    drawn = time.monotonic()
    asked: dict[Side, list[Message]] = {
        side: chat_views.history(said.rounds, side, said.system) for side in SIDES
    }
    answering = page.chat.answer(said.run, asked, how, token=said.token)
    with closing(cast("Generator[Piece, None, None]", answering)) as pieces:
        for piece in pieces:
            said = _with(said, piece)
            if piece.phase or time.monotonic() - drawn >= EVERY:
                yield said, piece.phase
                drawn = time.monotonic()
    yield said, ""


def _with(said: Talk, piece: Piece) -> Talk:
    if piece.side == "":
        return said
    *earlier, turn = said.rounds
    answer = turn.answers.get(piece.side, Answer()).plus(piece)
    return replace(said, rounds=(*earlier, replace(turn, answers={**turn.answers, piece.side: answer})))


def _settled(said: Talk) -> tuple[Talk, str]:
    """The talk without a last round that nothing came of, and that round's prompt; half an answer counts as stopped."""
    if not said.rounds:
        return said, ""
    *earlier, turn = said.rounds
    if not any(answer.text or answer.done for answer in turn.answers.values()):
        return replace(said, rounds=tuple(earlier)), turn.prompt
    answers = {side: turn.answers.get(side, Answer()) for side in SIDES}
    ended = {
        side: answer if answer.done else replace(answer, stop_reason="stopped")
        for side, answer in answers.items()
    }
    return replace(said, rounds=(*earlier, replace(turn, answers=ended))), ""
