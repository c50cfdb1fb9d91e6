"""What one run's endpoint leaves on disk, so that page, command line and its own process see the same."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from studio.services import process
from studio.services.files import read_json

_GRACE = 10.0
"""Seconds between an endpoint's being written and its process's being written down; within them it counts as alive."""


@dataclass(frozen=True)
class EndpointFiles:
    """runs/<id>/endpoint/: a run is served by one server at most."""

    folder: Path

    @property
    def request(self) -> Path:
        """What was asked for; written first."""
        return self.folder / "endpoint.json"

    @property
    def process(self) -> Path:
        """The process that starts the server and watches it."""
        return self.folder / "process.json"

    @property
    def server(self) -> Path:
        """The process of the server itself."""
        return self.folder / "server.json"

    @property
    def state(self) -> Path:
        """How far it is, or how it ended; replaced as a whole."""
        return self.folder / "state.json"

    @property
    def log(self) -> Path:
        """All that the server says."""
        return self.folder / "server.log"

    @property
    def hub(self) -> Path:
        """All the models that transformers' server sees: this one, by its name."""
        return self.folder / "hub"

    @property
    def lock(self) -> Path:
        """Held while it is started, so that it is not started twice."""
        return self.folder / "lock"

    def is_alive(self) -> bool:
        """Whether it is at work: a server whose watcher was killed serves on, if it answered by then.

        Before that nobody would say when it does, or that it never will.
        """
        asked = read_json(self.request)
        if asked is None:
            return False
        if not self.process.exists() and not self.state.exists():
            begun = datetime.fromisoformat(asked["created"].replace("Z", "+00:00")).timestamp()
            return time.time() - begun < _GRACE
        if process.is_alive(*_written(self.process)):
            return True
        return (read_json(self.state) or {}).get("state") == "serving" and self._server_lives()

    def leaves_something(self) -> bool:
        """Whether a server, or its links to an export's files, outlived what looked after it."""
        return self.hub.exists() or self._server_lives()

    def serves(self, export: str) -> bool:
        """Whether a living server has this export's files in use."""
        return self.is_alive() and (read_json(self.state) or {}).get("export") == export

    def end(self) -> None:
        """End who watches the server, and the server, at once: answers under way break off.

        An export that is being made for it breaks off too and counts as interrupted; the next start makes another.
        """
        process.kill(*_written(self.process))
        self.end_server()

    def end_server(self) -> None:
        """End the server, and let go of the export: its links would keep a deleted one's bytes on the disk."""
        process.kill(*_written(self.server))
        shutil.rmtree(self.hub, ignore_errors=True)

    def _server_lives(self) -> bool:
        return process.is_alive(*_written(self.server))


def _written(file: Path) -> tuple[int | None, float | None]:
    written = read_json(file) or {}
    return written.get("pid"), written.get("started")
