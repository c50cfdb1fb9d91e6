"""Makes one export in the background: python -m studio.services.export_worker RUN_DIR NAME"""

from __future__ import annotations

import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from studio.domain.errors import Stopped, StudioError
from studio.domain.events import Failed, Finished, Phase
from studio.services.exports import ExportFiles, run_export
from studio.services.files import write_json
from studio.services.log import EventLog
from studio.services.redaction import guard_output
from studio.services.run_files import RunFiles
from studio.services.store import Store

_EVERY = 0.5
"""Seconds between two events of the same phase."""


class ExportWorker:
    """Owns one export's events and result."""

    def __init__(self, folder: Path, name: str) -> None:
        self.files = RunFiles(folder)
        self.export = ExportFiles(self.files.exports / name)
        self.log = EventLog(self.export.events)
        self.stop_signal = False
        self._said: tuple[str, float] = ("", 0.0)
        self._begun = time.monotonic()

    def work(self) -> int:
        """Export, and write result.json last; returns the exit status."""
        try:
            store = Store(self.files.folder.parent.parent)
            config, out = self.export.config(), self.export.exported
            result = run_export(store, self.files.id, config, out, self.progress, lambda: self.stop_signal)
            write_json(self.export.result, result.to_json())
            self.log.append(Finished(state="finished", seconds=time.monotonic() - self._begun))
            return 0
        except Stopped:
            self.log.append(Finished(state="stopped", seconds=time.monotonic() - self._begun))
            return 3
        except StudioError as error:
            return self._fail(error)
        except Exception as error:
            if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
                return self._fail(_OUT_OF_MEMORY)
            problem = f"{type(error).__name__}: {error}".rstrip(".")
            return self._fail(
                StudioError(
                    "The export failed: {problem}.",
                    "The details are in {log}.",
                    problem=problem,
                    log=self.export.log,
                )
            )

    def progress(self, phase: Any, done: float, total: float) -> None:
        """An event at each new phase, and now and then within it."""
        before, when = self._said
        if phase == before and done < total and time.monotonic() - when < _EVERY:
            return
        self._said = (phase, time.monotonic())
        self.log.append(Phase(name=phase, done=done, total=total))

    def _fail(self, error: StudioError) -> int:
        details = traceback.format_exc()
        print(details, file=sys.stderr, flush=True)
        values = {
            key: str(value) if isinstance(value, Path) else value for key, value in error.text.values.items()
        }
        self.log.append(
            Failed(
                template=error.text.template,
                remedy=error.remedy_text.template,
                values=values,
                traceback=details,
            )
        )
        return 1


_OUT_OF_MEMORY = StudioError(
    "There is too little memory for this export.",
    "Stop runs, the chat and other programs that use it, then export again.",
)


def main() -> int:
    """Make the export named on the command line."""
    sys.stdin.read()  # until the starter has written this process down
    guard_output()
    worker = ExportWorker(Path(sys.argv[1]).resolve(), sys.argv[2])

    def on_signal(_: int, __: object) -> None:
        worker.stop_signal = True

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return worker.work()


if __name__ == "__main__":
    sys.exit(main())
