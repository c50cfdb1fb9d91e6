"""What people (or a judge model) say of pairs of answers: who wins, how surely, and how far the raters agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any, Literal

from studio.domain.answer import SIDES, Side
from studio.engine import metrics

DIMENSIONS = ("relevance", "accuracy", "fluency", "completeness", "safety")
LEAST, MOST = 1, 5
"""Of a score."""
Vote = Literal["base", "tuned", "tie"]
_WORTH: dict[Vote, float] = {"base": 0.0, "tie": 0.5, "tuned": 1.0}


@dataclass(frozen=True)
class Rating:
    """What one rater says of one pair."""

    rater: str
    pair: int
    vote: Vote
    scores: Mapping[Side, Mapping[str, int]] = field(default_factory=dict)
    """By side and dimension, `LEAST` to `MOST`; those that were not given are left out."""


def summary(ratings: Sequence[Rating], alike: int = 0) -> dict[str, Any]:
    """Figures of all ratings. `alike`: pairs of two equal answers, which nobody is asked about; they are told, no more.

    `win_rate` is the share of pairs that the tuned model wins, a tie being half a win; where several raters saw a pair,
    their mean counts once, so that the interval is over pairs. `agreement` is Krippendorff's alpha on the ordered
    scale (base, tie, tuned), or of the scores: 1 is full agreement, 0 what chance gives; None where no pair has two
    raters, or all said the same. `shared` pairs have several raters, who said the `same` of so many.
    """
    votes = [*_by_pair(ratings, lambda rating: _WORTH[rating.vote]).values()]
    means = [sum(worth) / len(worth) for worth in votes]
    if not means:
        return {"ratings": 0, "pairs": 0, "alike": alike, "raters": []}
    counts = Counter(rating.vote for rating in ratings)
    apart = metrics.difference_of_means([1 - share for share in means], means)
    said_twice = [values for values in votes if len(values) > 1]
    return {
        "ratings": len(ratings),
        "pairs": len(votes),
        "alike": alike,
        "raters": [*dict.fromkeys(rating.rater for rating in ratings)],
        "votes": {vote: counts[vote] for vote in _WORTH},
        "win_rate": {**metrics.mean(means).to_json(), "p": apart.p},
        "agreement": alpha(votes),
        "shared": len(said_twice),
        "same": sum(len(set(values)) == 1 for values in said_twice),
        "dimensions": {name: found for name in DIMENSIONS if (found := _dimension(ratings, name))},
    }


def _dimension(ratings: Sequence[Rating], name: str) -> dict[str, Any] | None:
    """Of the ratings that score both sides; None where there are none."""
    both = [rating for rating in ratings if all(name in rating.scores.get(side, {}) for side in SIDES)]
    if not both:
        return None
    scores = {side: _by_pair(both, lambda rating: rating.scores[side][name]) for side in SIDES}  # noqa: B023
    means = {side: [sum(given) / len(given) for given in scores[side].values()] for side in SIDES}
    return {
        **{side: sum(means[side]) / len(means[side]) for side in SIDES},
        "difference": metrics.difference_of_means(means["base"], means["tuned"]).to_json(),
        "ratings": len(both),
        "agreement": alpha([given for side in SIDES for given in scores[side].values()]),
    }


def _by_pair(ratings: Iterable[Rating], value: Callable[[Rating], float]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = defaultdict(list)
    for rating in ratings:
        found[rating.pair].append(value(rating))
    return found


def alpha(units: Iterable[Sequence[float]]) -> float | None:
    """Krippendorff's alpha for ordered values (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability").

    A unit is what its raters said of it, in any order and however many they were; with one rater it does not count.

    >>> alpha([[1, 1], [2, 2], [3, 3]]), alpha([[1, 1], [1, 1]]), alpha([[1], [2]])
    (1.0, None, None)
    """
    together: dict[tuple[float, float], float] = defaultdict(float)
    for values in units:
        for pair in permutations(values, 2):
            together[pair] += 1 / (len(values) - 1)
    totals: dict[float, float] = defaultdict(float)
    for (value, _), count in together.items():
        totals[value] += count
    distance = _ordinal(totals)
    observed = sum(count * distance[pair] for pair, count in together.items())
    expected = sum(totals[one] * totals[other] * squared for (one, other), squared in distance.items())
    if not expected:
        return None
    return 1 - (sum(totals.values()) - 1) * observed / expected


def _ordinal(totals: Mapping[float, float]) -> dict[tuple[float, float], float]:
    """The squared distance of two ranks: how much was said between them, half of each end counted."""
    order = sorted(totals)
    return {
        (one, other): (
            sum(totals[value] for value in order if min(one, other) <= value <= max(one, other))
            - (totals[one] + totals[other]) / 2
        )
        ** 2
        for one in order
        for other in order
    }
