"""Datasets of the home as something to choose: by name and day, and those alone that can be used for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from studio.domain.errors import StudioError
from studio.services import uploads
from studio.services.store import DatasetEntry, Store

Choices = list[tuple[str, str]]


def named(entries: Sequence[DatasetEntry]) -> Choices:
    """What each dataset is called, and its id."""
    return list(zip(told_apart(entries), (entry.id for entry in entries), strict=True))


def told_apart(entries: Sequence[DatasetEntry]) -> list[str]:
    """Each dataset by its name and day; those that share both by the time, too."""
    days = [f"{entry.name} · {entry.created[:10]}" for entry in entries]
    return [
        f"{day} {entry.created[11:19]}" if days.count(day) > 1 else day
        for day, entry in zip(days, entries, strict=True)
    ]


def others(store: Store, dataset: str) -> Choices:
    """The datasets but for one."""
    return named([entry for entry in store.datasets() if entry.id != dataset])


def readable_others(store: Store, dataset: str, chosen: str) -> Choices:
    """Those of them whose columns are known by name, and the one that is chosen: where a set is added to one's own,
    nobody maps any by hand."""
    fitting = [entry for entry in store.datasets() if entry.id == chosen or _is_readable(entry.path)]
    return named([entry for entry in fitting if entry.id != dataset])


def _is_readable(path: Path) -> bool:
    try:
        return _recognised(path, path.stat().st_mtime_ns)
    except (OSError, StudioError):
        return False


@lru_cache(maxsize=1_000)
def _recognised(path: Path, changed: int) -> bool:
    try:
        return uploads.glance(path).recognised
    except StudioError:
        return False
