"""The home looked through: what a crash left behind, what is damaged, and what takes how much room."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from itertools import pairwise
from pathlib import Path

from studio.domain.errors import StudioError
from studio.domain.run import ALIVE
from studio.domain.text import Text
from studio.engine import integrity
from studio.services import log, process
from studio.services.files import explained, read_json
from studio.services.jobs import Jobs
from studio.services.run_files import RunFiles
from studio.services.store import Store

_QUIET = 3600.0
"""Seconds for which nothing has to have changed in what is taken for left behind."""
_ASIDE = "set-aside"


@dataclass(frozen=True)
class Flaw:
    """Something in the home that is not as it should be."""

    kind: str
    path: Path
    message: Text
    remedy: Text
    mend: Callable[[], None] | None = None
    """What `--repair` does; None where only a person can decide."""


def flaws(store: Store) -> list[Flaw]:
    """All that is wrong in a home, its users' homes included. Nothing is changed; checkpoints are read to the end."""
    found = list(_models(store))
    for each in store.everybodys().values():
        for look in (_runs, _datasets, _talks, _leftovers):
            found += look(each)
    return found


def repair(found: list[Flaw]) -> list[Flaw]:
    """Mend what can be mended; returns it. What may hold somebody's work is set aside, never removed."""
    mended = []
    for flaw in found:
        if flaw.mend is not None:
            with explained(flaw.path):
                flaw.mend()
            mended.append(flaw)
    return mended


# ---- runs -----------------------------------------------------------------------------------------------------------


def _runs(store: Store) -> Iterator[Flaw]:
    for folder in _folders(store.runs_dir):
        files = RunFiles(folder)
        if not (folder / "run.json").is_file():
            if _is_quiet(folder):
                yield _half_made(store, folder)
            continue
        try:
            files.given_config()
        except StudioError as error:
            yield Flaw("unreadable_run", folder, error.text, error.remedy_text)
            continue
        yield from _run(store, files)


def _run(store: Store, files: RunFiles) -> Iterator[Flaw]:
    try:
        read_json(files.folder / "state.json")
    except StudioError as error:
        yield Flaw(
            "unreadable_state",
            files.folder / "state.json",
            error.text,
            Text("Repair sets the file aside; the run counts as interrupted then, and can be resumed."),
            partial(_set_aside, store, files.folder / "state.json"),
        )
        return
    state = files.state()
    works = process.is_alive(state.pid, state.started)
    if state.state in ALIVE and not works and _is_quiet(files.folder / "state.json", 60):
        yield Flaw(
            "lost_process",
            files.folder,
            Text("{run} is {state}, but its process is gone.", {"run": files.id, "state": state.state}),
            Text("Repair marks it as interrupted; it can be resumed then."),
            lambda: _reconciled(store),
        )
    if state.state == "finished" and not files.has_result():
        yield Flaw(
            "no_result",
            files.folder,
            Text("{run} is finished, but its result is not there.", {"run": files.id}),
            Text("Restore its folder from a copy, or delete the run."),
        )
    if gap := _gap(files):
        yield Flaw(
            "events_missing",
            files.events,
            Text(
                "Of the events of {run}, those after number {number} are missing.",
                {"run": files.id, "number": gap},
            ),
            Text("The curves have a gap there; nothing else depends on it."),
        )
    yield from _checkpoints(store, files, works)
    if not works:
        for left in (files.reserve, files.stop_request, files.meetings):
            if left.exists() and _is_quiet(left):
                yield _left_behind(left)


def _checkpoints(store: Store, files: RunFiles, works: bool) -> Iterator[Flaw]:
    for folder in _folders(files.checkpoints):
        if folder.name.startswith("."):
            if not works and _is_quiet(folder):
                yield _left_behind(folder)
            continue
        marker = integrity.BEST if folder.name.startswith("best-") else integrity.CHECKPOINT
        if folder.name.startswith(("damaged-", "diverged-")):
            continue  # known, and said in an event of its run
        try:
            integrity.verify(folder, marker)
        except integrity.Damaged as problem:
            if works and not folder.exists():
                continue  # an old one that the run itself has just removed
            yield Flaw(
                "damaged_checkpoint",
                folder,
                Text(
                    "{checkpoint} of {run} is not as it was written ({file}).",
                    {"checkpoint": folder.name, "run": files.id, "file": problem.file},
                ),
                Text("Repair sets it aside; the run goes on from the one before it. Check the disk."),
                None if works else partial(_set_aside, store, folder),
            )


def _reconciled(store: Store) -> None:
    Jobs(store).reconcile()


def _gap(files: RunFiles) -> int:
    """The number of the last event before one is missing; 0 where they are all there."""
    events, _ = log.tail(files.events)
    for before, after in pairwise(events):
        if after.seq != before.seq + 1:
            return before.seq
    return 0


# ---- the rest -------------------------------------------------------------------------------------------------------


def _datasets(store: Store) -> Iterator[Flaw]:
    for folder in _folders(store.datasets_dir):
        if not (folder / "dataset.json").is_file() and _is_quiet(folder):
            yield _half_made(store, folder)
    for dataset in store.damaged_datasets():
        yield Flaw(
            "damaged_dataset",
            store.datasets_dir / dataset,
            Text("The dataset {dataset} is damaged.", {"dataset": dataset}),
            Text("Delete it, and upload the file again."),
        )


