"""Processes of a Ray cluster that work at the parts of a large set, as Ray Data jobs: see `workers.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from typing import Any

from studio.domain.errors import StudioError
from studio.engine.workers import Made, Part, Workers

_PARTS = 32
"""Handed over at once for each process: whoever makes them waits meanwhile, and each job has a start of its own."""


@dataclass(frozen=True, slots=True)
class _Carried:
    """An object of a type that is no column's: Ray hands it on as it is, where it would try to make cells of a list."""

    what: Any


@contextmanager
def ray_workers(processes: int) -> Iterator[Workers]:
    """So many processes of the cluster that this one is part of, or of one on this machine where there is none.

    Parts go to the processes in memory; a file that they read is one that all machines see under the same path.
    StudioError where Ray is not installed.
    """
    if find_spec("ray") is None:
        raise StudioError(
            "Ray is not installed here.",
            "Install it: {python} -m pip install -c constraints.txt -e '.[ray]'",
            python=sys.executable,
        )
    import ray

    own = not ray.is_initialized()
    if own:
        ray.init(log_to_driver=False, include_dashboard=False)
    context = ray.data.DataContext.get_current()
    before = context.execution_options.preserve_order, context.enable_progress_bars
    context.execution_options.preserve_order, context.enable_progress_bars = True, False
    try:
        yield lambda function, parts: _in_order(function, parts, processes)
    finally:
        context.execution_options.preserve_order, context.enable_progress_bars = before
        if own:
            ray.shutdown()


def _in_order(function: Callable[[Part], Made], parts: Iterable[Part], processes: int) -> Iterator[Made]:
    from ray import data

    from_items: Any = data.from_items
    waiting = iter(parts)
    while portion := [{"part": _Carried(part)} for part in islice(waiting, _PARTS * processes)]:
        made = from_items(portion, override_num_blocks=len(portion)).map(
            _made, fn_args=(function,), num_cpus=1, compute=data.TaskPoolStrategy(size=processes)
        )
        for row in made.iter_rows():
            yield row["made"].what


def _made(row: dict[str, Any], function: Callable[[Any], Any]) -> dict[str, Any]:
    return {"made": _Carried(function(row["part"].what))}
