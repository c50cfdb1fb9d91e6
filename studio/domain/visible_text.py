"""A row's text as it is shown: what is trained, masked or cut, special tokens, and white space as signs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from studio.domain.encoded import IGNORED, Encoded

Kind = Literal["trained", "masked", "cut"]
KINDS: tuple[Kind, ...] = ("trained", "masked", "cut")

# A single space between two words speaks for itself; beside other white space or at an end it does not.
_SPACE = re.compile(r"(?<=\s) | (?=\s)|\A | \Z")
_INVISIBLE = "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f"
_UNSEEN = re.compile(rf"[^\S ]|[\x00-\x1f\x7f{_INVISIBLE}]")
_JOINERS = frozenset("\u200c\u200d")
_SIGNS = {" ": "·", "\t": "⇥", "\n": "↵\n", "\r": "␍", "\u00a0": "⍽"}


@dataclass(frozen=True)
class Part:
    """`text[start:end]` of a row: one special token, or ordinary text, which may be spelled like one."""

    start: int
    end: int
    special: bool


@dataclass(frozen=True)
class Stretch:
    """Neighbouring tokens of one kind: how many, and their text."""

    kind: Kind
    tokens: int
    parts: list[Part]


def kind(encoded: Encoded, index: int) -> Kind:
    """
    >>> row = Encoded((5, 6), (IGNORED, 6), ((0, 1), (1, 2), (2, 3)), "abc", cut_ids=(7,))
    >>> [kind(row, index) for index in range(3)]
    ['masked', 'trained', 'cut']
    """
    if index >= encoded.total:
        return "cut"
    # Nothing precedes the first token, so it is never predicted.
    return "masked" if index == 0 or encoded.labels[index] == IGNORED else "trained"


def runs(encoded: Encoded) -> Iterator[tuple[Kind, list[int]]]:
    """Neighbouring tokens of one kind, as their places, in reading order."""
    for found, group in groupby(range(len(encoded.spans)), key=lambda index: kind(encoded, index)):
        yield found, list(group)


def stretches(encoded: Encoded, special: Collection[int]) -> Iterator[Stretch]:
    """A row's text in reading order, every character once; one of several tokens is with its first."""
    ids = (*encoded.input_ids, *encoded.cut_ids)
    position, left = 0, len(ids)
    for found, run in runs(encoded):
        parts: list[Part] = []
        for is_special, places in _by_special(run, ids, special):
            start, end = encoded.spans[places[0]][0], max(position, encoded.spans[places[-1]][1])
            if is_special and start > position:  # text that stands for no token
                parts.append(Part(position, start, False))
                position = start
            parts.append(Part(position, end, is_special))
            position = end
        left -= len(run)
        if not left and position < len(encoded.text):
            parts.append(Part(position, len(encoded.text), False))
        yield Stretch(found, len(run), parts)


def _by_special(
    run: list[int], ids: tuple[int, ...], special: Collection[int]
) -> Iterator[tuple[bool, list[int]]]:
    """The places of a run: each special token by itself, other neighbours together."""
    for is_special, group in groupby(run, key=lambda place: ids[place] in special):
        places = list(group)
        yield from ((True, [place]) for place in places) if is_special else ((False, places),)


def dots(encoded: Encoded, special: Collection[int]) -> frozenset[int]:
    """Places of the spaces that are drawn as dots: beside other white space, special tokens and the borders of runs."""
    text, spans = encoded.text, encoded.spans
    beside = [place for _, run in runs(encoded) for place in (spans[run[0]][0], spans[run[-1]][1] - 1)]
    ids = (*encoded.input_ids, *encoded.cut_ids)
    for token, (start, end) in zip(ids, spans, strict=False):
        if token in special:
            beside += [start - 1, end]
    places = {match.start() for match in _SPACE.finditer(text)}
    return frozenset(places.union(place for place in beside if 0 <= place < len(text) and text[place] == " "))


def signed(text: str, start: int, end: int, dots: Collection[int]) -> Iterator[tuple[bool, str]]:
    """`text[start:end]` by parts, of which those that are True are signs in place of what cannot be seen.

    >>> list(signed("a  b", 0, 4, {1, 2}))
    [(False, 'a'), (True, '··'), (False, 'b')]
    """
    part = text[start:end]
    dotted = " " in part and any(place in dots for place in range(start, end))
    joined = _JOINERS.issuperset(part)  # alone they cannot be seen, within an emoji or a word they join
    if not dotted and not _UNSEEN.search(part) and not joined:
        yield False, part
        return

    def is_sign(item: tuple[int, str]) -> bool:
        place, character = item
        return place in dots if character == " " else joined or bool(_UNSEEN.match(character))

    for found, group in groupby(enumerate(part, start), key=is_sign):
        characters = [character for _, character in group]
        if found:
            characters = [_SIGNS.get(character, f"⟨{ord(character):X}⟩") for character in characters]
        yield found, "".join(characters)
