"""Large files surveyed in a process of their own, each survey kept by what it was made of."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

import studio
from studio.domain.chat import Conversation
from studio.domain.errors import StudioError
from studio.engine import conversion, survey
from studio.engine.dataset import Dataset
from studio.engine.integrity import known_sha256
from studio.engine.readers import as_options, read_source
from studio.engine.rows import RowsByNumber
from studio.engine.survey import Survey
from studio.services import process, tasks
from studio.services.files import explained, read_json, write_json
from studio.services.store import Store
from studio.services.tasks import TaskStatus

LARGE = 4 * 2**20
"""Bytes of a file beyond which it is surveyed: some 4,000 rows, which are checked in a second or two."""
_GLANCE = 50
"""Rows by which a format is recognised."""
SAMPLE = 20_000
"""Rows of a surveyed file by which it is told what its rows are like."""
_KEPT = 4
"""Surveys, each about as large as its file; the ones that were not asked for the longest go first."""
_CHUNK = 2**22
_LOOK = 1.0
"""Seconds from look to look whether another survey is over."""
_SOURCE = "source.json"

Progress = Callable[[str, float, float], None]
Columns = Mapping[str, str] | None
ReadAs = Mapping[str, str] | None
"""What was said about the file: see `readers.as_options`."""
Asked = tuple[Path, str, Columns, ReadAs]
"""A file and how it is read."""


class Unsurveyed(StudioError):
    """What is asked for is known once the file is surveyed."""

    def __init__(self, file: str) -> None:
        super().__init__("{file} is not checked yet.", "Wait until it is, under Data.", file=file)


def is_large(path: Path) -> bool:
    """Whether a file is too large to be read and checked while somebody waits."""
    return path.is_file() and path.stat().st_size > LARGE


def kept(store: Store, path: Path, format: str, columns: Columns, read_as: ReadAs = None) -> Survey:
    """The survey of a file, as it was read in this way. Unsurveyed where there is none.

    StudioError where the file cannot be read in this way.
    """
    folder = _folder(store, path, format, columns, read_as)
    try:
        found = _loaded(folder)
        with explained(folder):
            os.utime(folder)
    except FileNotFoundError:
        _check_format(path, format, columns, read_as)
        raise Unsurveyed(path.name) from None
    return found


def _check_format(path: Path, format: str, columns: Columns, read_as: ReadAs = None) -> None:
    """StudioError where the file cannot be read in this way, as far as its first rows tell."""
    records = read_source(path, _GLANCE, **as_options(read_as))
    if records.rows:
        mapping = dict(columns) if columns else None
        conversion.settle(path.name, format, mapping, records.columns, records.rows)


def as_dataset(found: Survey, path: Path) -> Dataset:
    """A survey as what reading the whole file would give; its conversations are read as they are asked for."""
    numbers = list(range(1, len(found.samples) + 1))
    return Dataset(
        path,
        found.format,
        found.columns,
        found.samples,
        numbers,
        found.rows,
        found.about_file,
        found.quarantined,
        found.encoding,
        found.sources,
    )


def sample(rows: Sequence[Conversation], size: int = SAMPLE) -> Sequence[Conversation]:
    """All rows, or of a file that was surveyed so many at most, evenly drawn."""
    return rows.sample(size) if isinstance(rows, RowsByNumber) else rows


def made(
    store: Store,
    path: Path,
    format: str = "auto",
    columns: Columns = None,
    read_as: ReadAs = None,
    progress: Progress = lambda phase, done, total: None,
    ray: int | None = None,
) -> Survey:
    """The survey of a file: the one that is kept, or one that is made here and now and kept.

    `ray`: so many processes of a Ray cluster make it, instead of this machine's.
    """
    try:
        return kept(store, path, format, columns, read_as)
    except Unsurveyed:
        folder = _folder(store, path, format, columns, read_as)
    with explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(store)
        unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
        unfinished.mkdir()
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        try:
            survey.survey(
                path,
                unfinished,
                format=format,
                columns=dict(columns or {}) or None,
                earlier=earlier(store, path),
                progress=progress,
                processes=ray,
                on_ray=bool(ray),
                **as_options(read_as),
            )
            write_json(unfinished / _SOURCE, {"path": str(path.absolute()), "code": _code()})
            _put(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return kept(store, path, format, columns, read_as)


def start(store: Store, path: Path, format: str, columns: Columns, read_as: ReadAs = None) -> str:
    """Survey a file in a process of its own, unless one is at it already; returns the task's id."""
    found = latest(store, path, format, columns, read_as)
    if found and found.state == "running":
        return found.id
    return tasks.start(store, "survey", _request(path, format, columns, read_as))


