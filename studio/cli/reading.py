"""The file that a verb is about: read into memory, or where it is large surveyed, with a line on how far that is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from studio.cli import parsing
from studio.cli.progress import shown_progress
from studio.services.store import Store

if TYPE_CHECKING:
    from studio.engine.checks import Report
    from studio.engine.dataset import Dataset


def read_or_survey(options: argparse.Namespace, store: Store) -> tuple[Dataset, Report | None]:
    """The file as read, and of a large one, which is surveyed, the report of the checks."""
    from studio.engine import dataset
    from studio.services import surveys

    path, how = Path(options.file).expanduser(), parsing.reading(options)
    source = parsing.source(options)
    ray: int | None = getattr(options, "ray", None)
    if isinstance(source, list) or not (ray or surveys.is_large(path)):
        return dataset.read(source, **how), None
    with shown_progress() as progress:
        found = surveys.made(store, path, **how, progress=progress, ray=ray)
    return surveys.as_dataset(found, path), found.report
