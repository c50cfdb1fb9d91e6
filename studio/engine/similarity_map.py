"""A map of what a set is about: rows that use the same words lie near each other, and groups of them have names.

Words and pairs of words, weighted by TF-IDF and hashed into columns (Weinberger et al. 2009), are reduced by randomised
SVD (Halko, Martinsson and Tropp 2011) to twenty numbers a row. k-means++ (Arthur and Vassilvitskii 2007) finds groups
there, t-SNE (van der Maaten and Hinton 2008) the places on the map. The same rows give the same map.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING
from zlib import crc32

from studio.domain.chat import Conversation
from studio.engine.hash_sample import HashSample, text_hash

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Matrix = NDArray[numpy.float64]

ROWS = 1_200
"""Rows on the map at most; of a larger set those with the smallest hashes."""
CHARACTERS = 600
"""Of the prompt and of the response of a row so many characters are looked at."""
CLUSTERS = 8
COLUMNS = 2**13
DIMENSIONS = 20
NAMING = 3
PERPLEXITY = 30.0
STEPS = 250
_FEW = 5
"""Rows below which there is no map."""
_LATIN = re.compile(r"[^\W\d_]{2,}")
_CJK = re.compile(r"[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7a3]+")
_SMALL_WORDS = frozenset(
    re.findall(
        r"\w+",
        "the of and to in is that it for was with as be this are on you have not by at from they which can how what "
        "do does your will would there their has an when who why or if its these into should about could my me give "
        "am we he she his her need more also than then one two may such other some all any each use used using make "
        "made like but so no up out our them been being were had just most many over through between while where "
        "because upon following 的 了 是 在 我 你 有 和 不 一 这 他 她 它 们 与 及 或 也 都 就 很 到 说 要 会 个 上 下 "
        "中 为 以 么 自 己",
    )
)


@dataclass(frozen=True, slots=True)
class MapPoint:
    """One row on the map. x and y run from 0 to 1; `cluster` is the position of its group among the groups."""

    row: int
    x: float
    y: float
    cluster: int
    text: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """A group of rows, named by the words that tell it from the others; `share` is of the rows on the map."""

    name: str
    count: int
    share: float


@dataclass(frozen=True)
class SimilarityMap:
    """The rows that were drawn, of `rows` in all, and their groups, the largest first."""

    points: tuple[MapPoint, ...]
    clusters: tuple[Cluster, ...]
    rows: int


def similarity_map(conversations: Iterable[Conversation], seed: int = 0) -> SimilarityMap:
    """The map of a set; without points where there are fewer than five rows with words."""
    import numpy

    drawn, rows = _drawn(conversations)
    kept = [(row, prompt, grams) for row, prompt, text in drawn if (grams := _grams(text))]
    if len(kept) < _FEW:
        return SimilarityMap((), (), rows)
    random = numpy.random.default_rng(seed)
    counted = [grams for _, _, grams in kept]
    places = _reduced(_weighted(counted), min(DIMENSIONS, len(kept) - 1), random)
    labels = _by_size(_grouped(places, min(CLUSTERS, math.isqrt(len(kept))), random))
    spots = _laid_out(places, random)
    points = tuple(
        MapPoint(row, float(x), float(y), int(label), prompt)
        for (row, prompt, _), (x, y), label in zip(kept, spots, labels, strict=True)
    )
    return SimilarityMap(points, _named(counted, labels), rows)


_Drawn = tuple[int, str, str]


def _drawn(conversations: Iterable[Conversation]) -> tuple[list[_Drawn], int]:
    """Row, opening of its prompt, and the text to compare, of the rows on the map in the order of the file."""
    sample: HashSample[_Drawn] = HashSample(ROWS)
    rows = 0
    for conversation in conversations:
        rows += 1
        prompt, response = conversation.prompt[:CHARACTERS], conversation.response[:CHARACTERS]
        key = text_hash(f"{prompt}\n{response}")
        if sample.wants(key):
            sample.add(key, (conversation.row, " ".join(prompt.split())[:100], f"{prompt}\n{response}"))
    return sorted(item for item, _ in sample.items()), rows


def _grams(text: str) -> Counter[str]:
    """Words that say something and pairs of neighbours; of Chinese, Japanese and Korean pairs of characters."""
    text = text.lower()
    words = [word for word in _LATIN.findall(_CJK.sub(" ", text)) if word not in _SMALL_WORDS]
    grams = Counter(words)
    grams.update(f"{left} {right}" for left, right in pairwise(words))
    for run in _CJK.findall(text):
        grams.update(
            run[at : at + 2] for at in range(len(run) - 1) if not _SMALL_WORDS.intersection(run[at : at + 2])
        )
    return grams


def _weighted(counted: Sequence[Counter[str]]) -> Matrix:
    """(1 + ln tf) · ln((1 + rows) / (1 + df)), each row of length 1; shape (rows, COLUMNS)."""
    import numpy

    spread = numpy.zeros((len(counted), COLUMNS))
    seen = Counter(gram for grams in counted for gram in grams)
    columns = {gram: crc32(gram.encode("utf-8", "surrogatepass")) for gram, rows in seen.items() if rows > 1}
    for place, grams in enumerate(counted):
        for gram, times in grams.items():
            code = columns.get(gram)
            if code is not None:
                weight = (1 + math.log(times)) * math.log((1 + len(counted)) / (1 + seen[gram]))
                # The sign keeps what falls into one column by chance from adding up.
                spread[place, code % COLUMNS] += weight if code >> 31 else -weight
    return _unit(spread)


def _unit(matrix: Matrix) -> Matrix:
    import numpy

    norms = numpy.linalg.norm(matrix, axis=1, keepdims=True)
    unit: Matrix = matrix / numpy.where(norms > 0, norms, 1)
    return unit


def _reduced(matrix: Matrix, dimensions: int, random: numpy.random.Generator) -> Matrix:
    """The rows in the directions in which they differ most, each of length 1; shape (rows, dimensions)."""
    import numpy

    probe = matrix @ random.standard_normal((matrix.shape[1], min(dimensions + 10, len(matrix))))
    for _ in range(2):
        probe, _ = numpy.linalg.qr(matrix @ (matrix.T @ probe))
    left, values, _ = numpy.linalg.svd(probe.T @ matrix, full_matrices=False)
    return _unit((probe @ left * values)[:, :dimensions])


def _grouped(places: Matrix, clusters: int, random: numpy.random.Generator) -> NDArray[numpy.int64]:
    """k-means with k-means++ beginnings, the best of four; a group for each row, shape (rows,)."""
    import numpy

    best, least = numpy.zeros(len(places), dtype=numpy.int64), math.inf
    for _ in range(4):
        centres = _beginnings(places, clusters, random)
        for _ in range(30):
            distances = _squared(places, centres)
            labels = distances.argmin(axis=1)
            moved = numpy.stack(
                [
                    places[labels == k].mean(axis=0) if (labels == k).any() else centres[k]
                    for k in range(len(centres))
                ]
            )
            if numpy.allclose(moved, centres):
                break
            centres = moved
        cost = float(distances.min(axis=1).sum())
        if cost < least:
            best, least = labels, cost
    return best


def _beginnings(places: Matrix, clusters: int, random: numpy.random.Generator) -> Matrix:
    import numpy

    centres = [places[random.integers(len(places))]]
    while len(centres) < clusters:
        nearest = _squared(places, numpy.stack(centres)).min(axis=1)
        if nearest.sum() <= 1e-9:  # no more different rows than groups
            break
        centres.append(places[random.choice(len(places), p=nearest / nearest.sum())])
    return numpy.stack(centres)


def _squared(left: Matrix, right: Matrix) -> Matrix:
    """Squared distances of each to each, shape (left, right)."""
    import numpy

    products = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    distances: Matrix = numpy.maximum(products, 0)
    return distances


def _by_size(labels: NDArray[numpy.int64]) -> NDArray[numpy.int64]:
    """The same groups, numbered from the largest on."""
    import numpy

    sizes = numpy.bincount(labels)
    order = numpy.argsort(-sizes, kind="stable")
    places = numpy.empty_like(order)
    places[order] = numpy.arange(len(order))
    return places[labels]


def _laid_out(places: Matrix, random: numpy.random.Generator) -> Matrix:
    """t-SNE from the first two directions on; shape (rows, 2), from 0 to 1."""
    import numpy

    near = _neighbourhoods(_squared(places, places), min(PERPLEXITY, (len(places) - 1) / 3))
    spots = numpy.zeros((len(places), 2), dtype=numpy.float32)
    spots[:, : places.shape[1]] = places[:, :2]
    # Rows with the very same words would never part without a little noise.
    spots += 1e-2 * random.standard_normal(spots.shape).astype(numpy.float32)
    spots *= 1e-2 / max(float(spots.std()), 1e-9)
    speed = numpy.zeros_like(spots)
    rate = max(len(places) / 12, 50.0)
    for step in range(STEPS):
        early = step < STEPS // 4
        slope = _slope(near * numpy.float32(12) if early else near, spots)
        speed = (0.5 if early else 0.8) * speed - rate * slope
        spots = spots + speed
    low, high = numpy.percentile(spots, (0.5, 99.5), axis=0)
    scaled: Matrix = numpy.clip((spots - low) / numpy.maximum(high - low, 1e-9), 0, 1)
    return scaled


def _slope(near: NDArray[numpy.float32], spots: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
    """The gradient of the Kullback-Leibler divergence, one quarter of it; shape (rows, 2)."""
    import numpy

    across, down = (column[:, None] - column for column in spots.T)
    # No matrix products: small ones wait for BLAS's threads longer than they take.
    closeness = across * across
    closeness += down * down
    closeness += 1
    numpy.reciprocal(closeness, out=closeness)
    numpy.fill_diagonal(closeness, 0)
    pull = closeness * (-1 / closeness.sum())
    pull += near
    pull *= closeness
    slope: NDArray[numpy.float32] = numpy.stack(
        ((pull * across).sum(axis=1), (pull * down).sum(axis=1)), axis=1
    )
    return slope


def _neighbourhoods(distances: Matrix, perplexity: float) -> NDArray[numpy.float32]:
    """How near each row thinks its nearest to be, so that each has about `perplexity` neighbours; sums to 1."""
    import numpy

    numpy.fill_diagonal(distances, math.inf)
    nearest = numpy.argsort(distances, axis=1, kind="stable")[
        :, : min(len(distances) - 1, int(3 * perplexity) + 1)
    ]
    steps = numpy.take_along_axis(distances, nearest, axis=1)
    steps -= steps[:, :1]
    low, high = numpy.full((len(steps), 1), 1e-3), numpy.full((len(steps), 1), 1e4)
    for _ in range(25):
        sharpness = numpy.sqrt(low * high)
        weights = numpy.exp(-steps * sharpness)
        total = weights.sum(axis=1, keepdims=True)
        entropy = numpy.log(total) + sharpness * (steps * weights).sum(axis=1, keepdims=True) / total
        wide = entropy > math.log(max(perplexity, 1.0))
        low, high = numpy.where(wide, sharpness, low), numpy.where(wide, high, sharpness)
    joint = numpy.zeros(distances.shape, dtype=numpy.float32)
    numpy.put_along_axis(joint, nearest, (weights / total).astype(numpy.float32), axis=1)
    symmetric: NDArray[numpy.float32] = (joint + joint.T) / numpy.float32(2 * len(joint))
    return symmetric


def _named(counted: Sequence[Counter[str]], labels: NDArray[numpy.int64]) -> tuple[Cluster, ...]:
    """Each group by the words that far more of its rows have than of the others."""
    everywhere = Counter(gram for grams in counted for gram in grams)
    clusters = []
    for label in range(int(labels.max()) + 1):
        members = [grams for grams, of in zip(counted, labels, strict=True) if of == label]
        here = Counter(gram for grams in members for gram in grams)
        name = " · ".join(_telling(here, everywhere, len(members), len(counted)))
        clusters.append(Cluster(name, len(members), len(members) / len(counted)))
    return tuple(clusters)


def _telling(here: Counter[str], everywhere: Counter[str], members: int, rows: int) -> list[str]:
    """Words with the largest share · ln(share here / share in all), none within another."""

    def weight(gram: str) -> float:
        share = here[gram] / members
        return share * math.log(share / (everywhere[gram] / rows))

    chosen: list[str] = []
    for gram in sorted(here, key=lambda gram: (-weight(gram), gram)):
        if not any(set(gram.split()) & set(other.split()) for other in chosen):
            chosen.append(gram)
        if len(chosen) == NAMING:
            break
    return chosen
