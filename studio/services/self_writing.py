"""General rows written by a model itself: from its name to a dataset that says where its rows come from."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from studio.domain.config import TemplateConfig
from studio.domain.errors import StudioError
from studio.engine import dataset
from studio.engine.encode import encoder_for
from studio.engine.integrity import sha256
from studio.engine.model_files import weight_files
from studio.engine.self_written import Writing, Written, opening, write
from studio.engine.tokenizer import load_tokenizer
from studio.services import tasks
from studio.services.store import Store
from studio.services.subject import subject_of

Progress = Callable[[str, float, float], None]
MOST = 20_000
"""Rows that may be asked for at once."""


def start(
    store: Store,
    model: str,
    rows: int,
    *,
    revision: str | None = None,
    template: TemplateConfig,
    seed: int = 0,
) -> str:
    """Let the model write in a process of its own; returns the task's id.

    StudioError at once where the model is not on this machine, or its template opens no user's turn.
    """
    subject = subject_of(store, None, model, revision)
    opening(encoder_for(template, load_tokenizer(subject.folder)))
    request = {
        "model": model,
        "revision": revision,
        "template": template.model_dump(mode="json"),
        "rows": checked(rows),
        "seed": seed,
    }
    return tasks.start(store, "write", request)


def run(store: Store, request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write the rows of a request in this process and save them as a dataset; returns its id and the counts."""
    written, origin = written_by(
        store,
        request["model"],
        Writing(request["rows"], request["seed"]),
        revision=request["revision"],
        template=TemplateConfig(**request["template"]),
        progress=progress,
    )
    progress("saving", 0, 0)
    with tempfile.TemporaryDirectory(dir=store.tmp_dir) as scratch:
        file = Path(scratch) / f"written-by-{Path(request['model']).name}.jsonl"
        dataset.write_messages(written.conversations, file)
        entry = store.save_dataset(file, file.name, origin)
    return {"dataset": entry.id, **written.counts()}


def written_by(
    store: Store,
    model: str,
    writing: Writing,
    *,
    revision: str | None = None,
    template: TemplateConfig | None = None,
    progress: Progress = lambda phase, done, total: None,
) -> tuple[Written, dict[str, Any]]:
    """The rows, and where they come from: the model with its hashes, the template, the sampling, and the counts."""
    checked(writing.rows)
    subject = subject_of(store, None, model, revision)
    encoder = encoder_for(template or TemplateConfig(), load_tokenizer(subject.folder))
    opening(encoder)
    progress("loading", 0, 0)
    pair = subject.load()
    written = write(pair, encoder, writing, lambda done, total: progress("writing", done, total))
    origin = {
        "by": "model",
        "model": {
            "id": model,
            "revision": revision,
            "dtype": subject.dtype,
            "sha256": {file.name: sha256(file) for file in weight_files(subject.folder)},
        },
        "template": {
            "name": encoder.template.name,
            "sha256": hashlib.sha256(encoder.template.source.encode()).hexdigest(),
        },
        "sampling": writing.to_json(),
        "counts": written.counts(),
    }
    return written, origin


def checked(rows: int) -> int:
    """The number of rows, where it is one that can be asked for."""
    if not 1 <= rows <= MOST:
        raise StudioError(
            "{rows} rows cannot be written.",
            "Ask for a number from 1 to {most}.",
            rows=rows,
            most=MOST,
        )
    return rows
