"""Which rows are nearly the same, among a million, without comparing each with each.

Candidates come from the sketches (`near_duplicates`); whether two rows are alike is decided on their texts.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from studio.domain.chat import Conversation
from studio.engine import near_duplicates
from studio.engine.checks.sketches import Sketches, done
from studio.engine.checks.text import SMALL_WORDS, plain, small_words
from studio.engine.near_duplicates import jaccard
from studio.engine.rows import seen

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

ALIKE = 0.66
"""Two responses are alike if so much of their pieces is common to both."""
PROMPTS_ALIKE = 0.5
"""Prompts are short, so that a single word weighs more; their words are compared as well."""
TOGETHER = 0.55
"""What prompt and response together have in common at least where both are alike, but for odd cases."""
BAND_ROWS = 3
"""Bins of one band: rows with two thirds of their pieces in common share one of 21 bands with 99.9 %."""
NEIGHBOURS = 8
"""With so many earlier rows a row is compared at most: those whose signatures agree most."""
_AT_ONCE = 2_000
_PAIRS = 5_000
"""Pairs of one part of the work."""
_ODD_WORDS = 0.05
"""Of so many of its words a prompt may have no counterpart in the other, if they ask the same."""


def similar_rows(
    conversations: Sequence[Conversation], table: Sketches, places: NDArray[numpy.int64]
) -> list[int]:
    """Positions of those of the rows at `places` that are nearly the same as an earlier one that is left.

    A row that is alike to an earlier one is not compared with later ones, so that what remains is unlike.
    """
    pairs = places[candidate_pairs(table[places])]
    parts = (pairs[start : start + _PAIRS] for start in range(0, len(pairs), _PAIRS))
    gone: set[int] = set()
    for earlier, later in chain.from_iterable(seen(conversations, _alike_among, parts)):
        if earlier not in gone:
            gone.add(later)
    return sorted(gone)


def candidate_pairs(table: Sketches) -> NDArray[numpy.int64]:
    """Pairs (earlier, later) whose signatures agree well, `NEIGHBOURS` a later one at most; ascending by the later one.

    Only rows with the same system prompt, tools and numbers are paired. Of the pairs, those whose prompts have too
    different a number of words to ask the same are left out: their texts need not be read. Shape (pairs, 2).
    """
    import numpy

    signature, told = table["signature"], table["told"]
    keys = near_duplicates.band_keys(signature, BAND_ROWS)
    keys ^= told[:, None]  # rows that were told other things share no band
    pairs = near_duplicates.candidates(keys)
    if not len(pairs):
        return pairs
    pairs = pairs[told[pairs[:, 0]] == told[pairs[:, 1]]]
    agreeing = near_duplicates.agreement(signature, pairs)
    good = agreeing >= TOGETHER - near_duplicates.MARGIN
    pairs, agreeing = pairs[good], agreeing[good]
    order = numpy.lexsort((pairs[:, 0], -agreeing, pairs[:, 1]))
    pairs = pairs[order]
    starts = numpy.searchsorted(pairs[:, 1], pairs[:, 1])
    nearest = pairs[numpy.arange(len(pairs)) - starts < NEIGHBOURS]
    return nearest[_may_ask_the_same(table, nearest)]


def _may_ask_the_same(table: Sketches, pairs: NDArray[numpy.int64]) -> NDArray[numpy.bool_]:
    """For each pair, whether its prompts are the same, or may ask the same by their numbers of words."""
    prompt, words, small = (table[name][pairs] for name in ("prompt", "words", "small_words"))
    telling = words.astype("int64") - small
    odd = abs(telling[:, 0] - telling[:, 1])
    return (prompt[:, 0] == prompt[:, 1]) | (odd <= _ODD_WORDS * words.max(axis=1))


def alike_pairs(
    conversations: Sequence[Conversation], pairs: Iterable[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Those pairs whose texts are alike, in their order. The texts of the last rows are kept at hand."""
    texts: dict[int, _Texts] = {}

    def at(position: int) -> _Texts:
        found = texts.get(position)
        if found is None:
            if len(texts) >= _AT_ONCE:
                del texts[next(iter(texts))]
            found = texts[position] = _Texts(conversations[position])
        return found

    for earlier, later in pairs:
        left, right = at(earlier), at(later)
        if left.alike(right):
            yield earlier, later


def _alike_among(conversations: Sequence[Conversation], pairs: NDArray[numpy.int64]) -> list[tuple[int, int]]:
    return list(alike_pairs(conversations, ((earlier, later) for earlier, later in pairs.tolist())))


