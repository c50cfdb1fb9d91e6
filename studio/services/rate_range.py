"""The learning-rate range test of a configuration: in this process, or as a task beside the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from filelock import FileLock, Timeout

from studio.domain.config import RunConfig, parse_config
from studio.domain.errors import StudioError
from studio.engine.rate_range import STEPS, RangeTest, range_test
from studio.engine.tokenizer import load_tokenizer
from studio.services import tasks
from studio.services.plan import encoded, plan
from studio.services.store import Store

Progress = Callable[[str, float, float], None]


def start(store: Store, config: RunConfig, dataset: str = "") -> str:
    """Test in a process of its own; returns the task's id, whose result is a RangeTest as JSON.

    `dataset` is whose rows these are. StudioError at once where a run of this configuration could not be started.
    """
    plan(store, config)
    return tasks.start(store, "rates", {"config": config.model_dump(mode="json"), "dataset": dataset})


def run(store: Store, request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Do what a request asks, in this process."""
    return range_of(store, parse_config(request["config"]), progress=progress).to_json()


def range_of(store: Store, config: RunConfig, *, steps: int = STEPS, progress: Progress) -> RangeTest:
    """Test a configuration's rates, whether one is given or not. StudioError where a run is at work, or cannot be."""
    data, resolved = encoded(store, config).data, plan(store, config).config
    model = store.locate(config.model.id, revision=config.model.revision, download=False)
    lock = FileLock(store.device_lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudioError(
            "A run is at work, and the test needs the machine for itself.",
            "Start it again when the run has ended.",
        ) from None
    try:
        progress("loading", 0, 0)
        return range_test(
            model,
            resolved.train,
            data.rows,
            store.machine().device,
            pad_id=load_tokenizer(model).pad_id,
            steps=steps,
            progress=lambda done, total: progress("testing", done, total),
        )
    finally:
        lock.release()
