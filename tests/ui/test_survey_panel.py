from __future__ import annotations

from typing import Any

from studio.domain.errors import StudioError
from studio.services.tasks import TaskStatus
from studio.ui import survey_panel
from studio.ui.i18n import words

EN = words("en")


def told(state: Any, **values: Any) -> str:
    return survey_panel.told_of(EN, TaskStatus("20260101-survey", "survey", {}, state, **values))


def test_the_check_says_how_many_rows_are_done_how_quickly_and_how_long_the_rest_takes() -> None:
    assert "The check begins" in told("running")
    said = told("running", phase="check", done=250_000.0, total=1_000_321.5, pace=4_012.3, seconds_left=187.0)
    assert "250,000 of about 1,000,000 rows are checked." in said
    assert "4,012 rows a second. Left: 3 min 35 s." in said
    assert 'aria-valuenow="22"' in said
    assert "compared with each other" in told("running", phase="compare", done=0.5, total=1.0)


def test_a_failure_and_a_check_that_was_stopped_are_told_apart() -> None:
    assert "No row." in told("failed", error=StudioError("No row.", "Correct it."))
    assert "stopped" in told("stopped")
