"""Texts that are nearly the same, among a million, without comparing each with each.

One-permutation MinHash (Li, Owen and Zhang 2012) with densification by rotation (Shrivastava and Li 2014), banding, and
the exact Jaccard index of what shares a band. Signatures depend on a text alone and band keys on a signature alone, so
both can be made of shards anywhere; pairs come from the sorted keys of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Whole = TypeVar("Whole", numpy.int64, numpy.uint64)

SHINGLE = 5
"""Characters of one piece of a text."""
BINS = 64
BANDS = 16
"""Bands of four bins: texts with 80 % of their pieces in common share one with a probability of 99.98 %, with 66 % of
96 %."""
NEIGHBOURS = 4
"""A text is paired with so many that stand before it in a bucket."""
MARGIN = 0.25
"""Pairs whose signatures agree in so much less than the threshold are not looked at: five standard deviations."""
BATCH = 2_000
CHARACTERS = 200_000
"""Texts of so many characters in all are looked at together at most: twice as quick as ten times as many, whose hashes
no cache of a processor holds."""
_PAIRS = 100_000
EMPTY = 0xFFFFFFFF

Progress = Callable[[int, int], None]
"""Called with the number of texts done, and of all; may raise to end the search."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts by their positions, and the share of their pieces that both have (the Jaccard index)."""

    earlier: int
    later: int
    similarity: float


def near_duplicates(
    texts: Sequence[str], threshold: float = 0.8, progress: Progress | None = None
) -> list[Pair]:
    """Each text that is alike to an earlier one, with one that it is alike to; ordered by the later one."""
    table = signatures(texts, progress)
    pairs = likely(table, candidates(band_keys(table)), threshold)
    found: dict[int, Pair] = {}
    for pair in verified(texts, pairs, threshold):
        if pair.later not in found or pair.earlier < found[pair.later].earlier:
            found[pair.later] = pair
    return [found[later] for later in sorted(found)]


def normalised(text: str) -> str:
    """In small letters, with single spaces: what is compared.

    >>> normalised("Hello,  World\\n")
    'hello, world'
    """
    return " ".join(text.lower().split())


def signatures(
    texts: Sequence[str], progress: Progress | None = None, *, are_normal: bool = False
) -> NDArray[numpy.uint32]:
    """One row of `BINS` numbers a text, shape (texts, BINS); texts without a letter get `EMPTY` throughout.

    `are_normal`: the texts are as `normalised` gives them.
    """
    import numpy

    parts = []
    start = 0
    while start < len(texts):
        end, characters = start, 0
        while end < min(start + BATCH, len(texts)) and (end == start or characters < CHARACTERS):
            characters += len(texts[end])
            end += 1
        batch = texts[start:end]
        parts.append(_signatures(list(batch) if are_normal else [normalised(text) for text in batch]))
        start = end
        if progress is not None:
            progress(start, len(texts))
    return numpy.concatenate(parts) if parts else numpy.empty((0, BINS), dtype=numpy.uint32)


