"""Control tokens apart from words: a tokenizer for text whose special tokens were written by the template alone.

A user may write `<|im_end|>`. In the rendered text that cannot be told from the template's own, so both would become
the control token. Here each special token is renamed to a private-use character: what the template wrote is replaced
by that character, and the user's words are words. Vocabulary, ids and every step of the tokenizer stay as they are.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import tokenizers

Span = tuple[int, int]

BLOCKS = (0xF0000, 0xF8000, 0x100000, 0x108000)
"""Where 30,000 private-use characters begin, which stand for nothing; a text may hold some of them all the same."""
_SIZE = 30_000


class ControlTokenizer:
    """Encodes text where only the characters named as controls are special tokens.

    The text must hold none of the `_SIZE` characters from `block` on.
    """

    def __init__(self, backend: tokenizers.Tokenizer, special: Mapping[str, int], block: int) -> None:
        self._first, self._cut = chr(block), chr(block + _SIZE)
        self._marks = {text: chr(block + number) for number, text in enumerate(special)}
        self._backend = tokenizers.Tokenizer.from_str(_renamed(backend, self._marks))
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.add_special_tokens([tokenizers.AddedToken(self._cut, special=True, normalized=False)])
        self._cut_id = self._backend.token_to_id(self._cut)

    def encode(
        self, text: str, controls: Sequence[Span], cuts: Sequence[int] = ()
    ) -> tuple[list[int], list[Span]]:
        """Ids and the characters of `text` that each stands for.

        `controls` are the places of special tokens, in order; no token reaches over one of the places in `cuts`.
        """
        parts: list[str] = []
        starts: list[int] = []  # where each part begins in what is encoded …
        origins: list[int] = []  # … and in `text`
        length = position = 0

        def add(part: str, origin: int) -> None:
            nonlocal length
            starts.append(length)
            origins.append(origin)
            parts.append(part)
            length += len(part)

        for start, end in sorted([*controls, *((cut, cut) for cut in cuts)]):
            add(text[position:start], position)
            add(self._cut if start == end else self._marks[text[start:end]], start)
            position = end
        add(text[position:], position)
        encoding = self._backend.encode("".join(parts), add_special_tokens=False)
        ends = dict(controls)

        def place(offset: int, closing: bool) -> int:
            part = bisect_right(starts, offset - closing) - 1
            origin, inside = origins[part], offset - starts[part]
            if len(parts[part]) == 1 and self._first <= parts[part] <= self._cut:
                return ends.get(origin, origin) if closing else origin
            return origin + inside

        kept = [
            (token, (place(start, False), place(end, True)))
            for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
            if token != self._cut_id
        ]
        return [token for token, _ in kept], [span for _, span in kept]


def is_free(block: int, text: str) -> bool:
    """Whether the text holds no character of the block."""
    return not any(chr(block) <= character <= chr(block + _SIZE) for character in set(text))


def _renamed(backend: tokenizers.Tokenizer, marks: Mapping[str, str]) -> str:
    """The tokenizer's file with each special token called by its mark; ids stay."""
    data: dict[str, Any] = json.loads(backend.to_str())
    for token in data["added_tokens"]:
        token["content"] = marks.get(token["content"], token["content"])
    model = data["model"]
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        model["vocab"] = {marks.get(text, text): number for text, number in vocabulary.items()}
    elif isinstance(vocabulary, list):  # Unigram: pairs of text and score
        model["vocab"] = [[marks.get(text, text), score] for text, score in vocabulary]
    if model.get("unk_token") in marks:
        model["unk_token"] = marks[model["unk_token"]]
    data["post_processor"] = None
    return json.dumps(data, ensure_ascii=False)