def _talks(store: Store) -> Iterator[Flaw]:
    for file in sorted(store.talks_dir.glob("*.json")):
        try:
            readable = read_json(file) is not None
        except StudioError:
            readable = False
        if not readable and file.exists():
            yield Flaw(
                "unreadable_talk",
                file,
                Text("The conversation {talk} cannot be read.", {"talk": file.stem}),
                Text("Repair sets it aside."),
                partial(_set_aside, store, file),
            )


def _models(store: Store) -> Iterator[Flaw]:
    for folder in _folders(store.models_dir):
        if folder.name.startswith(".starter-") and _is_quiet(folder):
            yield _left_behind(folder)


def _leftovers(store: Store) -> Iterator[Flaw]:
    """What was being removed, unpacked or written when a process was killed."""
    for path in sorted(store.tmp_dir.iterdir()):
        if path.name != "page" and _is_quiet(path) and not _is_of_living(path):
            yield _left_behind(path)
    for folder in (store.home, store.talks_dir, *_folders(store.runs_dir), *_folders(store.datasets_dir)):
        for file in sorted(folder.glob(".*.*")):
            if file.is_file() and _is_quiet(file):
                yield _left_behind(file)


def _is_of_living(path: Path) -> bool:
    """Whether the process is still there whose number a name ends with."""
    number = path.stem.rpartition("-")[2]
    return number.isdecimal() and process.start_time(int(number)) is not None


def _half_made(store: Store, folder: Path) -> Flaw:
    return Flaw(
        "half_made",
        folder,
        Text("{name} was never finished: a process was killed while it was written.", {"name": folder.name}),
        Text("Repair sets it aside."),
        partial(_set_aside, store, folder),
    )


def _left_behind(path: Path) -> Flaw:
    return Flaw(
        "left_behind",
        path,
        Text("{name} was left behind by a process that was killed.", {"name": path.name}),
        Text("Repair removes it."),
        partial(_remove, path),
    )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _set_aside(store: Store, path: Path) -> None:
    """Into a folder of the home that nothing reads, under the path that it had."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    target = store.home / _ASIDE / stamp / path.relative_to(store.home)
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.glob("*") if path.is_dir())


def _is_quiet(path: Path, seconds: float = _QUIET) -> bool:
    """Whether nothing was written there for a while, so that nobody is at it."""
    try:
        newest = max([path.lstat().st_mtime, *(found.st_mtime for _, found in _files_below(path))])
    except OSError:  # gone meanwhile
        return False
    return time.time() - newest > seconds


# ---- room -----------------------------------------------------------------------------------------------------------

PARTS = ("models", "datasets", "checkpoints", "exports", "results", "cache", "rest")
"""What the home's room is told by; results are all else of the runs."""


def room(store: Store) -> dict[str, int]:
    """Bytes on the disk by `PARTS`; of all users together for the administrator. What has several names counts once."""
    sizes, seen = dict.fromkeys(PARTS, 0), set[tuple[int, int]]()
    for path, found in _files_below(store.home):
        if found.st_nlink > 1:
            if (found.st_dev, found.st_ino) in seen:
                continue
            seen.add((found.st_dev, found.st_ino))
        blocks = getattr(found, "st_blocks", None)  # Windows does not tell
        sizes[_part(path.relative_to(store.home).parts)] += found.st_size if blocks is None else blocks * 512
    return sizes


def _files_below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            try:
                yield path, path.lstat()
            except OSError:  # gone meanwhile
                continue


def _part(parts: tuple[str, ...]) -> str:
    if parts[0] == "users":
        parts = parts[2:]
    top = parts[0] if parts else "rest"
    if top != "runs":
        return top if top in PARTS else "rest"
    inner = parts[2] if len(parts) > 2 else ""
    return inner if inner in ("checkpoints", "exports") else "results"


@dataclass(frozen=True)
class OldCheckpoints:
    """Checkpoints of one run that nothing needs any more."""

    run: str
    folders: tuple[Path, ...]
    bytes: int


def old_checkpoints(store: Store, days: float) -> list[OldCheckpoints]:
    """Of the runs that finished at least so many days ago: all checkpoints, as the result lies beside them.

    A run that can still be resumed keeps its checkpoints, however old it is.
    """
    found = []
    for run_id in store.run_ids():
        files = RunFiles(store.run_dir(run_id))
        state = files.state()
        if state.state != "finished" or not files.has_result() or not state.updated:
            continue
        ended = datetime.fromisoformat(state.updated.replace("Z", "+00:00")).timestamp()
        folders = tuple(_folders(files.checkpoints))
        if folders and time.time() - ended >= days * 86_400:
            size = sum(found.st_size for each in folders for _, found in _files_below(each))
            found.append(OldCheckpoints(run_id, folders, size))
    return found


def remove_checkpoints(old: list[OldCheckpoints]) -> int:
    """Remove them; returns the bytes that were freed."""
    for run in old:
        for folder in run.folders:
            with explained(folder):
                shutil.rmtree(folder)
    return sum(run.bytes for run in old)
