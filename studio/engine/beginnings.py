"""The ids of many texts at once: what all of them begin with, up to a special token, is encoded once.

Rendered conversations mostly share their system message. A tokenizer takes special tokens out of a text before it looks
at the words, and looks at the words between two of them by themselves. So a text can be taken apart in front of one
without a change to its ids, if no other added token could ever lie over that place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import tokenizers


class Beginnings:
    """Encodes texts that begin alike, with the ids that `backend` alone would give them."""

    def __init__(self, backend: tokenizers.Tokenizer, special: Sequence[str]) -> None:
        self._backend = backend
        self._added = {token.content: token for token in backend.get_added_tokens_decoder().values()}
        known = [re.escape(text) for text in sorted(special, key=len, reverse=True) if text in self._added]
        self._special = re.compile("|".join(known)) if known else None
        self._borders: dict[str, bool] = {}

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text; nothing is added to them."""
        length, lead = self._lead(texts)
        rest = [text[length:] for text in texts] if length else list(texts)
        found = self._backend.encode_batch_fast(rest, add_special_tokens=False)
        return [lead + encoding.ids for encoding in found] if lead else [encoding.ids for encoding in found]

    def _lead(self, texts: Sequence[str]) -> tuple[int, list[int]]:
        """How many characters all texts share in front of a special token, and their ids."""
        if len(texts) < 2 or self._special is None:
            return 0, []
        common = _shared(min(texts), max(texts))
        for match in reversed(list(self._special.finditer(common))):
            if match.start() and self._is_border(match.group()):
                # With the token that follows, as it may take away the white space before itself.
                encoding = self._backend.encode(common[: match.end()], add_special_tokens=False)
                return match.start(), encoding.ids[:-1]
        return 0, []

    def _is_border(self, token: str) -> bool:
        """Whether the tokenizer finds this token wherever its text stands, whatever is around it."""
        if token not in self._borders:
            added = self._added[token]
            self._borders[token] = (
                token == token.strip()
                and not added.normalized
                and not added.single_word
                and not any(_lies_over(other, token) for other in self._added)
            )
        return self._borders[token]


def _shared(first: str, last: str) -> str:
    """What both begin with; of the first and the last by order, it is what all between them begin with."""
    for place, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return first[:place]
    return min(first, last, key=len)


def _lies_over(other: str, token: str) -> bool:
    """Whether a text could hold `other` at a place where it takes the beginning of `token`.

    >>> _lies_over("x<|a", "<|a|>"), _lies_over("<|a|>b", "<|a|>"), _lies_over("a|>", "<|a|>")
    (True, True, False)
    """
    places = range(1 if other == token else 0, len(other))
    return any(token.startswith(other[place:]) or other.startswith(token, place) for place in places)
