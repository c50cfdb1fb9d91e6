"""Near-duplicate search against datasketch's MinHash LSH: python -m tests.bench.near_duplicates [--rows 100000]

Rows are made of invented words with the frequencies of English, 20 to 400 words long; one in eleven is an earlier one
with a few words changed, added or left out. Recall is the share of planted pairs with a Jaccard index of at least 0.8
that is found. datasketch (`pip install -c constraints.txt -e ".[bench]"`) works on fewer rows of the same kind with 128
permutations over the same pieces, threshold 0.8, candidates verified in the same way. The figures are rows a second.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Callable, Sequence

from studio.engine.near_duplicates import SHINGLE, jaccard, near_duplicates, normalised, pieces

_SYLLABLES = [
    a + b for a in "bcdfghjklmnprstvwz" for b in ("a", "e", "i", "o", "u", "an", "er", "in", "ou", "ist")
]


def texts_of(source: random.Random, count: int, words: int = 30_000) -> list[str]:
    """Texts of invented words; the n-th most frequent word is as frequent as in English (Zipf and Mandelbrot)."""
    known = sorted({"".join(source.choices(_SYLLABLES, k=source.randint(1, 4))) for _ in range(words)})
    source.shuffle(known)
    weights = [1 / (rank + 2.7) for rank in range(len(known))]
    drawn = iter(source.choices(known, weights=weights, k=count * 130))
    texts = []
    for _ in range(count):
        length = min(400, max(20, int(source.lognormvariate(4.2, 0.7))))
        texts.append(" ".join(word for word, _ in zip(drawn, range(length), strict=False)) + ".")
    return texts


def changed(source: random.Random, text: str) -> str:
    """The text with one word in fifty changed, left out or doubled, and now and then other capitals or spaces."""
    words = text.split(" ")
    for _ in range(max(1, len(words) // 50)):
        place = source.randrange(len(words))
        kind = source.randrange(3)
        words[place : place + 1] = (["other"], [], [words[place]] * 2)[kind]
    result = " ".join(words)
    return source.choice((result, result.upper(), result.replace(" ", "  ", 3), result.rstrip(".") + "!"))


def planted(count: int, seed: int = 1) -> tuple[list[str], list[tuple[int, int]]]:
    source = random.Random(seed)
    texts = texts_of(source, count - count // 11)
    pairs = []
    for original in source.choices(range(len(texts)), k=count - len(texts)):
        pairs.append((original, len(texts)))
        texts.append(changed(source, texts[original]))
    return texts, pairs


def ours(texts: Sequence[str]) -> set[int]:
    return {pair.later for pair in near_duplicates(texts)}


def theirs(texts: Sequence[str]) -> set[int]:
    from datasketch import MinHash, MinHashLSH

    index, found = MinHashLSH(threshold=0.8, num_perm=128), set()
    for place, text in enumerate(texts):
        clean = normalised(text)
        signature = MinHash(num_perm=128)
        signature.update_batch({clean[at : at + SHINGLE].encode() for at in range(len(clean) - SHINGLE + 1)})
        if any(jaccard(pieces(texts[other]), pieces(text)) >= 0.8 for other in index.query(signature)):
            found.add(place)
        index.insert(place, signature)
    return found


def measure(name: str, search: Callable[[Sequence[str]], set[int]], count: int) -> float:
    texts, pairs = planted(count)
    wanted = {b for a, b in pairs if jaccard(pieces(texts[a]), pieces(texts[b])) >= 0.8}
    begun = time.perf_counter()
    found = search(texts)
    speed = len(texts) / (time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    recall, others = len(found & wanted) / len(wanted), len(found - {b for _, b in pairs})
    print(f"{name}: {len(texts):,} rows, {speed:,.0f} rows/s, recall {recall:.4f}, ", end="")
    print(f"{others} not planted, peak {peak:.2f} GB", flush=True)
    return speed


def main() -> None:
    """Both in one process, ours first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--peer-rows", type=int, default=20_000, help="0: without datasketch")
    options = parser.parse_args()
    speed = measure("studio", ours, options.rows)
    if options.peer_rows:
        print(f"ratio {speed / measure('datasketch', theirs, options.peer_rows):.1f}")


if __name__ == "__main__":
    main()
