"""A few hundred damaged files on every run of the tests; `python -m tests.fuzz.upload` reads ten thousand."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.samples import samples
from tests.fuzz.upload import block, uploaded


def test_three_hundred_damaged_files_are_read_or_refused() -> None:
    outcomes, bugs, _ = block(0, 300, seed=4)
    assert bugs == []
    assert sum(outcomes.values()) == 300
    assert len(outcomes) > 3


def test_every_sample_is_read_whole_before_it_is_damaged(tmp_path: Path) -> None:
    for name, data in samples().items():
        (tmp_path / name).write_bytes(data)
        assert uploaded(tmp_path / name).startswith("some rows" if name == "dirty.jsonl" else "rows"), name
