"""A short campaign on every run of the tests; `python -m tests.faults.campaign` does the long one."""

from __future__ import annotations

import random

import pytest

from tests.faults.campaign import (
    Outcome,
    can_mount,
    chain,
    checkpoint_damaged,
    disk_full,
    killed_in_training,
    server_killed,
    table,
)
from tests.faults.ground import End, Ground

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def whole(ground: Ground) -> End:
    return ground.undisturbed()


@pytest.mark.parametrize("fault", [killed_in_training, checkpoint_damaged])
def test_a_worker_that_is_killed_loses_no_more_than_the_steps_since_its_last_checkpoint(
    ground: Ground, whole: End, fault
) -> None:
    outcomes = chain(ground, whole, fault, 1, random.Random(3))
    assert all(outcome.is_good and outcome.state == "interrupted" for outcome in outcomes), outcomes


def test_a_server_that_is_killed_takes_no_run_with_it(ground: Ground, whole: End) -> None:
    outcome = server_killed(ground, whole, random.Random(3))
    assert outcome.is_good, outcome


@pytest.mark.skipif(not can_mount(), reason="a small disk is mounted: that needs root on Linux")
def test_a_run_on_a_full_disk_says_so_and_goes_on_when_there_is_room(whole: End) -> None:
    outcome = disk_full(whole, random.Random(3))
    assert outcome.is_good, outcome
    assert "disk is full" in outcome.said


def test_the_table_counts_what_came_of_each_fault() -> None:
    kill = Outcome("server_killed", "finished", "", 0, True)
    assert table([kill, kill]).splitlines()[-1] == "| server killed | 2 | 2 finished | 0 | 2 of 2 |"
