"""Conversations that lie in a file and are read as they are asked for, so that a million of them take no memory."""

from __future__ import annotations

import json
import mmap
import os
import weakref
from abc import abstractmethod
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

import orjson

from studio.domain.chat import Conversation
from studio.engine.workers import Workers

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Whole = NDArray[numpy.int64]

Part = TypeVar("Part")
Seen = TypeVar("Seen")
_OFFSETS, _NUMBERS = ".offsets.npy", ".numbers.npy"


class RowsByNumber(Sequence[Conversation]):
    """Rows by their position; slices are lists. `numbers` are their numbers in the file, in ascending order."""

    numbers: Whole

    @abstractmethod
    def _at(self, position: int) -> Conversation:
        """The row at a position that there is."""

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Conversation: ...
    @overload
    def __getitem__(self, index: slice) -> list[Conversation]: ...
    def __getitem__(self, index: int | slice) -> Conversation | list[Conversation]:
        if isinstance(index, slice):
            return [self._at(position) for position in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(index)
        return self._at(position)

    def position(self, number: int) -> int | None:
        """Where the row with this number stands, if it is there."""
        import numpy

        position = int(numpy.searchsorted(self.numbers, number))
        return position if position < len(self) and self.numbers[position] == number else None

    def numbered(self, numbers: Iterable[int]) -> Chosen:
        """Those with one of these numbers."""
        import numpy

        wanted = numpy.fromiter(numbers, dtype=numpy.int64)
        return Chosen(self, numpy.flatnonzero(numpy.isin(self.numbers, wanted)))

    def sample(self, size: int) -> Chosen:
        """So many at most, evenly drawn from all of them."""
        import numpy

        places = numpy.linspace(0, len(self) - 1, min(size, len(self)))
        return Chosen(self, numpy.unique(places.astype(numpy.int64)))


def position_of(rows: Sequence[Conversation], number: int) -> int | None:
    """Where the row with this number stands, if it is there."""
    if isinstance(rows, RowsByNumber):
        return rows.position(number)
    return next((position for position, row in enumerate(rows) if row.row == number), None)


def numbers_of(rows: Sequence[Conversation]) -> list[int]:
    """The rows' numbers in their file."""
    return rows.numbers.tolist() if isinstance(rows, RowsByNumber) else [row.row for row in rows]


def numbered(rows: Sequence[Conversation], numbers: Set[int]) -> Sequence[Conversation]:
    """The rows with one of these numbers."""
    if isinstance(rows, RowsByNumber):
        return rows.numbered(numbers)
    return [row for row in rows if row.row in numbers]


class Rows(RowsByNumber):
    """The conversations that `RowsWriter` wrote."""

    def __init__(self, path: Path) -> None:
        import numpy

        self.path = path
        self._offsets = numpy.load(path.with_name(path.name + _OFFSETS), mmap_mode="r", allow_pickle=False)
        self.numbers = numpy.load(path.with_name(path.name + _NUMBERS), mmap_mode="r", allow_pickle=False)
        self._read = _reader(path) if len(self) else None

    def __reduce__(self) -> tuple[Any, ...]:
        return Rows, (self.path,)

    def __iter__(self) -> Iterator[Conversation]:
        with self.path.open("rb") as file:
            yield from map(decoded, file)

    def _at(self, position: int) -> Conversation:
        assert self._read is not None
        return decoded(self._read(int(self._offsets[position]), int(self._offsets[position + 1])))


def _reader(path: Path) -> Callable[[int, int], bytes]:
    """What gives the bytes of a file from one place to another, to several threads at once.

    A file that is mapped would count as memory of each process that looks rows up in it.
    """
    if hasattr(os, "pread"):
        file = os.open(path, os.O_RDONLY)

        def read(start: int, end: int) -> bytes:
            return os.pread(file, end - start, start)

        weakref.finalize(read, os.close, file)
        return read
    with path.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    return lambda start, end: mapped[start:end]


class Chosen(RowsByNumber):
    """Those of `rows` that stand at `places`, in ascending order."""

    def __init__(self, rows: RowsByNumber, places: Whole) -> None:
        self._rows, self._places = rows, places
        self.numbers = rows.numbers[places]

    def _at(self, position: int) -> Conversation:
        return self._rows[int(self._places[position])]


class SharedRows(RowsByNumber):
    """Rows that several processes can look at."""

    def __init__(self, rows: Rows, workers: Workers) -> None:
        self.numbers = rows.numbers
        self._rows, self._workers = rows, workers

    def _at(self, position: int) -> Conversation:
        return self._rows[position]

    def seen(
        self, look: Callable[[Sequence[Conversation], Part], Seen], parts: Iterable[Part]
    ) -> Iterator[Seen]:
        return self._workers(partial(look, self._rows), parts)


def seen(
    rows: Sequence[Conversation], look: Callable[[Sequence[Conversation], Part], Seen], parts: Iterable[Part]
) -> Iterator[Seen]:
    """`look(rows, part)` for each part of a work, in order; side by side where the rows are shared."""
    return rows.seen(look, parts) if isinstance(rows, SharedRows) else map(partial(look, rows), parts)


def encoded(conversation: Conversation) -> bytes:
    """One line; `decoded` gives the conversation back."""
    said = {"row": conversation.row, "source": conversation.source, **conversation.to_json()}
    if conversation.tools:  # their numbers may be longer than orjson's
        return json.dumps(said).encode() + b"\n"
    return orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE)


def decoded(line: bytes) -> Conversation:
    said = json.loads(line) if b'"tools"' in line else orjson.loads(line)
    return Conversation.from_json(said, said["row"], said["source"])


class RowsWriter:
    """Writes rows one after the other; they can be read once it is closed without an error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._lengths, self._numbers = array("q"), array("q")

    def __enter__(self) -> RowsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None:
            self._finish()

    def add(self, lines: Sequence[bytes], numbers: Sequence[int]) -> None:
        """Lines that `encoded` made, with the numbers of their rows, which rise."""
        self._file.write(b"".join(lines))
        self._lengths.extend(map(len, lines))
        self._numbers.extend(numbers)

    def _finish(self) -> None:
        import numpy

        offsets = numpy.zeros(len(self._lengths) + 1, dtype=numpy.int64)
        numpy.cumsum(self._lengths, out=offsets[1:])
        numbers = numpy.array(self._numbers, dtype=numpy.int64)
        for ending, table in ((_OFFSETS, offsets), (_NUMBERS, numbers)):
            numpy.save(self.path.with_name(self.path.name + ending), table)
