"""Who may use the page: `studio users`."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from typing import TYPE_CHECKING

from studio.cli.parsing import add_verb, add_verbs
from studio.cli.printing import DONE, print_json
from studio.domain.errors import StudioError
from studio.services.store import Store

if TYPE_CHECKING:
    from studio.cli.parsing import Verbs

_PASSWORD = "the password is asked for, or taken from STUDIO_PASSWORD or standard input"


def add_to(verbs: Verbs) -> None:
    """Declare the verbs of this module."""
    inner = add_verbs(add_verb(verbs, "users", list_users, "the accounts that the page can be used by"))
    add_verb(inner, "list", list_users, "the accounts")
    for name, verb, help in (
        ("add", add, f"a new account, the first one the administrator's; {_PASSWORD}"),
        ("password", set_password, f"another password, which signs out everywhere; {_PASSWORD}"),
        ("remove", remove, "remove an account; its things are kept in the folder `removed` of the home"),
    ):
        add_verb(inner, name, verb, help).add_argument("name")


def list_users(options: argparse.Namespace, store: Store) -> int:
    """The accounts, the administrator's first."""
    from studio.services.accounts import Accounts

    found = Accounts(store).all()
    if options.json:
        keys = ("name", "administrator", "created")
        return print_json([{key: getattr(account, key) for key in keys} for account in found])
    if not found:
        print(
            "No account yet: the page serves this machine only. `studio users add NAME` makes the first one."
        )
    for account in found:
        print(
            f"{account.name:32} {'administrator' if account.administrator else 'user':14} {account.created}"
        )
    return DONE


def add(options: argparse.Namespace, store: Store) -> int:
    """Make an account."""
    from studio.services.accounts import Accounts, checked_name

    accounts, name = Accounts(store), checked_name(options.name)
    made = accounts.add(name, asked_password(name, twice=True))
    return _said(
        options, {"name": made.name, "administrator": made.administrator}, f"{made.name} can sign in."
    )


def set_password(options: argparse.Namespace, store: Store) -> int:
    """Give an account another password."""
    from studio.services.accounts import Accounts

    accounts = Accounts(store)
    accounts.named(options.name)
    accounts.set_password(options.name, asked_password(options.name, twice=True))
    return _said(options, {"name": options.name}, f"{options.name} has to sign in anew everywhere.")


def remove(options: argparse.Namespace, store: Store) -> int:
    """Remove an account."""
    from studio.services.accounts import Accounts

    folder = Accounts(store).remove(options.name)
    kept = f" What was theirs is in {folder}." if folder else ""
    return _said(options, {"name": options.name, "kept": folder}, f"{options.name} is removed.{kept}")


def asked_password(user: str, *, twice: bool = False) -> str:
    """From STUDIO_PASSWORD, the keyboard without echo, or standard input; never from the command line.

    StudioError where two that are typed differ.
    """
    given = os.environ.get("STUDIO_PASSWORD")
    if given:
        return given
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    typed = getpass.getpass(f"Password for {user}: ")
    if twice and getpass.getpass("Once more: ") != typed:
        raise StudioError("The two passwords differ.", "Nothing was changed; type it again.")
    return typed


def _said(options: argparse.Namespace, data: dict[str, object], sentence: str) -> int:
    if options.json:
        return print_json(data)
    print(sentence)
    return DONE
