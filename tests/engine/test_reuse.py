from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from studio.engine.assets import ASSETS
from studio.engine.dataset import read, write_messages
from studio.engine.reuse import keys_of, seen_in
from studio.engine.rows import encoded
from studio.engine.survey import survey

DIRTY = ASSETS / "samples" / "dirty.jsonl"


def edited(tmp_path: Path) -> Path:
    """The rows without the second one, and with other words in the fifth."""
    rows = list(read(DIRTY).conversations)
    rows[4] = rows[4].with_contents(["Why is the sky blue?  ", "Write to me: anna@example.net"])
    file = tmp_path / "edited.jsonl"
    write_messages([rows[0], *rows[2:]], file)
    return file


def test_rows_are_known_again_whatever_their_number_and_the_format_of_their_file(tmp_path: Path) -> None:
    survey(DIRTY, tmp_path, processes=0)
    earlier = seen_in(tmp_path)
    assert earlier is not None
    rows = [replace(row, row=1) for row in read(edited(tmp_path)).conversations]
    places = earlier.places(keys_of([encoded(row) for row in rows])).tolist()
    assert [position for position, place in enumerate(places) if place < 0] == [3]


@pytest.mark.parametrize("processes", [0, 2])
def test_what_an_earlier_survey_saw_gives_the_report_of_a_new_look(tmp_path: Path, processes: int) -> None:
    for name in ("before", "afresh", "again"):
        (tmp_path / name).mkdir()
    survey(DIRTY, tmp_path / "before", processes=0)
    file = edited(tmp_path)
    afresh = survey(file, tmp_path / "afresh", processes=0)
    again = survey(file, tmp_path / "again", processes=processes, earlier=tmp_path / "before")
    assert again.report == afresh.report
    for kept in ("sketches.npy", "seen.npy", "rows.jsonl"):
        assert (tmp_path / "again" / kept).read_bytes() == (tmp_path / "afresh" / kept).read_bytes()


def test_a_survey_that_is_gone_by_now_is_done_without(tmp_path: Path) -> None:
    found = survey(DIRTY, tmp_path, processes=0, earlier=tmp_path / "gone")
    assert found.report == survey(DIRTY, tmp_path, processes=0).report
