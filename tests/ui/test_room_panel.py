"""What takes room, and what could go, are said before anything goes."""

from __future__ import annotations

from pathlib import Path

from studio.services.home_check import OldCheckpoints
from studio.ui import room_panel
from studio.ui.i18n import words

SAY = words("en")


def test_parts_stand_from_the_largest_on_with_their_sum_and_without_empty_ones() -> None:
    html = room_panel.table(SAY, {"models": 1024, "cache": 0, "exports": 3072})
    cells = [part.split("<")[0] for part in html.replace("<b>", "").split(">") if part.split("<")[0]]
    assert cells == ["What", "Size", "Exports", "3.0 KiB", "Models", "1.0 KiB", "All together", "4.0 KiB"]


def test_what_could_go_is_shown_with_a_way_back() -> None:
    old = [OldCheckpoints("20260101-000000-<b>", (Path("step-000005"), Path("best-000005")), 2048)]
    runs, look, remove, keep, told = room_panel.choice(SAY, old)
    assert runs == ["20260101-000000-<b>"]
    assert (look.visible, remove.visible, keep.visible) == (False, True, True)
    assert "2.0 KiB would be freed." in told
    assert "20260101-000000-&lt;b&gt;" in told


def test_where_nothing_could_go_nothing_is_asked() -> None:
    runs, look, remove, keep, told = room_panel.choice(SAY, [])
    assert (runs, look.visible, remove.visible, keep.visible) == ([], True, False, False)
    assert "No run that finished so long ago has checkpoints." in told