class _Texts:
    """Prompt and response of a row, and their pieces once they are asked for: most pairs differ in their prompts."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self.prompt = plain(conversation.prompt)
        words = self.prompt.split()
        self.words, self.small = len(words), small_words(words)

    @cached_property
    def asked(self) -> NDArray[numpy.uint64]:
        return pieces_of(self.prompt)

    @cached_property
    def answered(self) -> str:
        return done(self._conversation)

    @cached_property
    def said(self) -> NDArray[numpy.uint64]:
        return pieces_of(self.answered)

    def alike(self, other: _Texts) -> bool:
        if not self._asks_the_same(other) or not are_alike(self.said, other.said):
            return False
        # Of two answers that contradict each other it is no matter of course which is to stay: they are a conflict.
        return self.prompt != other.prompt or not contradict(self.answered, other.answered)

    def _asks_the_same(self, other: _Texts) -> bool:
        if self.prompt == other.prompt:
            return True
        odd = abs((self.words - self.small) - (other.words - other.small))
        return (
            odd <= _ODD_WORDS * max(self.words, other.words)  # as `differ_in_form_only` finds in the end
            and jaccard(self.asked, other.asked) >= PROMPTS_ALIKE
            and differ_in_form_only(self.prompt, other.prompt)
        )


def pieces_of(plain_text: str) -> NDArray[numpy.uint64]:
    """What two plain texts are compared by."""
    return near_duplicates.pieces(plain_text, is_normal=True)


def are_alike(left: NDArray[numpy.uint64], right: NDArray[numpy.uint64]) -> bool:
    """Whether two texts have at least two thirds of their pieces in common.

    >>> are_alike(pieces_of("yeast eats the sugars in the dough"), pieces_of("yeast eats all the sugars in the dough"))
    True
    """
    return jaccard(left, right) >= ALIKE


_NUMBER = re.compile(r"\d+(?: \d{3}\b)*")
_NEGATION = re.compile(
    r"\b(?:no(?! doubt)|not(?! only)|never|none|nothing|cannot|without|false|isnt|arent|doesnt|dont|cant|wont|"
    r"(?:is|are|do|does|can|wo|was)n? t|nicht(?! nur)|kein\w*|pas|jamais)\b|"
    r"不(?![仅但只])|没|沒|非(?![常洲])|無(?!論)|无(?!论)"
)
_SHORT, _SHORT_UNSPACED = 30, 60
"""Words, or letters of a script without spaces, of answers of which every other word may make the difference."""


def contradict(left: str, right: str) -> bool:
    """Whether two plain answers to one question, alike in most words, say different things: each another number, a
    negation in one of them, or in short ones another word that says something.

    >>> contradict("mozart was born in 1756", "mozart was born in 1759")
    True
    >>> contradict("it is safe for children", "it is not safe for children"), contradict("bees dance", "the bees dance")
    (True, False)
    """
    ours, theirs = (_numbers(text) for text in (left, right))
    if ours - theirs and theirs - ours:
        return True
    if len(_NEGATION.findall(left)) % 2 != len(_NEGATION.findall(right)) % 2:
        return True
    words = max(left.count(" "), right.count(" "))
    short = words < _SHORT and max(len(left), len(right)) < _SHORT_UNSPACED * (1 + words)
    return short and not differ_in_form_only(_digits_joined(left), _digits_joined(right))


def _numbers(text: str) -> Counter[str]:
    return Counter(number.replace(" ", "") for number in _NUMBER.findall(text))


def _digits_joined(text: str) -> str:
    """Thousands as one number again: punctuation between them is a space in a plain text."""
    return _NUMBER.sub(lambda number: number.group().replace(" ", ""), text)


def differ_in_form_only(left: str, right: str) -> bool:
    """Whether two plain prompts ask the same: what differs are small words and endings, in a long text one "
    "word in 20.

    >>> differ_in_form_only("what do bees do in winter", "what does a bee do in the winter")
    True
    >>> differ_in_form_only("is the film good i love this film", "is the film good i love this song")
    False
    """
    ours, theirs = Counter(left.split()), Counter(right.split())
    missing = [word for word in (ours - theirs).elements() if word not in SMALL_WORDS]
    added = [word for word in (theirs - ours).elements() if word not in SMALL_WORDS]
    wanted = len(missing)
    allowed = _ODD_WORDS * max(ours.total(), theirs.total())
    for place, word in enumerate(list(missing)):
        near = difflib.get_close_matches(word, added, n=1, cutoff=0.75)
        if near or (word[:-1] in added or word + "s" in added):
            added.remove(near[0] if near else word[:-1] if word[:-1] in added else word + "s")
            missing.remove(word)
        elif len(missing) - (wanted - place - 1) > allowed:  # even if all that follow have a counterpart
            return False
    return max(len(missing), len(added)) <= allowed
