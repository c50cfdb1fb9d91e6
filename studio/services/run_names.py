"""What a run's data are called by whoever uploaded them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from studio.domain.errors import StudioError
from studio.domain.run import Run
from studio.services.jobs import Jobs
from studio.services.store import Store


def named(jobs: Jobs, run: Run) -> Run:
    """The run with its data called as the person who uploaded it did, not as the copy in the home is."""
    try:
        return replace(run, data=data_name(jobs.store, jobs.config(run.id).data.path))
    except StudioError:  # a damaged folder is still listed, with what is wrong with it
        return run


def data_name(store: Store, path: str) -> str:
    """The name of an upload; of another file its own, without the folders that it lies in."""
    folder = Path(path).parent
    if folder.parent == store.datasets_dir:
        try:
            return store.dataset(folder.name).name
        except StudioError:  # deleted since
            pass
    return Path(path).name
