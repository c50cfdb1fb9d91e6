"""Who is signed in on the page, and how often a wrong password may be tried.

Of a session's secret only the hash is kept, in a file, so that a restart signs nobody out and the file lets nobody in.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from studio.services.accounts import Account, Accounts
from studio.services.files import read_json, write_json
from studio.services.store import Store

LIFE = 7 * 86_400
"""Seconds after which one has to sign in again."""
IDLE = 86_400
"""Seconds after which a session ends that nobody uses."""
_NOTED = 600
"""Seconds: how exactly it is kept when a session was last used."""
_KEPT = 10_000

WINDOW = 900
"""Seconds within which failed attempts count."""
BY_ACCOUNT = 10
BY_ADDRESS = 30


@dataclass(frozen=True)
class _Session:
    user: str
    key: str
    """Of the password that it was begun with: another password ends it."""
    begun: float
    used: float


class Sessions:
    """The sessions of a home's page."""

    def __init__(self, accounts: Accounts, clock: Callable[[], float] = time.time) -> None:
        self.accounts = accounts
        self._file = accounts.store.sessions_file
        self._clock = clock
        self._lock = threading.Lock()
        self._known = self._from_file()

    def begin(self, account: Account) -> str:
        """A new session; returns its secret, which is known to nobody else."""
        secret = secrets.token_urlsafe(32)
        now = self._clock()
        with self._lock:
            self._known[_hash(secret)] = _Session(account.name, _key(account), now, now)
            self._write(now)
        return secret

    def of(self, secret: str) -> Account | None:
        """Whose session it is; None where it is none, or none any more."""
        found = self._known.get(_hash(secret)) if secret else None
        if found is None:
            return None
        now = self._clock()
        account = self.accounts.get(found.user)
        if not self._lasts(found, now) or account is None or _key(account) != found.key:
            self.end(secret)
            return None
        if now - found.used > _NOTED:
            with self._lock:
                self._known[_hash(secret)] = _Session(found.user, found.key, found.begun, now)
                self._write(now)
        return account

    def end(self, secret: str) -> None:
        with self._lock:
            if self._known.pop(_hash(secret), None):
                self._write(self._clock())

    def _lasts(self, session: _Session, now: float) -> bool:
        return now - session.begun < LIFE and now - session.used < IDLE

    def _write(self, now: float) -> None:
        lasting = [(key, one) for key, one in self._known.items() if self._lasts(one, now)]
        self._known = dict(lasting[-_KEPT:])
        kept = read_json(self._file) or {}
        sessions = {key: [one.user, one.key, one.begun, one.used] for key, one in self._known.items()}
        write_json(self._file, {**kept, "schema": 1, "sessions": sessions})

    def _from_file(self) -> dict[str, _Session]:
        kept = (read_json(self._file) or {}).get("sessions", {})
        return {key: _Session(*values) for key, values in kept.items()}


def salt_of(store: Store) -> bytes:
    """A salt that stays the same for a home; made at the first call."""
    kept = read_json(store.sessions_file) or {}
    if "salt" not in kept:
        kept = {**kept, "schema": 1, "salt": secrets.token_hex(16)}
        write_json(store.sessions_file, kept)
    return bytes.fromhex(kept["salt"])


@dataclass
class Attempts:
    """Failed attempts to sign in, by the account that was named and by the address that they came from.

    An account that does not exist is counted like one that does, so that nobody learns which there are.
    """

    clock: Callable[[], float] = time.monotonic
    _failed: OrderedDict[tuple[str, str], deque[float]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, name: str, address: str) -> float:
        """Seconds until another attempt is looked at; 0 where one is now."""
        with self._lock:
            return max(
                self._left(("account", name), BY_ACCOUNT), self._left(("address", address), BY_ADDRESS), 0.0
            )

    def failed(self, name: str, address: str) -> None:
        with self._lock:
            for key in (("account", name), ("address", address)):
                self._failed.setdefault(key, deque(maxlen=BY_ADDRESS)).append(self.clock())
                self._failed.move_to_end(key)
            while len(self._failed) > _KEPT:
                self._failed.popitem(last=False)

    def succeeded(self, name: str) -> None:
        with self._lock:
            self._failed.pop(("account", name), None)

    def _left(self, key: tuple[str, str], most: int) -> float:
        times = self._failed.get(key, deque())
        while times and self.clock() - times[0] > WINDOW:
            times.popleft()
        return times[-most] + WINDOW - self.clock() if len(times) >= most else 0.0


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key(account: Account) -> str:
    return _hash(f"{account.name} {account.password}")[:16]
