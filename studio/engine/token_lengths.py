"""How long the rows are in tokens, and the smallest usual length that keeps nearly all of them whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from studio.domain.finding import Finding, finding

USUAL = tuple(2**power for power in range(7, 18))
"""Maximum lengths that are usual: 128 to 131,072 tokens."""
WHOLE = 0.99
"""The share of rows that a suggested length keeps whole."""


@dataclass(frozen=True)
class TokenLengths:
    """Tokens a row, by nearest rank: so many percent of the rows have at most so many."""

    p50: int
    p90: int
    p95: int
    p99: int
    longest: int
    suggested: int
    """The smallest usual length that keeps 99 % of the rows whole; never more than the longest row, or the context."""
    whole: float
    """The share of rows, in percent, that it keeps whole."""


def token_lengths(lengths: Sequence[int], context: int) -> TokenLengths | None:
    """None where there is no row. `context` is how many tokens the model can see.

    >>> token_lengths([90] * 99 + [5_000], 2_048)
    TokenLengths(p50=90, p90=90, p95=90, p99=90, longest=5000, suggested=128, whole=99.0)
    """
    ordered = sorted(lengths)
    if not ordered:
        return None
    needed, longest = _rank(ordered, WHOLE), ordered[-1]
    usual = next((size for size in USUAL if size >= needed), longest)
    suggested = min(usual, longest, context)
    whole = 100 * sum(length <= suggested for length in ordered) / len(ordered)
    p50, p90, p95, p99 = (_rank(ordered, share) for share in (0.5, 0.9, 0.95, 0.99))
    return TokenLengths(p50, p90, p95, p99, longest, suggested, math.floor(10 * whole) / 10)


def _rank(ordered: Sequence[int], share: float) -> int:
    # A tiny bit less, so that 0.99 · 100 is 99 and not a hair above.
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def length_findings(lengths: Sequence[int], context: int) -> list[Finding]:
    """The lengths and the suggestion as an info Finding whose values are the fields of `TokenLengths`."""
    found = token_lengths(lengths, context)
    if found is None:
        return []
    return [
        finding(
            "token_lengths",
            "tokens",
            "info",
            (),
            "Tokens a row: half of the rows have at most {p50}, 90 % {p90}, 95 % {p95}, 99 % {p99}; the longest has "
            "{longest}.",
            "A maximum length of {suggested} keeps {whole} % of the rows whole. More costs memory for few rows.",
            **asdict(found),
        )
    ]
