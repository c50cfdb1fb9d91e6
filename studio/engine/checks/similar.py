"""Which texts are nearly the same, found without comparing each with each: MinHash with banding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

SHINGLE = 5
"""Letters of one piece."""
BANDS = 16
BAND_ROWS = 3
"""Two texts of which two thirds of the pieces agree share a band with a probability of 99.5 %."""
ALIKE = 0.66
PROMPTS_ALIKE = 0.5
"""Prompts are short, so that a single word weighs more; their words are compared as well."""
NEIGHBOURS = 8
"""With so many earlier rows a row is compared at most: those that share most bands."""


def similar_pairs(
    prompts: Sequence[str], responses: Sequence[str], same: Callable[[int, int], bool]
) -> Iterator[tuple[int, int]]:
    """Pairs (earlier, later) of positions whose prompts and whose responses are both alike; each later one once.

    `same` has the last word on a pair. A later one that is alike to an earlier one is not compared with further ones,
    so that what remains is unlike.
    """
    import numpy

    random = numpy.random.default_rng(1)
    factors = random.integers(1, 2**63, size=(BANDS * BAND_ROWS, 1), dtype=numpy.uint64) | numpy.uint64(1)
    offsets = random.integers(0, 2**63, size=(BANDS * BAND_ROWS, 1), dtype=numpy.uint64)
    pieces = [
        (_pieces(prompt), _pieces(response)) for prompt, response in zip(prompts, responses, strict=True)
    ]
    buckets: dict[tuple[int, bytes], list[int]] = {}
    for later, (prompt, response) in enumerate(pieces):
        both = numpy.concatenate((prompt, response + numpy.uint64(1)))
        signature = ((both * factors + offsets) >> numpy.uint64(32)).min(axis=1).reshape(BANDS, BAND_ROWS)
        keys = [(band, signature[band].tobytes()) for band in range(BANDS)]
        shared = Counter(position for key in keys for position in buckets.get(key, ()))
        match = next(
            (
                position
                for position, _ in shared.most_common(NEIGHBOURS)
                if _share(pieces[position][1], response) >= ALIKE
                and _share(pieces[position][0], prompt) >= PROMPTS_ALIKE
                and same(position, later)
            ),
            None,
        )
        if match is not None:
            yield match, later
            continue
        for key in keys:
            bucket = buckets.setdefault(key, [])
            if len(bucket) < NEIGHBOURS:
                bucket.append(later)


def _pieces(text: str) -> Any:
    """The distinct 5-letter pieces of a text as 64-bit hashes; a shorter text is one piece."""
    import numpy

    codes = numpy.frombuffer(
        text.ljust(SHINGLE).encode("utf-32-le", "surrogatepass"), dtype=numpy.uint32
    ).astype(numpy.uint64)
    hashes = numpy.zeros(len(codes) - SHINGLE + 1, dtype=numpy.uint64)
    for offset in range(SHINGLE):
        hashes = hashes * numpy.uint64(0x9E3779B97F4A7C15) + codes[offset : offset + len(hashes)]
    hashes ^= hashes >> numpy.uint64(29)
    return numpy.unique(hashes * numpy.uint64(0xBF58476D1CE4E5B9))


def _share(left: Any, right: Any) -> float:
    """Which share of the pieces of both together is common to both (the Jaccard index)."""
    import numpy

    common = len(numpy.intersect1d(left, right, assume_unique=True))
    return common / (len(left) + len(right) - common)


def alike(left: str, right: str) -> bool:
    """Whether two plain texts have at least two thirds of their pieces in common.

    >>> alike("yeast eats the sugars in the dough", "yeast eats all the sugars in the dough")
    True
    """
    return _share(_pieces(left), _pieces(right)) >= ALIKE
