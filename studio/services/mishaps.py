"""What failed inside the studio while it answered, in a file of the home: the page names its number, no code."""

from __future__ import annotations

import secrets
from contextlib import suppress

from studio.services.files import now
from studio.services.redaction import redacted
from studio.services.store import Store

_LARGEST = 1 << 20
"""Bytes, after which the file is begun anew; the last full one is kept."""


def note(store: Store, trace: str, user: str = "") -> str:
    """Write a traceback down; returns the number that it is found by. Without a number where it cannot be written."""
    number = secrets.token_hex(4)
    file = store.errors_file
    with suppress(OSError):  # a full disk must not hide what failed
        if file.is_file() and file.stat().st_size > _LARGEST:
            file.replace(file.with_suffix(".log.1"))
        with file.open("a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"{number}  {now()}  {user}\n{redacted(trace)}\n")
        return number
    return ""
