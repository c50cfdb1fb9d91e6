"""What differs between two texts, word by word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

_HAN = r"\u3040-\u30ff\u3400-\u9fff"
_PIECES = re.compile(rf"[{_HAN}]|[^\W{_HAN}]+|\s|[^\w\s]")
"""Words; one at a time characters of scripts without spaces, white space and signs."""
MOST = 3000
"""Pieces on each side that are compared one with the other; longer stretches count as replaced."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Text that both have, that only the first has (`gone`), or that only the second has (`new`)."""

    kind: Literal["same", "gone", "new"]
    text: str


def difference(before: str, after: str) -> list[Stretch]:
    """The two texts as stretches in their order; those that are not `new` make up the first, not `gone` the second.

    >>> [(part.kind, part.text) for part in difference("a cat sat", "a dog sat")]
    [('same', 'a '), ('gone', 'cat'), ('new', 'dog'), ('same', ' sat')]
    """
    old, new = _PIECES.findall(before), _PIECES.findall(after)
    head = _agreeing(old, new)
    tail = _agreeing(old[head:][::-1], new[head:][::-1])
    middle = _between(old[head : len(old) - tail], new[head : len(new) - tail])
    parts = [Stretch("same", "".join(old[:head])), *middle, Stretch("same", "".join(old[len(old) - tail :]))]
    return [part for part in parts if part.text]


def shortened(parts: Sequence[Stretch], around: int) -> list[Stretch]:
    """Of what is the same, only so many characters on either side of a difference.

    >>> parts = difference("a long way to a cat", "a long way to a dog")
    >>> [part.text for part in shortened(parts, 4)]
    ['…o a ', 'cat', 'dog']
    """
    last = len(parts) - 1
    return [
        part
        if part.kind != "same"
        else Stretch("same", _near(part.text, around * (place > 0), around * (place < last)))
        for place, part in enumerate(parts)
    ]


def _near(text: str, head: int, tail: int) -> str:
    if len(text) <= head + tail + 1:
        return text
    return f"{text[:head]}…{text[len(text) - tail :]}"


def _agreeing(left: list[str], right: list[str]) -> int:
    """How many pieces are the same from the start on."""
    count = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        count += 1
    return count


def _between(old: list[str], new: list[str]) -> Iterator[Stretch]:
    if len(old) > MOST or len(new) > MOST:
        yield from (Stretch("gone", "".join(old)), Stretch("new", "".join(new)))
        return
    for kind, a, b, c, d in SequenceMatcher(None, old, new).get_opcodes():
        if kind == "equal":
            yield Stretch("same", "".join(old[a:b]))
        else:
            yield from (Stretch("gone", "".join(old[a:b])), Stretch("new", "".join(new[c:d])))
