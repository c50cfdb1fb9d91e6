"""Rows that are trained on and measured on as well: the same, nearly the same, or asked the same.

A held-out loss is of use only where the model has not seen the row. On large sets near duplicates are the usual leak
(Lee et al. 2021, arXiv:2107.06499).
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from studio.domain.chat import Conversation
from studio.domain.finding import Finding, finding
from studio.engine import near_duplicates

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

NEAREST = 4
"""A row is compared with so many earlier ones at most: those whose signatures agree most."""
AGREEING = 0.5
"""Share of the bins in which signatures must agree: with two thirds of the pieces in common that is 99 % sure."""
COMPARED = 8
"""Held-out rows of one group with which a row that is trained on is compared."""
NAMED = 12
"""Pairs of rows that a finding names."""
_DIGITS = re.compile(r"\d+")


def prompt_key(conversation: Conversation) -> tuple[str, ...]:
    """What is asked: all but the assistant's turns, without regard to capitals and spaces. A plain text is its own."""
    if conversation.plain:
        return (conversation.response,)
    return tuple(
        " ".join(message.content.lower().split())
        for message in conversation.messages
        if message.role != "assistant"
    )


def twins(conversations: Sequence[Conversation]) -> Iterator[tuple[int, int]]:
    """Positions (earlier, later) of rows that are nearly the same, in the sense of the check duplicate_near."""
    from studio.engine.checks.similar import alike_pairs

    texts = [f"{row.prompt}\n{row.response}" for row in conversations]
    pairs = _nearest(near_duplicates.signatures(texts))
    return alike_pairs(
        conversations,
        ((a, b) for a, b in pairs.tolist() if _may_be_alike(conversations[a], conversations[b])),
    )


def _nearest(signatures: NDArray[numpy.uint32]) -> NDArray[numpy.int64]:
    """Candidates whose signatures agree well, `NEAREST` a later row at most; shape (pairs, 2)."""
    import numpy

    pairs = near_duplicates.candidates(near_duplicates.band_keys(signatures))
    if not len(pairs):
        return pairs
    agreeing = near_duplicates.agreement(signatures, pairs)
    pairs, agreeing = pairs[agreeing >= AGREEING], agreeing[agreeing >= AGREEING]
    pairs = pairs[numpy.lexsort((pairs[:, 0], -agreeing, pairs[:, 1]))]
    starts = numpy.searchsorted(pairs[:, 1], pairs[:, 1])
    return pairs[numpy.arange(len(pairs)) - starts < NEAREST]


def _may_be_alike(left: Conversation, right: Conversation) -> bool:
    """Whether it is worth to compare two rows letter by letter; a sum with another number is another sum.

    Of a task whose prompts are all alike but for a few words, this tells nearly all pairs apart, far faster.
    """
    if (left.system, left.tools) != (right.system, right.tools):
        return False
    ours, theirs = left.prompt, right.prompt
    if ours != theirs and not _openings_agree(ours.lower().split(), theirs.lower().split()):
        return False
    return _numbers(left) == _numbers(right)


def _openings_agree(ours: list[str], theirs: list[str]) -> bool:
    """Whether all words but one in twenty, and one more, have one on the other side with the same first two letters."""
    from studio.engine.checks.text import SMALL_WORDS

    left, right = set(ours), set(theirs)
    missing = {word[:2] for word in left - right - SMALL_WORDS}
    added = {word[:2] for word in right - left - SMALL_WORDS}
    allowed = 1 + 0.05 * max(len(ours), len(theirs))
    return len(missing - added) <= allowed and len(added - missing) <= allowed


def _numbers(conversation: Conversation) -> list[str]:
    return sorted(_DIGITS.findall(f"{conversation.prompt} {conversation.response}"))


class Groups:
    """Positions that belong together (union-find), none larger than `largest` by joining."""

    def __init__(self, sizes: Sequence[int], largest: int) -> None:
        self._head = list(range(len(sizes)))
        self._size = list(sizes)
        self._largest = largest

    def of(self, position: int) -> int:
        """The first position of its group."""
        while self._head[position] != position:
            self._head[position] = self._head[self._head[position]]
            position = self._head[position]
        return position

    def join(self, left: int, right: int) -> None:
        first, second = sorted((self.of(left), self.of(right)))
        if first != second and self._size[first] + self._size[second] <= self._largest:
            self._head[second] = first
            self._size[first] += self._size[second]


