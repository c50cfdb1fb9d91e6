"""From what a person gives to a dataset of the home: a file, several, a local folder, or a dataset of the hub."""

from __future__ import annotations

import tempfile
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from studio.domain.errors import StudioError
from studio.engine import dataset, hub_data, readers
from studio.engine.archives import UPLOADED_TOGETHER
from studio.engine.formats import main_format
from studio.engine.readers import ReadAs, Record, as_options
from studio.engine.records import EVERY
from studio.engine.sources import SourceFile, of_folder
from studio.services import surveys, tasks
from studio.services.files import explained
from studio.services.store import DatasetEntry, Store

GLANCE = 50
"""Rows looked at to recognise a file."""
_NAMED = 2
"""So many of several files give the set its name."""

Progress = surveys.Progress


@dataclass(frozen=True)
class Glance:
    """The first rows of a source, and how they were read."""

    columns: tuple[str, ...]
    records: list[Record]
    read_as: ReadAs

    @property
    def format(self) -> str:
        """The format of most rows; `columns` where it is none that is recognised."""
        return main_format(self.columns, [record.value for record in self.records]) or "columns"

    @property
    def recognised(self) -> bool:
        """Whether the names of the columns tell what each is; there is nothing to map where there is no row."""
        return not self.records or self.format != "columns"


def glance(path: Path, read_as: Mapping[str, str] | None = None) -> Glance:
    """The first rows of a file. StudioError where it cannot be read at all."""
    reading = readers.iter_records(path, **as_options(read_as))
    records = list(islice(reading, GLANCE))
    columns = reading.header or tuple(dict.fromkeys(name for record in records for name in record.value))
    return Glance(columns, records, reading.read_as)


def keep(
    store: Store,
    files: Sequence[SourceFile],
    *,
    name: str = "",
    split: str = EVERY,
    origin: Mapping[str, Any] | None = None,
) -> DatasetEntry:
    """Files as one dataset of the home; several lie in one archive there. StudioError where no row can be used.

    Files whose columns have to be mapped by hand are kept. Of several files those of `split` are read.
    """
    if len(files) == 1:
        _check_readable(files[0].path, None)
        return store.save_dataset(files[0].path, name or PurePosixPath(files[0].name).name, origin)
    read_as = {"split": split} if split else None
    with tempfile.TemporaryDirectory(dir=store.tmp_dir) as folder:
        packed = Path(folder) / "files.zip"
        with explained(packed), zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
            archive.comment = UPLOADED_TOGETHER
            for file, member in zip(files, _told_apart([file.name for file in files]), strict=True):
                archive.write(file.path, member)
        _check_readable(packed, read_as)
        return store.save_dataset(packed, name or _title([file.name for file in files]), origin, read_as)


def _check_readable(path: Path, read_as: Mapping[str, str] | None) -> None:
    """StudioError where the file as a whole cannot be used; one whose columns must be mapped by hand can be."""
    try:
        if not surveys.is_large(path):
            dataset.read(path, read_as=read_as)
    except StudioError:
        if glance(path, read_as).recognised:
            raise


def _title(names: Sequence[str]) -> str:
    """What several files are called as one set.

    >>> _title(["a.jsonl", "x/b.csv", "c.csv"])
    'a.jsonl, b.csv + 1'
    """
    named = ", ".join(PurePosixPath(name).name for name in names[:_NAMED])
    return f"{named} + {len(names) - _NAMED}" if len(names) > _NAMED else named


def _told_apart(names: Sequence[str]) -> list[str]:
    """The names, those that occur before with a number.

    >>> _told_apart(["a.csv", "a.csv", "b.csv"])
    ['a.csv', '2/a.csv', 'b.csv']
    """
    seen: Counter[str] = Counter()
    told = []
    for name in names:
        seen[name] += 1
        told.append(name if seen[name] == 1 else f"{seen[name]}/{name}")
    return told


# ---- From elsewhere -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Elsewhere:
    """A dataset of the hub by its id or address, or a file or folder of this machine, and which part of it is meant."""

    source: str
    config: str = ""
    split: str = ""

    def to_json(self) -> dict[str, str]:
        return dict(vars(self))


def start_fetching(store: Store, wanted: Elsewhere, local: bool) -> str:
    """Fetch in a process of its own; returns the task's id, whose result has the `dataset`.

    Paths of this machine are read where `local` says so: whoever reaches a page from elsewhere must not look around.
    """
    if not wanted.source.strip():
        raise StudioError("No dataset is named.", "Give its id at the hub, as owner/name.")
    if readers.on_the_hub(wanted.source) is None:
        if not local:
            raise StudioError(
                "{source} is not the id of a hub dataset.",
                "Write it as owner/name. Files of this machine are read by a page that only this machine can reach.",
                source=wanted.source,
            )
        if not Path(wanted.source).expanduser().exists():
            raise StudioError(
                "There is no file or folder {path}.",
                "Check the spelling; a dataset of the hub is owner/name.",
                path=wanted.source,
            )
    return tasks.start(store, "fetch", wanted.to_json())


def run(store: Store, request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Do what a request asks, in this process."""
    wanted = Elsewhere(**request)
    hub = readers.on_the_hub(wanted.source)
    origin = {"by": "hub" if hub else "path", **wanted.to_json()}
    if hub:
        progress("asking", 0, 0)
        found = hub_data.fetch(hub, wanted.config or None, split=wanted.split or None, progress=progress)
        progress("keeping", 0, 0)
        return {"dataset": keep(store, found.files, name=hub, origin=origin).id}
    progress("keeping", 0, 0)
    path = Path(wanted.source).expanduser()
    files = of_folder(path, EVERY).files if path.is_dir() else [SourceFile(path, path.name)]
    return {"dataset": keep(store, files, name=path.name, split=wanted.split, origin=origin).id}
