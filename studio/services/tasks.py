"""Work that is no run: each task in a process and a folder of its own, which say how far it is."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from studio.domain.errors import StudioError
from studio.services import failures, process
from studio.services.files import explained, now, read_json, write_json
from studio.services.store import Store

Kind = Literal[
    "write",
    "difficulty",
    "survey",
    "fetch",
    "rates",
    "evaluate",
    "compare",
    "benchmark",
    "import",
    "push",
]
WITH_MODEL = ("write", "difficulty", "rates", "evaluate", "compare", "benchmark")
"""Kinds that load a model."""
State = Literal["running", "finished", "stopped", "failed"]

WITH_SECRET = ("push",)
"""Kinds that are given what is written nowhere, such as an access token."""
_LOOK = 0.2
"""Seconds from look to look at a task that is waited for."""
_GRACE = 10.0
"""Seconds between a task's being written and its process's being written down; within them it counts as running."""
_KEPT = 8
"""Tasks whose folders stay; the oldest that are over go first."""


@dataclass(frozen=True)
class TaskStatus:
    """A task as it is now."""

    id: str
    kind: Kind
    request: dict[str, Any]
    state: State
    phase: str = "loading"
    done: float = 0.0
    total: float = 0.0
    seconds_left: float | None = None
    """Of its phase; None as long as there is no basis for it (`services/pace.py`)."""
    pace: float | None = None
    """How much of its phase is done in a second; None as long as it is not known."""
    result: dict[str, Any] | None = None
    error: StudioError | None = None


@dataclass(frozen=True)
class TaskFiles:
    """tasks/<id>/ in the home."""

    folder: Path

    @property
    def request(self) -> Path:
        """What was asked for; written first."""
        return self.folder / "task.json"

    @property
    def process(self) -> Path:
        return self.folder / "process.json"

    @property
    def state(self) -> Path:
        """How far it is, or how it ended; replaced as a whole."""
        return self.folder / "state.json"

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    @property
    def scratch(self) -> Path:
        """What it needs only while it works."""
        return self.folder / "scratch"


def start(store: Store, kind: Kind, request: Mapping[str, Any], secret: str = "") -> str:
    """Start a task in a process of its own, which outlives the page; returns its id. `secret` is handed to it alone."""
    _forget_old(store)
    files = TaskFiles(_fresh(store, kind))
    write_json(
        files.request,
        {
            "schema": 1,
            "kind": kind,
            "request": dict(request),
            "created": now(),
            "confined": store.confined,
        },
    )
    process.start_detached(
        ["studio.services.task_worker", str(store.home), files.folder.name],
        files.log,
        lambda pid, started: write_json(files.process, {"pid": pid, "started": started}),
        keeps_memory=kind in WITH_MODEL,
        secret=secret,
    )
    return files.folder.name


def known(store: Store, task: str) -> TaskStatus | None:
    """As `status`; None where there is no such task any more."""
    try:
        return status(store, task) if task else None
    except StudioError:
        return None


def status(store: Store, task: str) -> TaskStatus:
    """StudioError where there is no such task."""
    files = _files(store, task)
    asked = read_json(files.request) or {}
    said = read_json(files.state) or {}
    state: State = said.get("state", "running")
    error = failures.from_json(said["error"]) if "error" in said else None
    if state == "running" and not _is_alive(files, asked["created"]):
        # It may have come to its end since it was looked at.
        said = read_json(files.state) or {}
        if said.get("state", "running") != "running":
            return status(store, task)
        state, error = (
            "failed",
            StudioError("The process ended before it was done.", "Start it again."),
        )
    return TaskStatus(
        task,
        asked["kind"],
        asked["request"],
        state,
        said.get("phase", "loading"),
        said.get("done", 0.0),
        said.get("total", 0.0),
        said.get("seconds_left"),
        said.get("pace"),
        said.get("result"),
        error,
    )


def running(store: Store, kind: Kind) -> TaskStatus | None:
    """The newest task of this kind that is at work."""
    found = (status(store, task) for task in sorted(_ids(store), reverse=True))
    return next((task for task in found if task.kind == kind and task.state == "running"), None)


def latest(store: Store, kind: Kind, request: Mapping[str, Any]) -> TaskStatus | None:
    """The newest task that was asked for just this."""
    found = (status(store, task) for task in sorted(_ids(store), reverse=True))
    return next((task for task in found if task.kind == kind and task.request == request), None)


def cancel(store: Store, task: str) -> None:
    """End a task at once; what it made so far is given up."""
    files = _files(store, task)
    written = read_json(files.process) or {}
    # Before, or else whoever looks meanwhile is told that it ended of itself; and after, as it may have written last.
    _stopped(files)
    process.kill(written.get("pid"), written.get("started"))
    shutil.rmtree(files.scratch, ignore_errors=True)
    _stopped(files)


def _stopped(files: TaskFiles) -> None:
    if (read_json(files.state) or {}).get("state", "running") == "running":
        write_json(files.state, {"state": "stopped"})


def wait(store: Store, task: str, progress: Callable[[str, float, float], None]) -> dict[str, Any]:
    """The result of a task once it is there; one that is no longer waited for is ended. StudioError where it failed."""
    over = False
    try:
        while (found := status(store, task)).state == "running":
            progress(found.phase, found.done, found.total)
            time.sleep(_LOOK)
        over = True
    finally:
        if not over:
            cancel(store, task)
    if found.error is not None:
        raise found.error
    return found.result or {}


def _is_alive(files: TaskFiles, created: str) -> bool:
    written = read_json(files.process)
    if written is None:
        return time.time() - datetime.fromisoformat(created.replace("Z", "+00:00")).timestamp() < _GRACE
    return process.is_alive(written["pid"], written["started"])


def _folder(store: Store) -> Path:
    return store.home / "tasks"


def _ids(store: Store) -> list[str]:
    return [file.parent.name for file in _folder(store).glob("*/task.json")]


def _files(store: Store, task: str) -> TaskFiles:
    # Compared with what is there, never joined to a path as it comes.
    if task not in _ids(store):
        raise StudioError("There is no task {task}.", "Start it again.", task=task)
    return TaskFiles(_folder(store) / task)


def _fresh(store: Store, kind: str) -> Path:
    folder = _folder(store) / f"{now().replace(':', '').replace('.', '')}-{kind}"
    with explained(folder):
        folder.mkdir(parents=True)
    return folder


def _forget_old(store: Store) -> None:
    over = [task for task in sorted(_ids(store)) if status(store, task).state != "running"]
    for task in over[: max(0, len(over) - _KEPT)]:
        shutil.rmtree(_folder(store) / task, ignore_errors=True)
