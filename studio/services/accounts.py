"""Who may use the page: accounts in a file of the home, one of them the administrator's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from filelock import FileLock

from studio.domain.errors import StudioError
from studio.domain.run import ALIVE
from studio.services import passwords
from studio.services.files import now, read_json, write_json
from studio.services.store import Store

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


@dataclass(frozen=True)
class Account:
    name: str
    password: str
    """Its hash (`services/passwords.py`); empty where it comes with each start of the server."""
    administrator: bool
    created: str


class Accounts:
    """The accounts of a home, as they are now: another process may add some, or remove them.

    The administrator's things are the home itself, which is whose it was before there were accounts; those of each
    other user are a home of their own within it.
    """

    def __init__(self, store: Store, given: Account | None = None) -> None:
        """`given`: an account that is in no file, as its password comes with each start of the server."""
        self.store = store
        self._given = given
        self._read: tuple[int, Mapping[str, Account]] = (0, {})

    def all(self) -> list[Account]:
        """The administrator's first, then by name."""
        known = {**self._kept(), **({self._given.name: self._given} if self._given else {})}
        return sorted(known.values(), key=lambda account: (not account.administrator, account.name))

    @property
    def needed(self) -> bool:
        """Whether the page demands a login."""
        return any(account.password for account in self.all())

    def get(self, name: str) -> Account | None:
        if self._given and name == self._given.name:
            return self._given
        return self._kept().get(name)

    def signing_in(self, name: str, password: str) -> Account | None:
        """The account whose name and password these are. It takes as long where there is none of the name."""
        account = self.get(name.strip().lower())
        right = passwords.matches(password, account.password if account else passwords.nobodys())
        return account if right else None

    def store_of(self, account: Account) -> Store:
        """Where a user's things are."""
        return self.store if account.administrator else self.store.of_user(account.name)

    # What the command line does

    def add(self, name: str, password: str) -> Account:
        """A new account; the first one is the administrator's."""
        name = checked_name(name)
        passwords.checked(password, name)
        with self._changing():
            known = dict(self._kept())
            if name in known:
                raise StudioError(
                    "There is an account {name} already.",
                    "`studio users password` gives it another password.",
                    name=name,
                )
            first = not any(kept.administrator for kept in known.values())
            known[name] = Account(name, passwords.hashed(password), first, now())
            self._write(known)
        return known[name]

    def set_password(self, name: str, password: str) -> None:
        """Another password; whoever was signed in by the old one is not any more."""
        self.named(name)
        passwords.checked(password, name)
        with self._changing():
            known = dict(self._kept())
            known[name] = replace(known[name], password=passwords.hashed(password))
            self._write(known)

    def remove(self, name: str) -> str:
        """Remove an account; returns the folder in which its things are kept, or an empty string where it had none.

        StudioError for the administrator as long as there are others, and for one whose runs are at work.
        """
        account = self.named(name)
        with self._changing():
            known = dict(self._kept())
            if account.administrator and len(known) > 1:
                raise StudioError(
                    "{name} is the administrator.", "Remove the other accounts first.", name=name
                )
            folder = "" if account.administrator else self._set_aside(name)
            known.pop(name, None)
            self._write(known)
        return folder

    def keep_administrator(self, name: str) -> None:
        """Write down who the administrator is, where the file names none with a password of its own."""
        with self._changing():
            known = {
                one: kept for one, kept in self._kept().items() if kept.password or not kept.administrator
            }
            if not any(kept.administrator for kept in known.values()):
                known[name] = Account(name, "", True, now())
                self._write(known)

    def named(self, name: str) -> Account:
        """StudioError where the file has no such account."""
        account = self._kept().get(name)
        if account is None:
            raise StudioError("There is no account {name}.", "`studio users list` shows them.", name=name)
        return account

    def _set_aside(self, name: str) -> str:
        from studio.services.jobs import Jobs

        home = self.store.users_home(name)
        if not home.is_dir():
            return ""
        at_work = [run.id for run in Jobs(self.store.of_user(name)).list() if run.state in ALIVE]
        if at_work:
            raise StudioError(
                "Runs of {name} are at work: {runs}.",
                "Stop them first: studio runs stop RUN --as {name}.",
                name=name,
                runs=", ".join(at_work),
            )
        return str(self.store.set_aside(name))

    def _changing(self) -> FileLock:
        return FileLock(self.store.shared / "users.lock")

    def _write(self, known: Mapping[str, Account]) -> None:
        write_json(
            self.store.users_file, {"schema": 1, "users": {name: asdict(one) for name, one in known.items()}}
        )
        self._read = (0, {})

    def _kept(self) -> Mapping[str, Account]:
        try:
            written = self.store.users_file.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        if written != self._read[0]:
            users = (read_json(self.store.users_file) or {}).get("users", {})
            self._read = (written, {name: Account(**one) for name, one in users.items()})
        return self._read[1]


def given_account(store: Store, name: str, password: str) -> Account:
    """The administrator's account for one start of the server. StudioError where the home has another administrator.

    The file keeps its name alone, so that it stays the administrator's when other accounts are added.
    """
    # The salt of the sessions, so that who is signed in stays so where the password is the same at the next start.
    from studio.services.sessions import salt_of

    name = checked_name(name)
    passwords.checked(password, name)
    accounts = Accounts(store)
    for kept in accounts.all():
        if kept.password and kept.administrator != (kept.name == name):
            raise StudioError(
                "{name} cannot be given with --user: it is not the administrator of this home.",
                "Leave --user away: the accounts of the home are used. `studio users list` shows them.",
                name=name,
            )
    accounts.keep_administrator(name)
    return Account(name, passwords.hashed(password, salt_of(store)), True, "")


def checked_name(name: str) -> str:
    """The name as accounts are known by it: in lower case. StudioError where it can be none."""
    found = name.strip().lower()
    if not _NAME.fullmatch(found):
        raise StudioError(
            "{name} cannot be the name of an account.",
            "Use up to 32 letters from a to z, digits, hyphens and underscores, and begin with a letter or a digit.",
            name=repr(name),
        )
    return found
