"""The runs that wait for the device, of all users of the home, and in which order they will have it."""

from __future__ import annotations

import time
from datetime import datetime

from studio.domain.errors import StudioError
from studio.services import process
from studio.services.run_files import RunFiles
from studio.services.store import Store


def waiting(store: Store) -> list[RunFiles]:
    """Those whose process is there and waits, whoever's they are; the next one first."""
    found = []
    for each in store.everybodys().values():
        for run_id in each.run_ids():
            files = RunFiles(each.run_dir(run_id))
            state = files.state()
            if state.state == "queued" and process.is_alive(state.pid, state.started):
                found.append(files)
    return sorted(found, key=standing)


def at_work(store: Store) -> str | None:
    """The folder of the run that has the device, whoever's it is; None where it is free."""
    for each in store.everybodys().values():
        for run_id in each.run_ids():
            files = RunFiles(each.run_dir(run_id))
            state = files.state()
            if state.state in ("starting", "running", "stopping") and process.is_alive(
                state.pid, state.started
            ):
                return str(files.folder)
    return None


def standing(files: RunFiles) -> tuple[float, str]:
    """What the queue is ordered by: since when a run waits, or the time that it was moved to."""
    moved = files.place()
    return (moved if moved is not None else _seconds(files.state().updated), files.id)


def is_next(store: Store, files: RunFiles) -> bool:
    """Whether no other run stands before this one."""
    own = standing(files)
    return not any(standing(other) < own for other in waiting(store))


def move(store: Store, run_id: str, place: int) -> None:
    """Put a waiting run at a place, 1 the next; beyond the end it is the last.

    Users have the places that their own runs wait at to arrange, and leave those of others alone; the administrator
    arranges all.
    """
    order = waiting(store)
    moved = next((files for files in order if files.folder == store.runs_dir / run_id), None)
    if moved is None:
        raise StudioError(
            "The run {run} does not wait for the device: it has no place in the queue.",
            "`studio runs` says which runs are queued.",
            run=run_id,
        )
    if store.is_users:
        _move_among_own(store, order, moved, place)
        return
    others = [files for files in order if files is not moved]
    others.insert(max(0, place - 1), moved)
    now = time.time()  # before all that will be queued later
    for behind, files in enumerate(reversed(others)):
        files.write_place(now - behind)


def _move_among_own(store: Store, order: list[RunFiles], moved: RunFiles, place: int) -> None:
    own = [files for files in order if files.folder.parent == store.runs_dir]
    places = [standing(files)[0] for files in own]
    at, now = own.index(moved), order.index(moved) + 1
    others = [order.index(files) + 1 for files in own if files is not moved]
    if place < now:
        target = min(at - 1, sum(other < place for other in others))
    else:
        target = max(at + 1, sum(other <= place for other in others))
    if place != now and not 0 <= target < len(own):
        raise StudioError(
            "The run {run} has no other of your runs to change places with.",
            "The runs of others keep their places; the administrator can move them.",
            run=moved.id,
        )
    if place != now:
        own.insert(target, own.pop(at))
        for files, since in zip(own, places, strict=True):
            files.write_place(since)


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp() if at else 0.0
