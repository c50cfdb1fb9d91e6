"""What needs the rows of a large file is worked out in a process of its own, so that the page stays small and quick."""

from __future__ import annotations

import threading
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from studio.domain.config import RunConfig
from studio.domain.errors import StudioError
from studio.engine.workers import begin_worker
from studio.services import surveys

IDLE_SECONDS = 600.0
"""After so long without a question the process ends, and with it the rows that it kept at hand."""
Given = ParamSpec("Given")
Result = TypeVar("Result")


def reads_large_files(config: RunConfig) -> bool:
    """Whether a configuration's rows are too many to be read by the page itself."""
    data = config.data
    files = (data.path, data.held_out_path, data.general_path)
    return any(surveys.is_large(Path(file).expanduser()) for file in files if file)


def work(
    config: RunConfig, task: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
) -> Result:
    """`task(*given)`, a function of a module; where the configuration reads large files, by the other process.

    Raises what the task raises, and StudioError where the process is ended meanwhile.
    """
    if not reads_large_files(config):
        return task(*given, **named)
    return cast(Result, _READER.do(task, *given, **named))


class _Tasks:
    """In the other process: what is asked there, each question in a thread of its own."""

    def do(self, task: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return task(*given, **named)


class _Manager(BaseManager):
    pass


_Manager.register("Tasks", _Tasks)


class _Reader:
    """The one process of this kind, started with the first question; it gives way to nobody, as somebody waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._manager: _Manager | None = None
        self._asked = 0
        """Questions that wait for their answer."""
        self._timer: threading.Timer | None = None

    def do(self, task: Callable[..., Any], *given: Any, **named: Any) -> Any:
        try:
            return self._begun().do(task, given, named)
        except (EOFError, ConnectionError):
            self._forget()
            raise StudioError(
                "The process that reads the rows ended before it was done.",
                "There may be too little memory: stop runs and other programs, or set fewer rows of a file at most.",
            ) from None
        finally:
            self._answered()

    def _begun(self) -> Any:
        with self._lock:
            self._asked += 1
            if self._timer:
                self._timer.cancel()
            if self._manager is None:
                manager = _Manager(ctx=get_context("spawn"))
                manager.start(initializer=begin_worker)
                self._manager = manager
            return self._manager.Tasks()  # type: ignore[attr-defined]

    def _answered(self) -> None:
        with self._lock:
            self._asked -= 1
            if not self._asked:
                self._timer = threading.Timer(IDLE_SECONDS, self._end_if_idle)
                self._timer.daemon = True
                self._timer.start()

    def _end_if_idle(self) -> None:
        with self._lock:
            if not self._asked and self._manager:
                self._manager.shutdown()
                self._manager = None

    def _forget(self) -> None:
        with self._lock:
            self._manager = None


_READER = _Reader()
