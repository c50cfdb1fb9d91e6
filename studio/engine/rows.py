"""Conversations that lie in a file and are read as they are asked for, so that a million of them take no memory."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import overload

from studio.domain.chat import Conversation

_OFFSETS = ".offsets.npy"


class Rows(Sequence[Conversation]):
    """The conversations that `RowsWriter` wrote, by their position. Slices are lists."""

    def __init__(self, path: Path) -> None:
        import numpy

        self.path = path
        self._offsets = numpy.load(path.with_name(path.name + _OFFSETS), mmap_mode="r")
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if len(self) else None

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> Conversation: ...
    @overload
    def __getitem__(self, index: slice) -> list[Conversation]: ...
    def __getitem__(self, index: int | slice) -> Conversation | list[Conversation]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self) or self._bytes is None:
            raise IndexError(index)
        return decoded(self._bytes[int(self._offsets[position]) : int(self._offsets[position + 1])])

    def __iter__(self) -> Iterator[Conversation]:
        with self.path.open("rb") as file:
            yield from map(decoded, file)

    def numbers(self) -> Iterator[int]:
        """The rows' numbers, without reading what else they say."""
        with self.path.open("rb") as file:
            for line in file:
                yield int(line[len(_HEAD) : line.index(b",", len(_HEAD))])


_HEAD = b'{"row": '


def encoded(conversation: Conversation) -> bytes:
    """One line; `decoded` gives the conversation back."""
    said = {"row": conversation.row, "source": conversation.source, **conversation.to_json()}
    return json.dumps(said, ensure_ascii=True).encode() + b"\n"


def decoded(line: bytes) -> Conversation:
    said = json.loads(line)
    return Conversation.from_json(said, said["row"], said["source"])


class RowsWriter:
    """Writes rows one after the other; they can be read once it is closed without an error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._lengths: list[int] = []

    def __enter__(self) -> RowsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None:
            self._finish()

    def add(self, lines: Iterable[bytes]) -> None:
        """Lines that `encoded` made."""
        for line in lines:
            self._file.write(line)
            self._lengths.append(len(line))

    def _finish(self) -> None:
        import numpy

        offsets = numpy.zeros(len(self._lengths) + 1, dtype=numpy.int64)
        numpy.cumsum(self._lengths, out=offsets[1:])
        numpy.save(self.path.with_name(self.path.name + _OFFSETS), offsets)