def band_keys(signatures: NDArray[numpy.uint32], rows: int = BINS // BANDS) -> NDArray[numpy.uint64]:
    """Shape (texts, bands), of `rows` bins each: texts that share a key of one band are candidates."""
    import numpy

    count = BINS // rows
    bands = signatures[:, : count * rows].reshape(len(signatures), count, rows)
    keys = numpy.zeros((len(signatures), count), dtype=numpy.uint64)
    for place in range(rows):
        keys = _mixed(keys * numpy.uint64(0x9E3779B97F4A7C15) + bands[:, :, place] + numpy.uint64(1))
    return keys


def candidates(keys: NDArray[numpy.uint64]) -> NDArray[numpy.int64]:
    """Pairs (earlier, later) of positions that share a band, each once, shape (pairs, 2), sorted by the later one.

    Of many texts in one bucket each is paired with the bucket's first and the few before it, so that equal texts do not
    make a number of pairs that grows with the square of theirs.
    """
    import numpy

    codes = numpy.empty(0, dtype=numpy.int64)
    # A key and its position in one number: such are sorted several times as quick as positions by their keys. Where two
    # keys differ in their highest bits alone, the pair is one more to be looked at.
    bits = numpy.uint64(max(1, len(keys) - 1).bit_length())
    positions = numpy.arange(len(keys), dtype=numpy.uint64)
    for band in range(keys.shape[1]):
        column = numpy.sort((keys[:, band] << bits) | positions)
        order = (column & ((numpy.uint64(1) << bits) - numpy.uint64(1))).astype(numpy.int64)
        same = column[1:] >> bits == column[:-1] >> bits
        places = numpy.flatnonzero(same) + 1
        if not len(places):
            continue
        # Where the bucket begins that each place belongs to.
        heads = numpy.where(numpy.concatenate(([True], ~same)), numpy.arange(len(order)), 0)
        heads = numpy.maximum.accumulate(heads)[places]
        found = [codes, order[places] * len(keys) + order[heads]]
        for distance in range(NEIGHBOURS):
            before = places - 1 - distance
            inside = before > heads
            found.append(order[places[inside]] * len(keys) + order[before[inside]])
        codes = _distinct(numpy.concatenate(found))  # most pairs share more bands than one
    return numpy.stack((codes % max(1, len(keys)), codes // max(1, len(keys))), axis=1)


def likely(
    signatures: NDArray[numpy.uint32], pairs: NDArray[numpy.int64], threshold: float
) -> NDArray[numpy.int64]:
    """The pairs whose signatures agree about as much as texts do that reach the threshold."""
    return pairs[agreement(signatures, pairs) >= threshold - MARGIN]


def agreement(signatures: NDArray[numpy.uint32], pairs: NDArray[numpy.int64]) -> NDArray[numpy.float32]:
    """In which share of their bins the signatures of each pair agree: about the Jaccard index of their texts."""
    import numpy

    shares = numpy.empty(len(pairs), dtype=numpy.float32)
    for start in range(0, len(pairs), _PAIRS):
        part = pairs[start : start + _PAIRS]
        shares[start : start + _PAIRS] = (signatures[part[:, 0]] == signatures[part[:, 1]]).mean(axis=1)
    return shares


def verified(texts: Sequence[str], pairs: NDArray[numpy.int64], threshold: float) -> Iterator[Pair]:
    """The pairs whose Jaccard index of distinct pieces is at least `threshold`, exactly."""
    import numpy

    held: dict[int, NDArray[numpy.uint64]] = {}
    last = numpy.full(len(texts), -1, dtype=numpy.int64)
    for place, (earlier, later) in enumerate(pairs.tolist()):
        last[earlier], last[later] = place, place
    for place, (earlier, later) in enumerate(pairs.tolist()):
        for position in (earlier, later):
            if position not in held:
                held[position] = pieces(texts[position])
        share = jaccard(held[earlier], held[later])
        if share >= threshold:
            yield Pair(earlier, later, share)
        for position in (earlier, later):  # kept only as long as it is needed
            if last[position] == place:
                held.pop(position, None)


def pieces(text: str, *, is_normal: bool = False) -> NDArray[numpy.uint64]:
    """The distinct pieces of a text as sorted 64-bit hashes; a shorter text is one piece, an empty one none.

    `is_normal`: the text is as `normalised` gives it.
    """
    import numpy

    clean = text if is_normal else normalised(text)
    if not clean:
        return numpy.empty(0, dtype=numpy.uint64)
    return _distinct(_hashes(_codes(clean.ljust(SHINGLE))))


def jaccard(left: NDArray[numpy.uint64], right: NDArray[numpy.uint64]) -> float:
    """Which share of the pieces of both together is common to both; nothing is like nothing."""
    import numpy

    if not len(left) or not len(right):
        return float(len(left) == len(right))
    common = len(numpy.intersect1d(left, right, assume_unique=True))
    return common / (len(left) + len(right) - common)


def _distinct(numbers: NDArray[Whole]) -> NDArray[Whole]:
    """The different numbers in ascending order, sorted in place: numpy.unique makes a hash table of them first."""
    import numpy

    numbers.sort()
    return numbers[numpy.concatenate(([True], numbers[1:] != numbers[:-1]))]


def _codes(text: str) -> NDArray[numpy.uint32]:
    import numpy

    return numpy.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=numpy.uint32)


def _hashes(codes: NDArray[numpy.uint32]) -> NDArray[numpy.uint64]:
    """A hash for the piece that begins at each character."""
    import numpy

    wide = codes.astype(numpy.uint64)
    hashes = wide[: len(wide) - SHINGLE + 1].copy()
    for offset in range(1, SHINGLE):
        hashes *= numpy.uint64(0x9E3779B97F4A7C15)
        hashes += wide[offset : offset + len(hashes)]
    return _mixed(hashes)


def _mixed(hashes: NDArray[numpy.uint64]) -> NDArray[numpy.uint64]:
    """Every bit of the result depends on every bit (the finaliser of SplitMix64)."""
    import numpy

    hashes = hashes ^ (hashes >> numpy.uint64(30))
    hashes *= numpy.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> numpy.uint64(27)
    hashes *= numpy.uint64(0x94D049BB133111EB)
    hashes ^= hashes >> numpy.uint64(31)
    return hashes


def _signatures(texts: list[str]) -> NDArray[numpy.uint32]:
    """All texts of a batch at once: end to end, the hashes that reach over a border made greater than any other."""
    import numpy

    padded = [text.ljust(SHINGLE) if text else "" for text in texts]
    lengths = numpy.array([len(text) for text in padded], dtype=numpy.int64)
    table = numpy.full(len(texts) * BINS, EMPTY, dtype=numpy.uint32)
    if lengths.sum() < SHINGLE:
        return table.reshape(len(texts), BINS)
    hashes = _hashes(_codes("".join(padded)))
    bins = numpy.repeat(numpy.arange(0, len(table), BINS), lengths)[: len(hashes)]
    bins += (hashes >> numpy.uint64(58)).astype(numpy.int64)
    values = hashes.astype(numpy.uint32) & numpy.uint32(0xFFFFFFFE)
    ends = numpy.cumsum(lengths)[:, None] - numpy.arange(1, SHINGLE)
    values[ends[(ends >= 0) & (ends < len(values))]] = EMPTY
    numpy.minimum.at(table, bins, values)
    return _densified(table.reshape(len(texts), BINS))


def _densified(table: NDArray[numpy.uint32]) -> NDArray[numpy.uint32]:
    """Empty bins take the value of the next full one to the right, changed by the distance."""
    import numpy

    full = table != EMPTY
    if full.all():
        return table
    result = table.copy()
    for distance in range(1, BINS):
        shifted, available = numpy.roll(table, -distance, axis=1), numpy.roll(full, -distance, axis=1)
        wanted = (result == EMPTY) & available
        if not wanted.any():
            break
        result[wanted] = (shifted[wanted] + numpy.uint32(distance * 0x9E3779B1 & EMPTY)) & numpy.uint32(
            0xFFFFFFFE
        )
    return result
