"""Whether a template writes what it was given: as it stands, JSON-escaped, or as other JSON of the same values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def is_written(part: str, text: str) -> bool:
    """Whether a text shows this, white space at its ends aside.

    Llama 3 writes a tool's result as a JSON string, Mistral reads its JSON and writes it anew.

    >>> is_written('{"a":1}', 'result: {"a": 1}'), is_written('say "hi"', r'"say \\"hi\\""'), is_written("no", "yes")
    (True, True, False)
    """
    part = part.strip()
    if not part or _stands_in(part, text):
        return True
    if part[0] not in "{[":
        return False
    try:
        leaves = list(_leaves(json.loads(part)))
    except (ValueError, RecursionError):
        return False
    return all(_stands_in(leaf, text) for leaf in leaves)


def strips(text: str, content: str) -> bool:
    """Whether a turn's text has this content, but without the white space at its ends."""
    words = content.strip()
    return words != content and bool(words) and content not in text and words in text


def _stands_in(part: str, text: str) -> bool:
    """As it is, or as it stands in a JSON string."""
    return part in text or any(json.dumps(part, ensure_ascii=ascii)[1:-1] in text for ascii in (False, True))


def _leaves(value: Any) -> Iterator[str]:
    """Names, texts and numbers in a JSON value; what is true, false or null is written in too many ways."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, str):
        yield value.strip()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield json.dumps(value)
