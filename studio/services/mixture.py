"""What a run records of the general rows that are mixed into its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.domain.chat import Conversation
from studio.domain.config import RunConfig
from studio.engine import mixing
from studio.services.files import read_json

ORIGIN = ".origin.json"
"""Ends the name of the file that says how the rows of the file beside it came to be."""


def mixture_of(config: RunConfig, train: Sequence[Conversation]) -> dict[str, Any]:
    """Share, seed and counts, and which file the rows are from, with its hash and origin; {} without general rows."""
    general = sum(bool(row.source) for row in train)
    if not general:
        return {}
    path = config.data.general_path
    file = Path(path).expanduser() if path else mixing.SHIPPED
    return {
        "share": config.data.general_share,
        "seed": config.train.seed,
        "general": general,
        "own": len(train) - general,
        "source": str(file) if path else "shipped",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "origin": origin_of(file),
    }


def origin_of(file: Path) -> dict[str, Any] | None:
    """How the rows of a file were made, where the studio made them: said beside it, or by the dataset it belongs to."""
    beside = read_json(file.with_name(file.name + ORIGIN))
    if beside is not None:
        return beside
    for folder in (file.parent, file.parent.parent):  # repaired rows lie in a folder of their own
        dataset = read_json(folder / "dataset.json")
        if dataset is not None:
            origin: dict[str, Any] | None = dataset.get("origin")
            return origin
    return None
