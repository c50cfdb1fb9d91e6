"""General instruction data among one's own: the standard defence against catastrophic forgetting."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from studio.domain.chat import Conversation
from studio.domain.finding import Finding, finding
from studio.engine.assets import ASSETS

GENERAL = "general"
"""The source that mixed-in rows carry."""
SHIPPED = ASSETS / "general" / "general.jsonl"
GAUGE = "gauge"
"""Rows of the shipped set with this `split` measure what was forgotten, and are never learnt."""


@dataclass(frozen=True)
class Candidate:
    """A general row, with the kind of task that it is, its language and its use, where its file says so."""

    conversation: Conversation
    task: str = ""
    language: str = ""
    gauge: bool = False
    """Whether it measures what is forgotten, and is never learnt."""


def general_rows(own: int, share: float) -> int:
    """How many general rows make up `share` of all beside `own` rows.

    >>> general_rows(900, 0.1)
    100
    """
    return round(own * share / (1 - share)) if share > 0 else 0


def draw(
    candidates: Sequence[Candidate], count: int, seed: int, file: Path
) -> tuple[list[Conversation], list[Finding]]:
    """`count` rows, or all where there are fewer, spread evenly over the kinds of tasks; the same for the same seed."""
    random_ = random.Random(seed)
    by_task: dict[str, list[Conversation]] = {}
    for candidate in candidates:
        by_task.setdefault(candidate.task, []).append(candidate.conversation)
    for rows in by_task.values():
        random_.shuffle(rows)
    order = sorted(by_task)
    random_.shuffle(order)
    drawn: list[Conversation] = []
    depth = 0
    while len(drawn) < min(count, len(candidates)):
        for task in order:
            if depth < len(by_task[task]) and len(drawn) < count:
                drawn.append(by_task[task][depth])
        depth += 1
    drawn = [replace(row, source=GENERAL) for row in sorted(drawn, key=lambda row: row.row)]
    if len(drawn) >= count:
        return drawn, []
    return drawn, [
        finding(
            "few_general",
            "split",
            "warning",
            (),
            "{file} has {available} general rows, fewer than the {wanted} that the share asks for. All are used.",
            "Lower the share, or choose a larger file of general data.",
            file=file.name,
            available=len(drawn),
            wanted=count,
        )
    ]


def about_mixture(own: int, general: int, file: Path) -> Finding:
    """Says what the mixture is."""
    return finding(
        "mixture",
        "split",
        "info",
        (),
        "Of the rows for training {general} are general ones from {file}: {share} % of {total}.",
        "They keep the model from forgetting; 5 to 10 % is usual.",
        general=general,
        file=file.name,
        share=f"{100 * general / max(1, own + general):.1f}",
        total=own + general,
    )
