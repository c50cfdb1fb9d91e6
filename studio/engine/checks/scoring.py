"""All checks over all rows, and a score for each dimension."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from studio.domain.chat import Conversation
from studio.domain.finding import DIMENSIONS, Dimension, Finding
from studio.engine.checks.registry import CHECKS

WEIGHTS = {"error": 1.0, "warning": 0.5, "info": 0.1}
"""How much of a row is lost by a finding of this severity."""


@dataclass(frozen=True)
class Report:
    """What the checklist found. `rows` counts the conversations that were looked at; `scores` are 0 to 100."""

    rows: int
    findings: list[Finding]
    scores: dict[str, float]


def score(findings: Iterable[Finding], dimension: Dimension, rows: int) -> float:
    """100 × (1 − lost rows / rows), with one decimal. A row loses the weight of its gravest finding, and only once.

    An error costs the whole row, a warning half of it, an info a tenth. Without rows, the score is 100.
    """
    lost: dict[int, float] = {}
    for found in findings:
        if found.dimension == dimension:
            for row in found.rows:
                lost[row] = max(lost.get(row, 0.0), WEIGHTS[found.severity])
    return round(100 * (1 - min(1.0, sum(lost.values()) / rows)), 1) if rows else 100.0


def run_checks(conversations: Sequence[Conversation], *, findings: Iterable[Finding] = ()) -> Report:
    """Every check over the conversations.

    `findings` are those already known, of the file and of the tokens; they come first in the report and are not scored.
    """
    found = [*findings, *(item for check in CHECKS.values() for item in check.findings(conversations))]
    scores = {dimension: score(found, dimension, len(conversations)) for dimension in DIMENSIONS}
    return Report(len(conversations), found, {str(dimension): value for dimension, value in scores.items()})
