"""How much each prompt helps a model to foresee its response: from a file and a model to ratios and a finding."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.domain.chat import Conversation
from studio.domain.config import TemplateConfig
from studio.domain.finding import Finding
from studio.engine import dataset
from studio.engine.difficulty import Difficulty, about_difficulty, difficulties
from studio.engine.encode import encoder_for
from studio.engine.tokenizer import load_tokenizer
from studio.services import tasks
from studio.services.files import read_json, write_json
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
    dataset: str = "",
    **reading: Any,
) -> str:
    """Measure a file in a process of its own; returns the task's id. `reading`: format and columns of the file.

    StudioError at once where the model is not on this machine. The task's result has `ratios` by row, and `findings` as
    records; where the file holds the rows of a `dataset`, what was measured is kept with it.
    """
    subject_of(store, None, model, revision)
    asked = {"file": file, "model": model, "revision": revision, "template": template.model_dump(mode="json")}
    return tasks.start(store, "difficulty", {**asked, "dataset": dataset, "reading": reading})


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
    if request["dataset"]:
        _keep(store, request["dataset"], request["model"], rows, found.rows)
    return {"ratios": found.ratios(), "findings": [item.to_record() for item in found.findings]}


def kept_file(store: Store, dataset_id: str) -> Path:
    """What was measured of a dataset's rows, by what they say: it holds whatever becomes of other rows."""
    return store.dataset(dataset_id).original.parent / "difficulty.json"


def known(store: Store, dataset_id: str, conversations: Sequence[Conversation]) -> list[Finding]:
    """What is known of a dataset's rows as they are now, from when they were measured last."""
    kept = read_json(kept_file(store, dataset_id))
    if kept is None:
        return []
    losses = ((row.row, kept["losses"].get(_key(row))) for row in conversations)
    return about_difficulty([Difficulty(row, *pair) for row, pair in losses if pair], kept["model"])


def _keep(
    store: Store, dataset_id: str, model: str, rows: Sequence[Conversation], found: Sequence[Difficulty]
) -> None:
    measured = {item.row: [item.given_prompt, item.alone] for item in found}
    losses = {_key(row): measured[row.row] for row in rows if row.row in measured}
    write_json(kept_file(store, dataset_id), {"schema": 1, "model": model, "losses": losses})


def _key(row: Conversation) -> str:
    said = json.dumps(row.to_json(), sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:24]


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
