"""A run that other processes do: its worker waits for the device, has them started, and watches over them."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from studio.domain.errors import StudioError
from studio.domain.events import Warned
from studio.domain.run import ALIVE
from studio.services.launch import Launcher
from studio.services.log import EventLog
from studio.services.worker import Worker

_POLL = 0.3
_GRACE = 30.0
"""Seconds that the processes have to end after the last word."""
_STATUS = {"finished": 0, "stopped": 3}


class Conductor(Worker):
    """Owns the run's state before its processes begin and after they have ended; in between, their leader does."""

    def __init__(self, folder: Path, launcher: Launcher) -> None:
        super().__init__(folder)
        self._launcher = launcher

    @contextmanager
    def _device(self) -> Iterator[None]:
        if not self._launcher.here:
            yield
            return
        with super()._device():
            yield

    def _work(self) -> int:
        self._launcher.prepare()
        where = self._launcher.where
        self.log.append(Warned(severity="info", template=where.template, values=dict(where.values)))
        self.files.reserve.unlink(missing_ok=True)  # the leader's from here on
        self._launcher.start(self.files)
        try:
            self._watch()
        finally:
            self._launcher.stop()
            shutil.rmtree(self.files.meetings, ignore_errors=True)
            self.log = EventLog(self.files.events)  # others have written in it
        state = self.files.state()
        if state.state in ALIVE and state.pid == os.getpid():  # else it has been resumed since its last word
            raise StudioError(
                "The run's processes ended without a word, and more often than they may begin again.",
                "Resume it: it goes on from its last checkpoint. The details are in the run's worker.log.",
            )
        return _STATUS.get(state.state, 1)

    def _watch(self) -> None:
        said: float | None = None
        while self._launcher.is_alive():
            if self.stop_signal:
                self.files.stop_request.touch()
            if self.files.state().state not in ALIVE:
                said = said or time.monotonic()
                if time.monotonic() - said > _GRACE:
                    return
            time.sleep(_POLL)
