"""Accounts, their passwords, their sessions, and how often a wrong password may be tried."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from studio.domain.config import RunConfig
from studio.domain.errors import StudioError
from studio.services import passwords
from studio.services.accounts import Accounts, given_account
from studio.services.sessions import BY_ACCOUNT, BY_ADDRESS, IDLE, LIFE, WINDOW, Attempts, Sessions
from studio.services.store import Store


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    found = Accounts(Store(tmp_path / "home"))
    found.add("ana", "a secret of ana")
    found.add("ben", "a secret of ben")
    return found


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_account_is_the_administrators_and_its_things_are_the_home_itself(
    accounts: Accounts,
) -> None:
    assert [(one.name, one.administrator) for one in accounts.all()] == [("ana", True), ("ben", False)]
    ana, ben = (accounts.store_of(one) for one in accounts.all())
    assert ana is accounts.store
    assert ben.home == ana.home / "users" / "ben"
    assert (ben.models_dir, ben.device_lock, ben.machine_file) == (
        ana.models_dir,
        ana.device_lock,
        ana.machine_file,
    )
    assert (ben.shared, ben.confined, ana.confined) == (ana.home, True, False)
    assert Store(ben.home).shared == ana.home  # as a worker opens it, from its run's folder


def test_a_password_is_kept_as_a_salted_scrypt_hash_in_a_file_of_its_owner_alone(accounts: Accounts) -> None:
    file = accounts.store.users_file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    kept = json.loads(file.read_text())["users"]["ana"]["password"]
    assert kept.startswith("scrypt$15$8$3$")
    assert "a secret" not in file.read_text()
    assert passwords.hashed("same") != passwords.hashed("same")
    assert passwords.matches("same", passwords.hashed("same"))
    for damaged in ("", "x", "scrypt$15$8$3$?$?", "scrypt$99$8$3$YQ==$YQ==", "md5$15$8$3$YQ==$YQ=="):
        assert not passwords.matches("same", damaged)


def test_who_signs_in_needs_the_name_in_any_case_and_the_password_as_it_is(accounts: Accounts) -> None:
    found = accounts.signing_in(" ANA ", "a secret of ana")
    assert found is not None
    assert found.name == "ana"
    for name, password in (("ana", "A secret of ana"), ("ana", ""), ("eve", "a secret of ana"), ("", "")):
        assert accounts.signing_in(name, password) is None


@pytest.mark.parametrize(
    "name", ["", "../ana", "a/b", ".ana", "-x", "a" * 33, "añа", "con spaces", "a\nb", "a.b"]
)
def test_a_name_that_is_no_plain_word_is_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(StudioError, match="cannot be the name of an account"):
        accounts.add(name, "long enough")


def test_a_short_password_and_a_taken_name_are_refused(accounts: Accounts) -> None:
    with pytest.raises(StudioError, match="fewer than 8 characters"):
        accounts.add("cem", "short")
    with pytest.raises(StudioError, match="There is an account ana already"):
        accounts.add("Ana", "long enough")


def test_a_session_outlives_a_restart_and_its_secret_is_in_no_file(accounts: Accounts) -> None:
    secret = Sessions(accounts).begin(accounts.named("ben"))
    again = Sessions(accounts).of(secret)
    assert again is not None
    assert again.name == "ben"
    assert secret not in accounts.store.sessions_file.read_text()
    assert stat.S_IMODE(accounts.store.sessions_file.stat().st_mode) == 0o600
    for forged in (
        "",
        "x",
        secret[:-1],
        json.loads(accounts.store.sessions_file.read_text()) and secret + "x",
    ):
        assert Sessions(accounts).of(forged) is None


def test_a_session_ends_by_signing_out_by_age_and_when_nobody_uses_it(accounts: Accounts) -> None:
    clock = Clock()
    sessions = Sessions(accounts, clock)
    one, idle, old = (sessions.begin(accounts.named("ana")) for _ in range(3))
    sessions.end(one)
    assert sessions.of(one) is None
    for _ in range(LIFE // IDLE * 2 - 1):
        clock.now += IDLE / 2
        assert sessions.of(old) is not None
    assert sessions.of(idle) is None
    clock.now += IDLE / 2
    assert sessions.of(old) is None


def test_another_password_and_the_accounts_removal_end_its_sessions(accounts: Accounts) -> None:
    sessions = Sessions(accounts)
    ana, ben = (sessions.begin(accounts.named(name)) for name in ("ana", "ben"))
    Accounts(accounts.store).set_password(
        "ana", "another secret"
    )  # as the command line does, in another process
    assert sessions.of(ana) is None
    accounts.remove("ben")
    assert sessions.of(ben) is None


def test_who_is_removed_leaves_nothing_to_the_next_one_of_the_name(
    accounts: Accounts, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "a", "response": "b"}\n')
    accounts.store_of(accounts.named("ben")).save_dataset(file)
    kept = Path(accounts.remove("ben"))
    assert kept.parent == accounts.store.home / "removed"
    assert (kept / "datasets" / "rows" / "rows.jsonl").is_file()
    accounts.add("ben", "another person")
    assert accounts.store_of(accounts.named("ben")).datasets() == []
    with pytest.raises(StudioError, match="ana is the administrator"):
        accounts.remove("ana")


def test_the_account_of_one_start_is_the_administrators_and_stays_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    given = Accounts(store, given_account(store, "studio", "from the environment"))
    session = Sessions(given).begin(given.all()[0])
    assert "from the environment" not in store.users_file.read_text()
    assert not Accounts(store).needed  # nobody can sign in without the account being given
    assert not Accounts(store).add("ana", "a secret of ana").administrator
    same = Accounts(store, given_account(store, "studio", "from the environment"))
    other = Accounts(store, given_account(store, "studio", "another password"))
    assert Sessions(same).of(session) is not None
    assert Sessions(other).of(session) is None
    with pytest.raises(StudioError, match="is not the administrator of this home"):
        given_account(store, "ana", "from the environment")


def test_failed_attempts_are_bounded_by_account_and_by_address_also_for_names_that_do_not_exist() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for name in ("ana", "nobody"):
        for n in range(BY_ACCOUNT):
            assert attempts.wait(name, f"10.0.0.{n}") == 0
            attempts.failed(name, f"10.0.0.{n}")
        assert attempts.wait(name, "10.9.9.9") == WINDOW
    for n in range(BY_ADDRESS):
        attempts.failed(f"user{n}", "10.1.1.1")
    assert attempts.wait("ben", "10.1.1.1") == WINDOW
    assert attempts.wait("ben", "10.2.2.2") == 0
    clock.now += WINDOW + 1
    assert attempts.wait("ana", "10.1.1.1") == 0


def test_users_may_name_no_folder_of_the_machine_and_none_of_others(
    accounts: Accounts, tmp_path: Path
) -> None:
    ben = accounts.store_of(accounts.named("ben"))
    (tmp_path / "model").mkdir()
    (ben.models_dir / "shared").mkdir()
    for allowed in ("starter", "shared", "owner/name", str(ben.runs_dir / "x" / "model")):
        ben.check_model(allowed)
    for path in (
        str(tmp_path / "model"),
        "../home",
        "..",
        ".",
        "~",
        "/",
        "/etc",
        str(ben.shared / "runs"),
        "../runs/x",
    ):
        with pytest.raises(StudioError, match="outside of what this page may read"):
            ben.check_model(path)


def test_users_hand_no_run_to_a_cluster_at_an_address_of_a_form(accounts: Accounts, tmp_path: Path) -> None:
    ben = accounts.store_of(accounts.named("ben"))
    given = {
        "data": {"path": str(ben.datasets_dir / "x.jsonl")},
        "launch": {"where": "ray", "address": "http://10.0.0.1"},
    }
    with pytest.raises(StudioError, match="This page starts runs on this machine alone"):
        ben.check_reach(RunConfig.model_validate({"model": {"id": "starter"}, **given}))
