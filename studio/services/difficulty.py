"""How much each prompt helps a model to foresee its response: from a file and a model to ratios and a finding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.domain.chat import Conversation
from studio.domain.config import TemplateConfig
from studio.domain.finding import Finding
from studio.engine import dataset
from studio.engine.difficulty import Difficulty, about_difficulty, difficulties
from studio.engine.encode import encoder_for
from studio.engine.tokenizer import load_tokenizer
from studio.services import tasks
from studio.services.store import Store
from studio.services.subject import subject_of

Progress = Callable[[str, float, float], None]


@dataclass(frozen=True)
class Measured:
    """Of each row that could be measured its difficulty, and the finding, if there is one."""

    rows: list[Difficulty]
    findings: list[Finding]

    def ratios(self) -> dict[int, float]:
        return {item.row: round(item.ratio, 4) for item in self.rows}


def start(
    store: Store,
    file: str,
    model: str,
    *,
    revision: str | None = None,
    template: TemplateConfig,
    **reading: Any,
) -> str:
    """Measure a file in a process of its own; returns the task's id. `reading`: format and columns of the file.

    StudioError at once where the model is not on this machine. The task's result has `ratios` by row, and `findings` as
    records.
    """
    subject_of(store, None, model, revision)
    asked = {"file": file, "model": model, "revision": revision, "template": template.model_dump(mode="json")}
    return tasks.start(store, "difficulty", {**asked, "reading": reading})


def run(store: Store, request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Do what a request asks, in this process."""
    rows = dataset.read(request["file"], **request["reading"]).conversations
    found = measured(
        store,
        rows,
        request["model"],
        revision=request["revision"],
        template=TemplateConfig(**request["template"]),
        progress=progress,
    )
    return {"ratios": found.ratios(), "findings": [item.to_record() for item in found.findings]}


def measured(
    store: Store,
    conversations: Sequence[Conversation],
    model: str,
    *,
    revision: str | None = None,
    template: TemplateConfig,
    progress: Progress = lambda phase, done, total: None,
) -> Measured:
    """Load the model into this process and measure the rows."""
    subject = subject_of(store, None, model, revision)
    encoder = encoder_for(template, load_tokenizer(subject.folder))
    progress("loading", 0, 0)
    pair = subject.load()
    rows = difficulties(pair, encoder, conversations, lambda done, total: progress("measuring", done, total))
    return Measured(rows, about_difficulty(rows, model))