def latest(
    store: Store, path: Path, format: str, columns: Columns, read_as: ReadAs = None
) -> TaskStatus | None:
    """The newest task that surveys, or was to survey, the file as it is now."""
    return tasks.latest(store, "survey", _request(path, format, columns, read_as))


def cancel(store: Store, task: str) -> None:
    """End a survey at once; what it found so far is given up."""
    tasks.cancel(store, task)
    sweep(store)


def sweep(store: Store) -> None:
    """Remove what is left of surveys that were ended, and the surveys of files that were deleted."""
    for folder in _cache(store).glob("*"):
        if folder.name.startswith("."):
            pid = folder.name.rpartition(".")[2]
            forsaken = pid.isdigit() and not psutil.pid_exists(int(pid))
        else:
            forsaken = not Path((read_json(folder / _SOURCE) or {}).get("path", "")).is_file()
        if forsaken:
            shutil.rmtree(folder, ignore_errors=True)


def run(store: Store, request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Make the survey that a request asks for, in this process and some beside it."""
    process.give_way()
    how = request["format"], request["columns"], request["read_as"]
    with _turn(store, progress):
        found = made(store, Path(request["path"]), *how, progress)
    return {"rows": len(found.rows)}


@contextmanager
def _turn(store: Store, progress: Progress) -> Iterator[None]:
    """One survey at a time: each takes all cores, and side by side they would only be slower."""
    lock = FileLock(store.surveys_lock)
    while True:
        try:
            lock.acquire(timeout=_LOOK)
            break
        except Timeout:
            progress("waiting", 0, 0)
    try:
        yield
    finally:
        lock.release()


def _request(path: Path, format: str, columns: Columns, read_as: ReadAs = None) -> dict[str, Any]:
    stat = path.stat()
    changed = {"size": stat.st_size, "changed": stat.st_mtime_ns}
    how = {"columns": dict(columns) if columns else None, "read_as": dict(read_as) if read_as else None}
    return {"path": str(path), "format": format, **how, **changed}


def _cache(store: Store) -> Path:
    return store.home / "cache" / "surveys"


def _folder(store: Store, path: Path, format: str, columns: Columns, read_as: ReadAs = None) -> Path:
    """Where the survey of a file is kept: named by its bytes, how it is read, and the checks."""
    how = [sorted((said or {}).items()) for said in (columns, read_as)]
    parts = (_code(), known_sha256(path), path.suffix, format, repr(how))
    return _cache(store) / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]


def earlier(store: Store, path: Path) -> Path | None:
    """The newest survey of other rows of the same dataset, as they are before or after a step, by the same checks."""
    if store.datasets_dir not in path.parents:
        return None
    dataset = store.datasets_dir / path.relative_to(store.datasets_dir).parts[0]
    for folder in sorted(_cache(store).glob("[!.]*"), key=_last_used, reverse=True):
        source = read_json(folder / _SOURCE) or {}
        if source.get("code") == _code() and dataset in Path(source["path"]).parents:
            return folder
    return None


def _last_used(folder: Path) -> float:
    return folder.stat().st_mtime


@lru_cache(maxsize=1)
def _code() -> str:
    """A fingerprint of all that reads and checks: what older code has found is not asked for."""
    digest = hashlib.sha256()
    root = Path(studio.__file__).parent
    for part in ("domain", "engine", "engine/checks"):
        for file in sorted((root / part).glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


@lru_cache(maxsize=2)
def _loaded(folder: Path) -> Survey:
    found = survey.load(folder)
    if found is None:
        raise FileNotFoundError(folder)
    return found


def _put(unfinished: Path, folder: Path) -> None:
    """The finished survey in its place, unless another process was quicker; the oldest ones make room."""
    try:
        os.rename(unfinished, folder)
    except OSError:
        if not folder.is_dir():
            raise
    old = sorted(folder.parent.glob("[!.]*"), key=_last_used, reverse=True)
    for outdated in old[_KEPT:]:
        shutil.rmtree(outdated, ignore_errors=True)
