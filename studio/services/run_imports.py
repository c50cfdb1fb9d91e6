"""Runs of another machine, from a folder or an archive: taken over in the background.

Their rows, template and base are checked by the hashes in the run, which tell damage, not who made it.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.domain.errors import StudioError
from studio.engine.archives import DAMAGE, Bounds
from studio.services import tasks
from studio.services.files import explained
from studio.services.receipts import import_run
from studio.services.store import Store
from studio.services.surveys import Progress

_MOST_FILES = 10_000
_BOUNDS = Bounds()
_MARGIN = 64 << 20
"""Bytes left free on the disk beyond what is unpacked."""


def start(store: Store, source: str, base: str = "") -> str:
    """Import in a process of its own; returns the task's id, whose result has the `run`."""
    if not source:
        raise StudioError("No run is given.", "Choose the zip archive of a run, or name its folder.")
    if not Path(source).expanduser().exists():
        raise StudioError("There is no file or folder {path}.", "Check the spelling.", path=source)
    if tasks.running(store, "import") is not None:
        raise StudioError("A run is just being imported.", "Wait until it is here, or cancel it.")
    return tasks.start(store, "import", {"source": source, "base": base})


def run(store: Store, request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Do what a request asks, in this process."""
    base = Path(request["base"]) if request["base"] else None
    return {"run": take_over(store, Path(request["source"]).expanduser(), base, progress)}


def take_over(store: Store, source: Path, base: Path | None, progress: Progress) -> str:
    """Import the run in a folder or zip archive; returns its id. StudioError where it is none, or not as it was."""
    if not source.is_file():
        progress("checking", 0, 0)
        return import_run(store, _run_in(source, str(source)), base)
    with tempfile.TemporaryDirectory(dir=store.tmp_dir, prefix="import-") as scratch:
        _unpack(source, Path(scratch), progress)
        progress("checking", 0, 0)
        return import_run(store, _run_in(Path(scratch), source.name), base)


def _run_in(folder: Path, name: str) -> Path:
    """The run's folder: this one, or the only one in it."""
    found = sorted({file.parent for pattern in ("run.json", "*/run.json") for file in folder.glob(pattern)})
    if len(found) != 1:
        raise StudioError(
            "{name} holds {count} runs.",
            "Give the folder of one run, the one with run.json in it, or an archive of it.",
            name=name,
            count=len(found),
        )
    return found[0]


def _unpack(source: Path, folder: Path, progress: Progress) -> None:
    """Write an archive's files to `folder`; Python's zipfile lets none of their names lead out of it."""
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            packed = sum(member.compress_size for member in members)
            _check_size(source.name, folder, len(members), total, packed)
            done = 0
            for member in members:
                progress("unpacking", done, total)
                with explained(folder):
                    archive.extract(member, folder)
                done += member.file_size
    except (*DAMAGE, RuntimeError) as error:  # RuntimeError: locked with a password
        raise StudioError(
            "{file} cannot be unpacked: {problem}.",
            "Give a zip archive of the run's folder, without a password.",
            file=source.name,
            problem=str(error).rstrip("."),
        ) from error


def _check_size(name: str, folder: Path, files: int, total: int, packed: int) -> None:
    """What the archive says of its files holds: none of them is unpacked further."""
    if files > _MOST_FILES:
        raise StudioError(
            "{file} holds more than {most} files.", "It is no run's folder.", file=name, most=_MOST_FILES
        )
    if total > _BOUNDS.free and total > _BOUNDS.ratio * packed:
        raise StudioError(
            "{file} unpacks to more than {limit} MB, which no run of its size does.",
            "Pack the run's folder again.",
            file=name,
            limit=_BOUNDS.ratio * packed // 10**6,
        )
    free = shutil.disk_usage(folder).free
    if total + _MARGIN > free:
        raise StudioError(
            "{file} needs {needed} MB and {free} MB are free.",
            "Free some space (old runs and exports are the largest).",
            file=name,
            needed=(total + _MARGIN) // 10**6,
            free=free // 10**6,
        )
