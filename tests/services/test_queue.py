"""One device, one queue: the runs of several users in the order in which they came."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from studio.domain.errors import StudioError
from studio.services import process, queue
from studio.services.jobs import Jobs
from studio.services.run_files import RunFiles, State
from studio.services.store import Store
from tests.runs import finished_run


@pytest.fixture
def home(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def waiting_run(store: Store, since: float) -> str:
    """A run of this test's own process that waits for the device."""
    files: RunFiles = finished_run(store, f"waits-{since:g}")  # runs of two users may have one name
    (files.folder / "state.json").unlink()
    files.write_state(State("queued", os.getpid(), process.start_time(os.getpid())))
    files.write_place(since)
    return files.id


def test_runs_of_all_users_wait_in_one_line_and_each_sees_its_own_alone(home: Store) -> None:
    ana, ben = home.of_user("ana"), home.of_user("ben")
    first, second, third = waiting_run(ana, 1.0), waiting_run(ben, 2.0), waiting_run(ana, 3.0)
    assert Jobs(ana).queue() == [first, third]
    assert Jobs(ben).queue() == [second]
    placed = [
        (run.place, run.waiting)
        for run in (Jobs(ana).get(first), Jobs(ben).get(second), Jobs(ana).get(third))
    ]
    assert placed == [(1, 3), (2, 3), (3, 3)]
    assert [
        queue.is_next(store, RunFiles(store.run_dir(run))) for store, run in ((ana, first), (ben, second))
    ] == [
        True,
        False,
    ]


def test_a_user_changes_the_order_of_own_runs_and_passes_nobody_else(home: Store) -> None:
    ana, ben = home.of_user("ana"), home.of_user("ben")
    first, second, third = waiting_run(ana, 1.0), waiting_run(ben, 2.0), waiting_run(ana, 3.0)
    Jobs(ana).move(third, 2)  # one place forward: before her own first one
    assert Jobs(ana).queue() == [third, first]
    assert [Jobs(ana).get(run).place for run in (third, first)] == [1, 3]
    assert Jobs(ben).get(second).place == 2
    with pytest.raises(StudioError, match="no other of your runs"):
        Jobs(ben).move(second, 1)
    with pytest.raises(StudioError, match="There is no run"):
        Jobs(ben).move(first, 1)


def test_the_administrator_moves_the_own_run_past_all_others(home: Store) -> None:
    theirs, own = waiting_run(home.of_user("ana"), 1.0), waiting_run(home, 2.0)
    Jobs(home).move(own, 1)
    assert Jobs(home).get(own).place == 1
    assert Jobs(home.of_user("ana")).get(theirs).place == 2
