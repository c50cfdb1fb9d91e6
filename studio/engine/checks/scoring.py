"""All checks over all rows, and a score for each dimension."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from studio.domain.chat import Conversation
from studio.domain.finding import DIMENSIONS, Dimension, Finding
from studio.domain.text import Text
from studio.engine.checks.registry import CHECKS, row_number, shorten
from studio.engine.checks.sketches import Sketches, drawn, tabled
from studio.engine.checks.sketches import joined as joined_sketches

_AT_A_TIME = 16
WEIGHTS = {"error": 1.0, "warning": 0.5, "info": 0.1}
"""How much of a row is lost by a finding of this severity."""
FORMULA = Text(
    "A score is 100 × (1 − lost rows / rows). A row loses the weight of its gravest finding: an error all of it, a "
    "warning half, a note a tenth."
)


@dataclass(frozen=True)
class Report:
    """What the checklist found. `rows` counts the conversations that were looked at; `scores` are 0 to 100."""

    rows: int
    findings: list[Finding]
    scores: dict[str, float]

    def after(self, findings: Iterable[Finding]) -> Report:
        """With findings that were known already, of the file and of the tokens, which come first and are not scored."""
        return replace(self, findings=[*findings, *self.findings])


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


@dataclass(frozen=True)
class Looked:
    """What was seen of some rows by themselves. The parts of a set can be looked at anywhere, and `joined` in order."""

    numbers: tuple[int, ...]
    """The rows' numbers in their file."""
    flagged: dict[str, tuple[tuple[int, ...], str]]
    """Of each check that found something: the numbers of the rows, and the words that show the first one's defect."""
    table: Sketches


def look(conversations: Sequence[Conversation]) -> Looked:
    """Every check of one row over the rows, and a sketch of each to compare them by.

    It goes a few rows at a time: what one check asks of a text, its small letters or its marks, the next one finds at
    hand, and its own code is still there when it looks at the next row.
    """
    looks = [(check.id, check.look) for check in CHECKS.values() if check.look is not None]
    numbers = tuple(row_number(conversations, position) for position in range(len(conversations)))
    rows: dict[str, list[int]] = {}
    examples: dict[str, str] = {}
    sketches: list[tuple[Any, ...]] = []
    for start in range(0, len(numbers), _AT_A_TIME):
        end = start + _AT_A_TIME
        few = list(zip(numbers[start:end], conversations[start:end], strict=True))
        for name, see in looks:
            for number, conversation in few:
                evidence = see(conversation)
                if evidence:
                    rows.setdefault(name, []).append(number)
                    examples.setdefault(name, shorten(evidence))
        sketches += drawn(conversations[start:end])
    flagged = {name: (tuple(found), examples[name]) for name, found in rows.items()}
    return Looked(numbers, flagged, tabled(sketches))


def joined(parts: Sequence[Looked]) -> Looked:
    """What was seen of the parts as what was seen of the whole."""
    flagged: dict[str, tuple[tuple[int, ...], str]] = {}
    for check in dict.fromkeys(name for part in parts for name in part.flagged):
        found = [part.flagged[check] for part in parts if check in part.flagged]
        flagged[check] = tuple(row for rows, _ in found for row in rows), found[0][1]
    numbers = tuple(number for part in parts for number in part.numbers)
    return Looked(numbers, flagged, joined_sketches([part.table for part in parts]))


def judge(
    conversations: Sequence[Conversation],
    looked: Looked,
    findings: Iterable[Finding] = (),
    progress: Callable[[float], None] | None = None,
) -> Report:
    """The report on rows that were looked at, once they are compared with each other too.

    `progress` is told which share of the checks is through, and may raise to end it.
    """
    found = list(findings)
    for done, check in enumerate(CHECKS.values()):
        if check.id in looked.flagged:
            found.append(check.finding(*looked.flagged[check.id]))
        elif check.judge is not None and len(looked.numbers):
            evidence = check.find(conversations, looked.table)
            if evidence:
                positions = sorted(evidence)
                found.append(check.finding([looked.numbers[p] for p in positions], evidence[positions[0]]))
        if progress is not None:
            progress((done + 1) / len(CHECKS))
    scores = {str(dimension): score(found, dimension, len(looked.numbers)) for dimension in DIMENSIONS}
    return Report(len(looked.numbers), found, scores)


def run_checks(conversations: Sequence[Conversation], *, findings: Iterable[Finding] = ()) -> Report:
    """Every check over the conversations.

    `findings` are those already known, of the file and of the tokens; they come first in the report and are not scored.
    """
    return judge(conversations, look(conversations), findings)
