from __future__ import annotations

from studio.domain.errors import StudioError
from studio.services.tasks import State, TaskStatus
from studio.ui import source_panel
from studio.ui.i18n import words

SAY = words("en")


def told(state: State = "running", phase: str = "loading", done: float = 0, total: float = 0) -> str:
    request = {"source": "owner/name"}
    return source_panel.told_of(SAY, TaskStatus("t", "fetch", request, state, phase, done, total))


def test_how_far_a_fetch_is_is_said_in_bytes_and_how_it_ended() -> None:
    assert "Asking the hub" in told()
    assert "1.0 MiB of 4.0 MiB downloaded" in told(phase="download", done=2**20, total=2**22)
    assert "25 %" in told(phase="download", done=2**20, total=2**22)
    assert "Reading and keeping" in told(phase="keeping")
    assert "Cancelled" in told("stopped")
    assert "owner/name is here" in told("finished")
    failed = TaskStatus("t", "fetch", {}, "failed", error=StudioError("No network <b>.", "Try again."))
    assert "No network &lt;b&gt;." in source_panel.told_of(SAY, failed)
