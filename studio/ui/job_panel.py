"""The run that the form describes as a job file for Slurm or SkyPilot, to download and submit by hand."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from studio.domain.errors import StudioError
from studio.services.job_files import NAMES, Room, job_file
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page

_FIELDS = {"gpus": "1", "cores": "8", "hours": "24"}
"""What is asked for in numbers, and what stands there at first."""


def build(page: Page, error: gr.HTML) -> None:
    with gr.Accordion(t("job.accordion"), open=False, elem_classes="surface", elem_id="job-file"):
        gr.HTML(t("job.about"), elem_classes="muted")
        with gr.Column(elem_classes="fields"):
            scheduler = gr.Radio(
                [("Slurm", "slurm"), ("SkyPilot", "skypilot")],
                value="slurm",
                label=t("job.for"),
                elem_id="job-for",
            )
            numbers = [
                gr.Textbox(value=first, label=t(f"job.{name}"), min_width=120, elem_id=f"job-{name}")
                for name, first in _FIELDS.items()
            ]
            kind = gr.Textbox(label=t("job.gpu"), info=t("job.gpu.info"), elem_id="job-gpu")
        with gr.Row(elem_classes="actions"):
            write = gr.Button(t("job.write"), elem_id="job-write")
            download = gr.DownloadButton(t("job.download"), visible=False, elem_id="job-download")
        shown = gr.HTML(elem_id="job-text")

    def written(say: Words, draft: Draft, scheduler: Any, kind: str, *numbers: str) -> tuple[Any, ...]:
        counts = {name: _whole(name, text) for name, text in zip(_FIELDS, numbers, strict=True)}
        text = job_file(draft.config(page.store), scheduler, Room(gpu=kind.strip(), **counts))
        file = page.downloads(page.store.tmp_dir) / NAMES[scheduler]
        file.write_text(text, encoding="utf-8", newline="\n")
        return gr.DownloadButton(visible=True, value=str(file)), f'<pre class="code">{escape(text)}</pre>'

    page.on(write.click, written, [scheduler, kind, *numbers], [download, shown], error=error)


def _whole(name: str, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < (0 if name == "gpus" else 1):
        raise StudioError(
            "{text} is no number of {name}.", "Write a whole number.", text=repr(text), name=name
        )
    return number
