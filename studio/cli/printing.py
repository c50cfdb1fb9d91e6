"""What verbs print and end with: exit statuses, JSON, findings, sizes."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from studio.domain.finding import Finding

DONE, AT_FAULT, USAGE, STOPPED = 0, 1, 2, 3
"""Exit statuses: done; the input or environment is at fault; usage; stopped or interrupted and resumable."""


def print_json(data: Any) -> int:
    """One JSON document on standard output; returns DONE."""
    json.dump(data, sys.stdout, ensure_ascii=False, indent=2)
    print()
    return DONE


def rows(number: int) -> str:
    """A number of rows in words.

    >>> rows(1), rows(2000)
    ('1 row', '2000 rows')
    """
    return f"{number} row{'' if number == 1 else 's'}"


def print_finding(found: Finding) -> None:
    """A finding in a line, and the first rows that it is about in another."""
    named = ", ".join(map(str, found.rows[:10])) + (" …" if found.count > 10 else "")
    print(harmless(f"{found.severity:8} {found.dimension}/{found.check}: {found.message} {found.remedy}"))
    if named:
        print(f"         rows {named}")


def harmless(text: str) -> str:
    """Text of a file with signs in place of characters that would steer a terminal; lines and tabs stay.

    >>> harmless("a\\x1b[31m\\tred")
    'a␛[31m\\tred'
    """
    return _STEERING.sub(lambda match: _sign(ord(match.group())), text)


_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def _sign(code: int) -> str:
    """
    >>> _sign(0x1B), _sign(0x7F), _sign(0x9B), _sign(0x202E)
    ('␛', '␡', '\\\\x9b', '\\\\u202e')
    """
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def size(number: float) -> str:
    """Bytes for people.

    >>> size(512), size(3_400_000)
    ('512 B', '3.4 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def clock(seconds: float) -> str:
    """
    >>> clock(5.4), clock(65), clock(3661)
    ('0:05', '1:05', '1:01:01')
    """
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
