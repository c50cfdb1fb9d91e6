"""A folder as one zip archive, made while it is sent: no copy of it is kept, and its length is known from the start."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20
_LOCAL, _CENTRAL, _END, _END_64 = 30, 46, 22, 56 + 20
"""Bytes of the format's records without names and extra fields (PKWARE's APPNOTE, 4.3)."""


@dataclass(frozen=True)
class Packed:
    """Files under the names that they have in the archive; stored as they are, as weights do not compress."""

    name: str
    """Of the folder in the archive."""
    files: tuple[tuple[str, Path, int], ...]
    """Name, place, bytes."""

    @classmethod
    def of(cls, folder: Path, name: str, leaving_out: Collection[str] = ()) -> Packed:
        """All files of a folder but for some of its entries."""
        inside = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
        return cls(
            name,
            tuple(
                (f"{name}/{place.as_posix()}", path, path.stat().st_size)
                for place, path in inside.items()
                if place.parts[0] not in leaving_out
            ),
        )

    @property
    def length(self) -> int:
        """Bytes of the archive that `chunks` makes, as Python's zipfile writes it to what cannot be rewound."""
        offset = central = 0
        for name, _, size in self.files:
            wide = 2 * 8 * (size > zipfile.ZIP64_LIMIT) + 8 * (offset > zipfile.ZIP64_LIMIT)
            central += _CENTRAL + len(name.encode()) + (wide + 4 if wide else 0)
            # Sizes follow the file, as they are not known before it; 64 bits wide where they may have to be.
            large = size * 1.05 > zipfile.ZIP64_LIMIT
            offset += _LOCAL + len(name.encode()) + size + (20 + 24 if large else 16)
        many = len(self.files) > zipfile.ZIP_FILECOUNT_LIMIT
        beyond = many or max(offset, central) > zipfile.ZIP64_LIMIT
        return offset + central + _END + _END_64 * beyond

    def chunks(self) -> Iterator[bytes]:
        """The archive, piece by piece."""
        sink = _Sink()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
            for name, path, size in self.files:
                entry = zipfile.ZipInfo(name)
                entry.file_size = size
                entry.external_attr = 0o644 << 16
                with path.open("rb") as file, archive.open(entry, "w") as packed:
                    while block := file.read(_CHUNK):
                        packed.write(block)
                        yield sink.taken()
        yield sink.taken()


class _Sink(io.RawIOBase):
    """Holds what the archive writes until it is taken away."""

    def __init__(self) -> None:
        self._held = bytearray()

    def write(self, data: object) -> int:
        before = len(self._held)
        self._held += data  # type: ignore[arg-type]  # whatever is like bytes
        return len(self._held) - before

    def taken(self) -> bytes:
        held, self._held = bytes(self._held), bytearray()
        return held
