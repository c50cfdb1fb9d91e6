"""The part of the Export tab where a run's model is served: one button, then the address and how to ask it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import gradio as gr

from studio.domain.chat import Message
from studio.services import endpoint_servers, endpoints
from studio.ui import serve_views
from studio.ui.i18n import Words, t
from studio.ui.live import LIVE
from studio.ui.page import Draft, Page
from studio.ui.training_tab import LOOKED

EVERY, AT_REST = 1.0, 5.0
"""Seconds from look to look while it comes up, and while it serves."""


def build(page: Page, run: gr.Dropdown, error: gr.HTML) -> None:
    """The panel for the run that `run` holds."""
    with gr.Column(elem_classes="surface", elem_id="serve", visible=False) as panel:
        gr.HTML(t("serve.title"), elem_classes="section-title")
        gr.HTML(t("serve.about"), elem_classes="muted")
        server = gr.Radio(
            [(t(f"serve.server.{name}"), name) for name in endpoint_servers.SERVERS],
            value="transformers",
            label=t("serve.server"),
            visible=endpoint_servers.is_there("vllm"),
            elem_id="serve-server",
        )
        told = gr.HTML(elem_id="serve-told", js_on_load=LIVE)
        with gr.Row(elem_classes="actions"):
            start = gr.Button(t("serve.start"), elem_id="serve-start")
            stop = gr.Button(t("serve.stop"), visible=False, elem_id="serve-stop")
        timer = gr.Timer(EVERY, active=False)
        drawn = gr.State("")
        looked = gr.JSON(visible=False)
    watched = [panel, start, stop, told, timer, drawn]

    def watching(say: Words, draft: Draft, last: str, run_id: str | None) -> tuple[Any, ...]:
        """In the order of `watched`."""
        found = endpoints.status(page.store, run_id) if run_id else None
        busy = found is not None and found.at_work
        shown = serve_views.endpoint(say, found, _asking(page, run_id) if busy else ())
        return (
            gr.Column(visible=bool(run_id)),
            gr.Button(visible=not busy),
            gr.Button(visible=busy),
            shown if shown != last else gr.skip(),
            gr.Timer(AT_REST if found and found.state == "serving" else EVERY, active=busy),
            shown,
        )

    def started(say: Words, draft: Draft, last: str, run_id: str, by: str) -> tuple[Any, ...]:
        page.chat.close_if_idle()  # two copies of the model may not fit
        endpoints.start(page.store, run_id, server="vllm" if by == "vllm" else "transformers")
        return watching(say, draft, last, run_id)

    def stopped(say: Words, draft: Draft, last: str, run_id: str) -> tuple[Any, ...]:
        endpoints.stop(page.store, run_id)
        return watching(say, draft, last, run_id)

    def tick(say: Words, draft: Draft, last: str, looked: dict[str, bool], run_id: str) -> tuple[Any, ...]:
        if not looked["tab"]:
            return (*[gr.skip()] * 4, gr.Timer(active=False), gr.skip())
        return watching(say, draft, last, run_id)

    page.on_enter("export", watching, watched, inputs=[drawn, run], error=error)
    page.on(run.change, watching, [drawn, run], watched, error=error)
    page.on(start.click, started, [drawn, run, server], watched, error=error)
    page.on(stop.click, stopped, [drawn, run], watched, error=error)
    page.on(
        timer.tick,
        tick,
        [drawn, looked, run],
        watched,
        error=error,
        js=LOOKED % "export",
    )


def _asking(page: Page, run_id: str | None) -> Sequence[Message]:
    """What a row of the run asks, up to the first answer."""
    row = page.jobs.files(run_id).first_row() if run_id else None
    return [*takewhile(lambda message: message.role != "assistant", row.messages)] if row else ()
