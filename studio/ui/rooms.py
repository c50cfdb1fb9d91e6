"""Whose things an event works on: everybody has a store, runs and a chat of their own, known by who is signed in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.domain.errors import StudioError
from studio.services import mishaps

if TYPE_CHECKING:
    from studio.services.accounts import Accounts
    from studio.services.chat import ChatProcess
    from studio.services.jobs import Jobs
    from studio.services.store import Store

STATE = "studio_user"
"""Where the gate notes in a request's state who sent it."""
_WHO: ContextVar[str] = ContextVar("studio_user", default="")


@dataclass(frozen=True)
class Room:
    """One person's things."""

    store: Store
    jobs: Jobs
    chat: ChatProcess


class Rooms:
    """Everybody's room; without a login there is one, for whoever sits at this machine."""

    def __init__(self, store: Store, jobs: Jobs, chat: ChatProcess, accounts: Accounts | None = None) -> None:
        """`accounts`: where a login is demanded."""
        self.accounts = accounts
        self.main = Room(store, jobs, chat)
        """The administrator's, or the only one."""
        self._others: dict[str, Room] = {}
        self._lock = threading.Lock()

    @property
    def here(self) -> Room:
        """The room of whoever sent what is being answered. StudioError where nobody is signed in."""
        return self.of(_WHO.get())

    @property
    def who(self) -> str:
        """The name of whoever sent what is being answered; empty without a login."""
        return _WHO.get()

    @property
    def administrator_is_here(self) -> bool:
        """Whether what is being answered was sent by the administrator of a home with accounts."""
        account = self.accounts.get(_WHO.get()) if self.accounts else None
        return account is not None and account.administrator

    def of(self, name: str) -> Room:
        if self.accounts is None:
            return self.main
        account = self.accounts.get(name)
        if account is None:
            raise StudioError("Nobody is signed in.", "Load the page anew and sign in.")
        if account.administrator:
            return self.main
        with self._lock:
            if name not in self._others:
                from studio.services.jobs import Jobs

                store = self.accounts.store_of(account)
                self._others[name] = Room(store, Jobs(store), self.main.chat.for_store(store))
            return self._others[name]

    def noted(self, trace: str) -> str:
        """Keep what failed inside the studio; returns the number that it is found by."""
        return mishaps.note(self.main.store, trace, _WHO.get())

    @contextmanager
    def entered_by(self, request: Any) -> Iterator[None]:
        """Within it, `here` is the room of the request's sender."""
        token = _WHO.set(sender(request))
        try:
            yield
        finally:
            _WHO.reset(token)


def sender(request: Any) -> str:
    """Who sent a request, as the gate has noted; empty without a login."""
    return str(getattr(getattr(request, "state", None), STATE, ""))
