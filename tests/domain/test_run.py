from __future__ import annotations

from studio.domain.run import ALIVE, RESUMABLE, STATES, TRANSITIONS, may_follow


def test_every_state_says_what_may_follow() -> None:
    assert set(TRANSITIONS) == set(STATES)


def test_a_finished_run_stays_finished() -> None:
    assert not any(may_follow("finished", state) for state in STATES if state != "finished")


def test_whatever_is_resumable_goes_back_to_the_queue() -> None:
    assert {state for state in STATES if may_follow(state, "queued") and state != "queued"} == RESUMABLE


def test_any_state_at_work_may_be_interrupted() -> None:
    assert all(may_follow(state, "interrupted") for state in ALIVE)
