"""Does one task in the background: python -m studio.services.task_worker HOME TASK"""

from __future__ import annotations

import json
import shutil
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from studio.domain.errors import StudioError
from studio.services import failures
from studio.services.files import read_json, write_json
from studio.services.pace import Pace
from studio.services.redaction import guard_output
from studio.services.store import Store
from studio.services.tasks import WITH_MODEL, WITH_SECRET, Kind, TaskFiles

_EVERY = 0.5
"""Seconds between two words about how far it is."""
MODULES: dict[Kind, str] = {
    "write": "self_writing",
    "difficulty": "difficulty",
    "survey": "surveys",
    "fetch": "uploads",
    "rates": "rate_range",
    "evaluate": "evaluations",
    "compare": "ratings",
    "benchmark": "benchmarks",
    "import": "run_imports",
    "push": "pushing",
}
"""Which module does the work: its function `run`, which is given the secret too where there is one."""


class Said:
    """Writes down how far a task is, and how long the rest will take at the pace of its present phase."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.phase = ""
        self.pace = Pace()
        self.when = 0.0

    def __call__(self, phase: str, done: float, total: float) -> None:
        moment = time.monotonic()
        if phase != self.phase:
            self.phase, self.pace = phase, Pace(done)
        elif moment - self.when < _EVERY:
            return
        self.when = moment
        pace, left = self.pace.a_second(done), self.pace.seconds_left(done, total)
        said = {"phase": phase, "done": done, "total": total, "pace": pace, "seconds_left": left}
        write_json(self.file, {"state": "running", **said})


def work(store: Store, files: TaskFiles, secret: str = "") -> int:
    """Do the task, and write down its result or why there is none; returns the exit status."""
    task: dict[str, Any] = read_json(files.request) or {}
    try:
        if task["kind"] in WITH_MODEL:
            from studio.services.chat_worker import use_all_cores

            use_all_cores()
        module = import_module(f"studio.services.{MODULES[task['kind']]}")
        given = (secret,) if task["kind"] in WITH_SECRET else ()
        result = module.run(store, task["request"], Said(files.state), *given)
    except Exception as error:
        print(_hidden(traceback.format_exc(), secret), file=sys.stderr)
        told = failures.explained(error, _NO_MEMORY, _failed)
        said = _hidden(json.dumps(failures.to_json(told), default=str), secret)
        write_json(files.state, {"state": "failed", "error": json.loads(said)})
        return 1
    write_json(files.state, {"state": "finished", "result": result})
    return 0


def _hidden(text: str, secret: str) -> str:
    """A text without the secret: not every library keeps it out of its errors."""
    return text.replace(secret, "…") if secret else text


_NO_MEMORY = StudioError(
    "There is too little memory for this work.",
    "Stop runs, the chat and other programs that use it, or choose a smaller model.",
)


def _failed(problem: str) -> StudioError:
    return StudioError(
        "The work failed: {problem}.",
        "Try again; if it fails again, report it.",
        problem=problem,
    )


def main() -> int:
    """Do the task named on the command line."""
    secret = sys.stdin.read()  # its end comes once the starter has written this process down
    guard_output()
    files = TaskFiles(Path(sys.argv[1]) / "tasks" / sys.argv[2])
    store = Store(sys.argv[1], confined=bool((read_json(files.request) or {}).get("confined")))
    store.tmp_dir = files.scratch  # goes with the task, however it ends
    files.scratch.mkdir()
    try:
        return work(store, files, secret)
    finally:
        shutil.rmtree(files.scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
