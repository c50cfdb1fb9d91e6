"""The fuzzer in short; 20,000 calls are a command: `python -m tests.attack.fuzz`."""

from __future__ import annotations

from pathlib import Path

from tests.attack.fuzz import campaign


def test_nothing_of_what_nobody_means_well_with_shows_code_leaves_the_home_or_ends_the_server(
    tmp_path: Path,
) -> None:
    found = campaign(tmp_path, calls=300, seed=7)
    assert found["broken"] == []
    assert found["calls"] >= 300
    assert set(found["kinds"]) >= {"event", "function", "upload", "request"}
