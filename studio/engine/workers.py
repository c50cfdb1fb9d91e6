"""Processes that work at the parts of a large set side by side, and hand what they made back in the parts' order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

AHEAD = 3
"""Parts a process that wait or are at work, so that whoever makes the parts never runs far ahead."""

Part = TypeVar("Part")
Made = TypeVar("Made")


class Workers(Protocol):
    """`workers(function, parts)` is what the function makes of each part, in order. The function has to be a pure one
    that can be sent to another process."""

    def __call__(self, function: Callable[[Part], Made], parts: Iterable[Part]) -> Iterator[Made]: ...


def no_others(function: Callable[[Part], Made], parts: Iterable[Part]) -> Iterator[Made]:
    """All parts one after the other in this process, as the next one is asked for."""
    return map(function, parts)


@contextmanager
def workers(processes: int | None = None) -> Iterator[Workers]:
    """So many processes, as many as there are cores if it is None; 0 for this one alone."""
    count = (os.cpu_count() or 1) if processes is None else processes
    if not count:
        yield no_others
        return
    # A fork is ready at once; it is safe as long as no thread has begun, which the survey's own process sees to.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(count, context, begin_worker) as pool:
        try:
            yield lambda function, parts: _in_order(pool, function, parts, count * AHEAD)
        finally:
            pool.shutdown(cancel_futures=True)


def begin_worker() -> None:
    """Ctrl-C is for the process that started this one and ends it; where that is killed itself, this one ends too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _in_order(
    pool: ProcessPoolExecutor, function: Callable[[Part], Made], parts: Iterable[Part], ahead: int
) -> Iterator[Made]:
    """BrokenProcessPool where one of the processes is killed, as one is that takes too much memory."""
    waiting: deque[Future[Made]] = deque()
    for part in parts:
        waiting.append(pool.submit(function, part))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
