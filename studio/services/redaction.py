"""Secrets stay out of what is written: the keys of this process's environment by their value, others by their form."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from html import escape
from typing import Any, TextIO

MARK = "[secret]"
_NAMES = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|PRIVATE_KEY|CREDENTIAL", re.IGNORECASE)
_SHORTEST = 12
"""Characters: a shorter value may be a word of anybody's rows."""
# The published forms of keys: hub, OpenAI and its kin, GitHub, AWS, Slack, Google, Weights & Biases; in a header, in an
# address, or after a name that says what it is.
_FORMS = re.compile(
    r"(?<![\w-])(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}"
    r"|AKIA[0-9A-Z]{16}|xox[abprs]-[A-Za-z0-9-]{10,}|AIza[\w-]{30,}|wandb_v1_\w{20,}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})"
    r"|(?<=://)[^\s/:@]+:[^\s/@]+(?=@)|(?<=Bearer )[\w.~+/=-]{8,}"
    r"|(?:(?<=password=)|(?<=token=)|(?<=api_key=)|(?<=apikey=))[^\s&\"']{8,}"
)


def known(environment: Mapping[str, str] | None = None) -> list[str]:
    """The values of an environment that are secrets by their names, the longest first."""
    found = os.environ if environment is None else environment
    values = {value for name, value in found.items() if _NAMES.search(name) and len(value) >= _SHORTEST}
    # A name such as TOKENIZERS_PARALLELISM has a plain value; paths are no secrets.
    return sorted((value for value in values if not value.startswith(("/", "~"))), key=len, reverse=True)


def without_known(text: str) -> str:
    """`text` without the secrets of this process's environment: for what must stay as it is but for them."""
    for value in known():
        for written in {
            value,
            json.dumps(value, ensure_ascii=False)[1:-1],
            escape(value),
        }:  # as JSON or HTML has it
            text = text.replace(written, MARK)
    return text


def redacted(text: str) -> str:
    """`text` also without what looks like a key: for what programs say, which may name any.

    >>> redacted("GET https://ana:pass-word@host/x: 401, Bearer abcdefgh123")
    'GET https://[secret]@host/x: 401, Bearer [secret]'
    """
    return _FORMS.sub(MARK, without_known(text))


class _Redacting:
    """A stream that writes whole lines, without secrets."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rest = ""

    def write(self, text: str) -> int:
        lines = (self._rest + text).splitlines(keepends=True)
        # Progress bars go back to the line's beginning; what is left may be the first half of a key.
        self._rest = lines.pop() if lines and not lines[-1].endswith(("\n", "\r")) else ""
        if len(self._rest) > 4096:
            lines, self._rest = [*lines, self._rest], ""
        if lines:
            self._stream.write(redacted("".join(lines)))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        rest, self._rest = self._rest, ""
        self._stream.write(redacted(rest))
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard_output() -> None:
    """From now on what this process prints, its log, is without secrets."""
    import atexit

    for name in ("stdout", "stderr"):
        stream = _Redacting(getattr(sys, name))
        setattr(sys, name, stream)
        atexit.register(stream.close)
