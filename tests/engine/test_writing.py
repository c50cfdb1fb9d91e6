"""Files written ahead: in order and whole, and a refusal of the disk is not lost."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from studio.engine.export import writing
from studio.engine.export.writing import ahead


def test_pieces_lie_in_the_order_they_were_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_FLUSHED", 1000)
    pieces = [bytes([number % 256]) * (number % 97) for number in range(500)]
    with ahead(tmp_path / "file") as out:
        for piece in pieces:
            out.write(memoryview(piece))
    assert (tmp_path / "file").read_bytes() == b"".join(pieces)


def written(path: Path, pieces: int, given_up: bool = False) -> None:
    """So many pieces of a megabyte."""
    with ahead(path) as out:
        for _ in range(pieces):
            out.write(memoryview(bytes(1 << 20)))
        if given_up:
            raise KeyboardInterrupt


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no device that is always full")
@pytest.mark.parametrize("pieces", [1, 100])
def test_a_full_disk_is_raised(tmp_path: Path, pieces: int) -> None:
    (tmp_path / "file").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        written(tmp_path / "file", pieces)


def test_what_is_given_up_leaves_no_thread_at_work(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path / "file", 3, given_up=True)
    assert threading.active_count() == before
