"""The datasets that are shipped: what the page offers, and how one becomes a dataset of the home."""

from __future__ import annotations

import filecmp
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from studio.domain.errors import StudioError
from studio.engine.assets import ASSETS

if TYPE_CHECKING:
    from studio.services.store import DatasetEntry, Store

FOLDER = ASSETS / "samples"
_PREFIX = "sample:"


@dataclass(frozen=True)
class Sample:
    id: str
    title: str
    description: str
    path: Path
    held_out: Path | None
    rows: int

    @property
    def held_out_key(self) -> str:
        """How a draft names this sample's held-out rows: never by a path, as drafts come from a browser."""
        return f"{_PREFIX}{self.id}" if self.held_out else ""


@lru_cache(maxsize=1)
def samples() -> tuple[Sample, ...]:
    entries = json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))
    return tuple(
        Sample(
            entry["id"],
            entry["title"],
            entry["description"],
            FOLDER / entry["file"],
            FOLDER / entry["heldout"] if entry.get("heldout") else None,
            entry["rows"],
        )
        for entry in entries
    )


def sample(sample_id: str) -> Sample:
    for found in samples():
        if found.id == sample_id:
            return found
    raise StudioError("There is no sample {sample}.", "Choose one of those shown.", sample=sample_id)


def keep(chosen: Sample, store: Store) -> DatasetEntry:
    """The sample as a dataset of the home; made once, however often it is chosen."""
    for entry in store.datasets():
        if entry.name == chosen.path.name and filecmp.cmp(entry.original, chosen.path, shallow=False):
            return entry
    return store.save_dataset(chosen.path, chosen.path.name)


def held_out_path(key: str, store: Store) -> Path | None:
    """The file that a draft's held-out choice names: a sample's, a dataset's, or none."""
    if not key:
        return None
    if key.startswith(_PREFIX):
        return sample(key.removeprefix(_PREFIX)).held_out
    return store.dataset(key).path
