"""A home that an older version of the studio kept opens in this one: nothing of it is lost or misread."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from studio.engine.dataset import read
from studio.services import history, home_check, talks
from studio.services.accounts import Accounts
from studio.services.jobs import Jobs
from studio.services.store import Store

KEPT = sorted((Path(__file__).parent.parent / "older_homes").glob("*.zip"))
"""One of each schema, as `python -m tests.homes` wrote it at the time."""


@pytest.fixture(params=KEPT, ids=lambda file: file.stem)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    shutil.unpack_archive(request.param, tmp_path / "home")
    return Store(tmp_path / "home")


def test_each_schema_is_kept() -> None:
    assert [file.stem for file in KEPT] == ["schema-1"]


def test_the_rows_are_those_that_were_repaired_and_the_repair_can_be_undone(store: Store) -> None:
    (entry,) = store.datasets()
    assert [row.response for row in read(entry.path).conversations] == ["Up, on most maps.", "Down.", ""]
    (step,) = history.history(store, entry.id).steps
    assert (step.kind, step.changed, step.asked["checks"]) == ("repair", 1, ["whitespace"])
    history.undo(store, entry.id, step.number)
    (entry,) = store.datasets()
    assert read(entry.path).conversations[0].response == "Up, on most maps. "


def test_the_run_is_there_with_its_settings_figures_rows_and_checkpoint(store: Store) -> None:
    jobs = Jobs(store)
    (run,) = jobs.list()
    assert (run.name, run.state, run.steps) == ("tuned", "finished", 3)
    assert run.metrics["eval_loss"] == 0.75
    config = jobs.config(run.id)
    assert (config.train.method, config.train.rank, config.train.learning_rate) == ("lora", 4, 1e-3)
    assert [row.prompt for row in jobs.held_out(run.id)] == ["Question 9?", "Question 10?"]
    assert [event.type for event in jobs.events(run.id)[0]] == ["started", "finished"]
    assert jobs.files(run.id).has_result()


def test_the_conversation_is_there(store: Store) -> None:
    (talk,) = talks.listed(store).talks
    assert (talk.title, talk.branch[0].answers["tuned"].text) == ("Which way is north?", "Up.")


def test_everybody_can_sign_in_and_has_their_own_things(store: Store) -> None:
    accounts = Accounts(store)
    ada, ben = accounts.all()
    assert (ada.administrator, ben.administrator) == (True, False)
    assert accounts.signing_in("ben", "a password of ben's") == ben
    assert accounts.signing_in("ben", "a password of ada's") is None
    assert accounts.store_of(ben).run_ids() == []
    assert len(accounts.store_of(ada).run_ids()) == 1


def test_it_is_in_order(store: Store) -> None:
    assert home_check.flaws(store) == []
