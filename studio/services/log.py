"""A run's events.jsonl: appended by the one process that owns the run, followed by any number that watch."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from pydantic import ValidationError

from studio.domain.events import Event, parse_event
from studio.services.files import explained, now
from studio.services.redaction import redacted, without_known


class EventLog:
    """The writing end. Numbers events from where an earlier process left off; a torn last line is cut away first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _cut_torn_line(path)
        self.seq = last_seq(path)

    def append(self, event: Event) -> None:
        """Write one event: whole or not at all. It is on disk, and visible to readers, when this returns."""
        numbered = event.model_copy(update={"seq": self.seq + 1, "at": now()})
        text = numbered.model_dump_json(exclude_none=True)
        # What programs said of a failure may name any key; a sample is rows and answers, which stay as they are.
        text = redacted(text) if event.type in ("failed", "warned") else without_known(text)
        line = (text + "\n").encode("utf-8")
        with explained(self.path), self.path.open("ab", buffering=0) as file:
            end = file.tell()
            try:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                os.truncate(self.path, end)
                raise
        self.seq += 1


def tail(path: Path, offset: int = 0, most: int = -1) -> tuple[list[Event], int]:
    """The whole events from byte `offset` on, and the offset to go on from; a torn last line waits for its rest.

    `most` bytes are read at once: of a long log, the rest comes when asked from there.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(most)
    except FileNotFoundError:
        return [], offset
    end = data.rfind(b"\n") + 1
    events = []
    for line in data[:end].splitlines():
        try:
            events.append(parse_event(line))
        except ValidationError:
            continue  # a line torn by a crash and then written over by its successor, or a newer version's event
    return events, offset + end


def last_seq(path: Path) -> int:
    events, _ = tail(path)
    return events[-1].seq if events else 0


def _cut_torn_line(path: Path) -> None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    end = data.rfind(b"\n") + 1
    if end != len(data):
        os.truncate(path, end)
