from __future__ import annotations

from typing import Any

from studio.domain.errors import StudioError
from studio.services.tasks import TaskStatus
from studio.ui import self_written_panel
from studio.ui.i18n import words

EN = words("en")


def status(state: Any, **values: Any) -> TaskStatus:
    return TaskStatus("20260101-write", "write", {}, state, **values)


def told(found: TaskStatus) -> str:
    return self_written_panel.told_of(EN, found)


def test_the_writing_says_how_far_it_is_and_how_long_the_rest_takes() -> None:
    assert "The model is loading" in told(status("running"))
    said = told(status("running", phase="writing", done=30.0, total=120.0, seconds_left=1800.0))
    assert "30 of about 120 rows are written." in said
    assert 'aria-valuenow="25' in said
    assert "Left: 30 min." in said


def test_what_came_of_the_writing_is_said_with_its_yield() -> None:
    result = {"kept": 50, "asked": 50, "written": 80, "passed": 0.625}
    assert "50 rows are kept of 80 that the model wrote; 62 % passed" in told(
        status("finished", result=result)
    )
    assert "fewer than was asked" in told(status("finished", result={**result, "asked": 60}))


def test_a_failure_and_a_cancelled_writing_are_told_apart() -> None:
    assert "No memory." in told(status("failed", error=StudioError("No memory.", "Stop runs.")))
    assert "cancelled" in told(status("stopped"))
