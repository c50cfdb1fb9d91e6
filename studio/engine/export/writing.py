"""A file that is written, and brought to the disk, while what comes next is still being worked out."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_AHEAD = 16
"""Pieces that wait to be written, at most: the memory that the head start costs."""
_FLUSHED = 32 << 20
"""Bytes after which the disk begins; by itself the system waits until there is much, and then all has to wait."""


class Ahead:
    """Writes in threads of its own; where the disk refuses, a later piece or the end raises it."""

    def __init__(self, file: BinaryIO, writing: ThreadPoolExecutor, flushing: ThreadPoolExecutor) -> None:
        self._file = file
        self._writing, self._flushing = writing, flushing
        self._waiting: deque[Future[None]] = deque()
        self._flushed: Future[None] | None = None
        self._since = 0

    def write(self, piece: memoryview) -> None:
        """Take over a piece, which must stay as it is from now on."""
        if len(self._waiting) == _AHEAD:
            self._waiting.popleft().result()
        self._waiting.append(self._writing.submit(self._put, piece))

    def end(self) -> None:
        """Wait until all is written."""
        while self._waiting:
            self._waiting.popleft().result()
        if self._flushed:
            self._flushed.result()

    def _put(self, piece: memoryview) -> None:
        self._file.write(piece)
        self._since += len(piece)
        if self._since >= _FLUSHED and (self._flushed is None or self._flushed.done()):
            if self._flushed:
                self._flushed.result()  # a disk that refuses says so once
            self._since = 0
            self._flushed = self._flushing.submit(os.fsync, self._file.fileno())


@contextmanager
def ahead(path: Path) -> Iterator[Ahead]:
    """The file at `path`, whole once this is left."""
    with path.open("wb") as file, ThreadPoolExecutor(1) as flushing, ThreadPoolExecutor(1) as writing:
        writer = Ahead(file, writing, flushing)
        yield writer
        writer.end()
