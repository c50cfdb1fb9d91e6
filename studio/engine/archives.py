"""Archives to files: gzip, zstd and zip, unpacked within bounds of size, ratio and number, never by names inside."""

from __future__ import annotations

import gzip
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from studio.domain.errors import StudioError

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
ZIP = b"PK\x03\x04"
EMPTY_ZIP = b"PK\x05\x06"
_NAMES = {GZIP: "gzip archive", ZSTD: "zstd archive", ZIP: "zip archive"}
UPLOADED_TOGETHER = b"several files, read as one set"
"""The comment of a zip archive that the studio made of files: nobody has seen it, so its name says nothing."""
_CHUNK = 2**20
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    OverflowError,
    KeyError,
)
"""What Python's zipfile and gzip raise on files that are damaged."""


@dataclass(frozen=True)
class Bounds:
    """What an upload may unpack to: bytes in all, times its own size once `free` bytes are passed, files."""

    total: int = 16 * 2**30
    ratio: int = 300
    free: int = 256 * 2**20
    members: int = 1000
    depth: int = 2


@dataclass(frozen=True)
class Member:
    """A file in an archive: its name there, for a person, and the file that it was unpacked to."""

    name: str
    path: Path


class Unreadable(StudioError):
    """What holds no rows that can be had, whatever else is read with it."""


def kind(head: bytes) -> bytes | None:
    """The signature of the archive that a file beginning so is."""
    if head.startswith(EMPTY_ZIP):
        return ZIP
    return next((signature for signature in _NAMES if head.startswith(signature)), None)


class Unpacker:
    """Unpacks the archives of one upload into a folder, all of them together within the bounds."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self.folder = folder
        self.bounds = bounds
        self.written = 0
        self.count = 0

    def unpack(self, path: Path, name: str) -> list[Member]:
        """The files in the archive at `path`. StudioError where it is damaged, locked or too large."""
        with path.open("rb") as file:
            signature = kind(file.read(4))
        assert signature is not None
        with _explained(name, _NAMES[signature]):
            if signature == ZIP:
                return self._unzip(path, name)
            with _stream(path, signature) as stream:
                return [Member(name, self._write(stream, name, path.stat().st_size))]

    def _unzip(self, path: Path, name: str) -> list[Member]:
        members = []
        with _opened(path, name) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            for entry in entries:
                if entry.flag_bits & 1:
                    raise Unreadable(
                        "{file} is locked with a password.",
                        "Unpack it, and choose the files in it.",
                        file=name,
                    )
                with archive.open(entry) as stream:
                    written = self._write(stream, name, max(entry.compress_size, 1))
                inside = _printable(entry.filename)
                members.append(
                    Member(inside if archive.comment == UPLOADED_TOGETHER else f"{name}/{inside}", written)
                )
        return members

    def _write(self, stream: IO[bytes] | Any, name: str, packed: int) -> Path:
        """One file, written under a number."""
        self.count += 1
        if self.count > self.bounds.members:
            raise StudioError(
                "{file} holds more than {most} files.",
                "Unpack it, and choose a folder or fewer files.",
                file=name,
                most=self.bounds.members,
            )
        path = self.folder / str(self.count)
        size = 0
        with path.open("wb") as file:
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
                self.written += len(chunk)
                self._check(name, size, packed)
                file.write(chunk)
        return path

    def _check(self, name: str, size: int, packed: int) -> None:
        bounds = self.bounds
        if self.written > bounds.total or (size > bounds.free and size > bounds.ratio * packed):
            raise StudioError(
                "{file} unpacks to more than {limit} MB, which no data file of its size does.",
                "Unpack it yourself, if you trust it, and choose the files in it.",
                file=name,
                limit=self.written // 10**6,
            )
        if shutil.disk_usage(self.folder).free < 2 * _CHUNK:
            raise StudioError(
                "There is not room enough in {folder} to unpack {file}.",
                "Free some space, or set TMPDIR to a folder on a larger disk.",
                file=name,
                folder=str(self.folder),
            )


@contextmanager
def _explained(name: str, what: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (*DAMAGE, pyarrow.ArrowException) as error:
        raise Unreadable(
            "{file} is a damaged {kind}: {problem}.",
            "Pack or download it again.",
            file=name,
            kind=what,
            problem=(str(error).strip().split("\n")[0] or type(error).__name__).rstrip("."),
        ) from None


def _opened(path: Path, name: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except DAMAGE:
        raise Unreadable(
            "{file} is {kind}, not a data file.",
            "Pack or download it again, or save the table as CSV, JSON, JSONL or Parquet.",
            file=name,
            kind="a zip archive or an Excel workbook",
        ) from None


def _stream(path: Path, signature: bytes) -> Any:
    if signature == GZIP:
        return gzip.open(path)
    import pyarrow

    return pyarrow.input_stream(str(path), compression="zstd")


def _printable(name: str) -> str:
    """A member's name without what could stand for another place or disturb a page."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "".join(character for character in "/".join(parts) if character.isprintable())[-200:]
