"""Passwords are kept as scrypt hashes, each with a salt of its own, and compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from base64 import b64decode, b64encode
from functools import lru_cache

from studio.domain.errors import StudioError

SHORTEST = 8
LONGEST = 1024
"""Characters; longer ones only cost the machine time."""
# OWASP's advice for scrypt ("Password Storage Cheat Sheet"): 32 MiB, three times over.
_LOG_N, _R, _P = 15, 8, 3
_AT_ONCE = threading.BoundedSemaphore(2)
"""So that many attempts at once cannot fill the memory."""


def checked(password: str, user: str) -> str:
    """The password, where it may be one. StudioError where it is too short or too long."""
    if len(password) < SHORTEST:
        raise StudioError(
            "The password for {user} has fewer than 8 characters.",
            "Choose a longer one; the environment variable STUDIO_PASSWORD or standard input may give it.",
            user=user,
        )
    if len(password) > LONGEST:
        raise StudioError(
            "The password for {user} has more than {most} characters.",
            "Choose a shorter one.",
            user=user,
            most=LONGEST,
        )
    return password


def hashed(password: str, salt: bytes | None = None) -> str:
    """What is kept of a password: `scrypt$log2(n)$r$p$salt$hash`, the last two in base64."""
    salt = salt or secrets.token_bytes(16)
    digest = _scrypt(password, salt, _LOG_N, _R, _P)
    return "$".join(("scrypt", str(_LOG_N), str(_R), str(_P), _text(salt), _text(digest)))


def matches(password: str, kept: str) -> bool:
    """Whether it is the password of which `kept` was made. Takes as long where it is not."""
    try:
        kind, log_n, r, p, salt, digest = kept.split("$")
        costs = int(log_n), int(r), int(p)
        expected, salted = b64decode(digest, validate=True), b64decode(salt, validate=True)
    except ValueError:
        return False
    if kind != "scrypt" or len(password) > LONGEST or costs[0] > 20:
        return False
    return hmac.compare_digest(_scrypt(password, salted, *costs), expected)


@lru_cache(maxsize=1)
def nobodys() -> str:
    """Compared where there is no such account, so that the time taken does not tell."""
    return hashed(secrets.token_hex(16))


def _scrypt(password: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    with _AT_ONCE:
        return hashlib.scrypt(
            password.encode("utf-8", "surrogatepass"),
            salt=salt,
            n=1 << log_n,
            r=r,
            p=p,
            maxmem=256 * r << log_n,
            dklen=32,
        )


def _text(raw: bytes) -> str:
    return b64encode(raw).decode("ascii")
