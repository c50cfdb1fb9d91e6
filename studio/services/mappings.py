"""Which column is which, as a person said it once: kept for further files with the same columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studio.services.files import read_json, write_json
from studio.services.store import Store

_KEPT = 200
"""Mappings, the newest ones."""


def remember(store: Store, columns: Sequence[str], mapping: Mapping[str, str]) -> None:
    """Keep what was said about files with these columns."""
    others = [item for item in _known(store) if item["columns"] != sorted(columns)]
    known = [*others, {"columns": sorted(columns), "mapping": dict(mapping)}]
    write_json(store.mappings_file, {"mappings": known[-_KEPT:]})


def remembered(store: Store, columns: Sequence[str]) -> dict[str, str] | None:
    """What was said about files with exactly these columns, whatever their order."""
    return next((item["mapping"] for item in _known(store) if item["columns"] == sorted(columns)), None)


def _known(store: Store) -> list[dict[str, Any]]:
    return (read_json(store.mappings_file) or {}).get("mappings", [])