def about_learnt(held_out: Sequence[Conversation], learnt: Container[tuple[str, ...]]) -> list[Finding]:
    """That rows are held out which ask what an earlier run has learnt already."""
    rows = [row.row for row in held_out if prompt_key(row) in learnt]
    if not rows:
        return []
    return [
        finding(
            "learnt_before",
            "split",
            "warning",
            rows,
            "Held-out rows whose prompts the earlier run was trained on: {count}. Their figures look better than they "
            "are.",
            "Hold out rows that are new, in a file of their own.",
        )
    ]


RowPair = tuple[int, int]
"""The number of a row that is trained on, and of the held-out row that it is like."""


def about_leakage(
    train: Sequence[Conversation], held_out: Sequence[Conversation], alike: Sequence[RowPair]
) -> list[Finding]:
    """Rows for training that are held out too, the same or nearly (`alike`); they make the measure too good.

    A row is named in one finding only: as the same, else as nearly the same, else as the same prompt.
    """
    measured = {(conversation.messages, conversation.tools) for conversation in held_out}
    same = [c.row for c in train if (c.messages, c.tools) in measured]
    rest = [c for c in train if (c.messages, c.tools) not in measured]
    exact = set(same)
    near = [pair for pair in dict(reversed(alike)).items() if pair[0] not in exact]
    near.sort()
    asked: dict[tuple[object, ...], int] = {}
    for conversation in held_out:
        asked.setdefault((conversation.tools, *prompt_key(conversation)), conversation.row)
    trained = {row for row, _ in near}
    prompts = [
        (c.row, asked[key])
        for c in rest
        if c.row not in trained and (key := (c.tools, *prompt_key(c))) in asked
    ]
    found = [
        finding(
            "leakage",
            "split",
            "warning",
            same,
            "Rows that are trained on are also held out to measure on: {count}.",
            "Remove the duplicates, so that the held-out loss is measured on rows the model has not seen.",
        ),
        finding(
            "leakage_near",
            "split",
            "warning",
            [row for row, _ in near],
            "Rows that are trained on are nearly the same as held-out ones: {count}. Trained ~ held out: {pairs}",
            "Remove one row of each pair, so that the held-out loss is measured on rows the model has not seen.",
            pairs=_pairs(near),
        ),
        finding(
            "leakage_prompt",
            "split",
            "warning",
            [row for row, _ in prompts],
            "Rows that are trained on ask the same as held-out ones and are answered otherwise: {count}. "
            "Trained ~ held out: {pairs}",
            "Keep all answers to one prompt on one side: the model has seen the question, and learnt another answer.",
            pairs=_pairs(prompts),
        ),
    ]
    return [item for item in found if item.rows]


def across(
    pairs: Iterable[tuple[int, int]],
    conversations: Sequence[Conversation],
    held_out: Sequence[Conversation],
) -> list[RowPair]:
    """Of pairs of positions in one file those of which one is held out and the other is not."""
    measured = {id(conversation) for conversation in held_out}
    found = []
    for pair in pairs:
        trained, other = sorted((conversations[place] for place in pair), key=lambda row: id(row) in measured)
        if id(other) in measured and id(trained) not in measured:
            found.append((trained.row, other.row))
    return found


def between(train: Sequence[Conversation], held_out: Sequence[Conversation]) -> list[RowPair]:
    """The rows of one file that are nearly the same as rows of another, each with one of these."""
    from studio.engine.checks.similar import alike_pairs

    if not train or not held_out:
        return []
    both = [*held_out, *train]
    groups = Groups([1] * len(both), len(both))
    for earlier, later in twins(both):
        groups.join(earlier, later)
    measured: dict[int, list[int]] = {}
    for position in range(len(held_out)):
        measured.setdefault(groups.of(position), []).append(position)
    pairs = (
        (other, position)
        for position in range(len(held_out), len(both))
        for other in measured.get(groups.of(position), ())[:COMPARED]
    )
    return [(both[position].row, both[other].row) for other, position in alike_pairs(both, pairs)]


def _pairs(pairs: Sequence[RowPair]) -> str:
    named = ", ".join(f"{trained} ~ {held_out}" for trained, held_out in pairs[:NAMED])
    return f"{named} …" if len(pairs) > NAMED else f"{named}."
