"""Whether a folder is still as it was written: the hash of each file in a marker, which vouches for itself as well."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

CHECKPOINT, BEST = "progress.json", "best.json"
"""The markers of a checkpoint, and of the best weights."""
_SUMS = "sha256"
_OWN = "marker_sha256"


class Damaged(Exception):
    """A file that is missing, cut or altered since it was sealed; `file` is its name."""

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self.file = file


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A folder beside `target` to write in, which takes its place once everything in it is on the disk."""
    temporary = target.parent / f".{target.name}.partial"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def seal(folder: Path, marker: str, data: Mapping[str, Any]) -> None:
    """Write `data` as the JSON file `marker`, with the hashes of all files that are in `folder` now."""
    body = {**data, _SUMS: {file.name: sha256(file) for file in sorted(folder.iterdir())}}
    text = json.dumps({**body, _OWN: _digest(body)})
    (folder / marker).write_text(text, encoding="utf-8")


def read(folder: Path, marker: str) -> dict[str, Any]:
    """What was sealed in the marker. Raises Damaged where the marker itself is not as it was written."""
    try:
        body = json.loads((folder / marker).read_text(encoding="utf-8"))
        whole = body.pop(_OWN) == _digest(body)
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        raise Damaged(marker) from None
    if not whole:
        raise Damaged(marker)
    return {name: value for name, value in body.items() if name != _SUMS}


def verify(folder: Path, marker: str) -> None:
    """Read every file of a sealed folder. Raises Damaged, naming the first that is not as it was written."""
    read(folder, marker)
    sums = json.loads((folder / marker).read_text(encoding="utf-8"))[_SUMS]
    for name, expected in sums.items():
        try:
            found = sha256(folder / name)
        except OSError:  # gone, or the disk cannot read it
            raise Damaged(name) from None
        if found != expected:
            raise Damaged(name)


def sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def known_sha256(file: Path) -> str:
    """The same, taken once for as long as the file's size and time of change stay what they are."""
    stat = file.stat()
    return _taken(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=512)
def _taken(file: Path, changed: int, size: int) -> str:
    return sha256(file)


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
