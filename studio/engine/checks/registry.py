"""What a check is, and the table that they enter."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from studio.domain.chat import Conversation
from studio.domain.finding import Dimension, Finding, Severity, finding
from studio.engine.checks.parts import Part, last_turn, rewritten, speaks

Evidence = Mapping[int, str]
"""Flagged positions in the list of conversations, each with the words that show the defect."""

Find = Callable[[Sequence[Conversation]], Evidence]
Fix = Callable[[Conversation], "Conversation | None"]
FixAll = Callable[[Sequence[Conversation], Evidence], Mapping[int, "Conversation | None"]]

EVIDENCE_LENGTH = 60

_FENCED = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
_INLINE = re.compile(r"`[^`\n]*`")


@dataclass(frozen=True)
class Check:
    """One question asked of the data: what it finds, why that matters, and what can be done about it.

    `message` is the sentence about what was found: it may hold {count}, {row} (the first flagged row) and {example}.
    `find` is pure. `repair` gives for flagged positions the repaired conversation, or None where the row is dropped;
    `fix_title` says what it does and is empty where there is no repair.
    """

    id: str
    title: str
    dimension: Dimension
    severity: Severity
    message: str
    why: str
    remedy: str
    blind_spots: str
    find: Find
    fix_title: str = ""
    repair: FixAll | None = None
    source: str = ""
    order: int = 0
    """When its repair is applied: 0 where it mends text, 1 where it drops a row, 2 where it compares rows."""

    @property
    def fixable(self) -> bool:
        return self.repair is not None

    def findings(self, conversations: Sequence[Conversation]) -> list[Finding]:
        """One Finding that names the flagged rows, or none."""
        evidence = self.find(conversations)
        if not evidence:
            return []
        positions = sorted(evidence)
        rows = [row_number(conversations, position) for position in positions]
        example = shorten(evidence[positions[0]])
        return [
            finding(
                self.id,
                self.dimension,
                self.severity,
                dict.fromkeys(rows),
                self.message,
                self.remedy,
                fixable=self.fixable,
                row=rows[0],
                example=example,
            )
        ]


CHECKS: dict[str, Check] = {}
"""All checks by id, in the order they are shown. Filled when the modules of this package are imported."""


def row_number(conversations: Sequence[Conversation], position: int) -> int:
    """The row's number in its file; conversations that come from no file are counted from 1."""
    return conversations[position].row or position + 1


def shorten(text: str, length: int = EVIDENCE_LENGTH) -> str:
    """One line of at most `length` characters.

    >>> shorten("a\\n  b"), shorten("abcdef", 4)
    ('a b', 'abc…')
    """
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def row_check(
    dimension: Dimension,
    severity: Severity,
    *,
    title: str,
    message: str,
    why: str,
    remedy: str,
    blind_spots: str,
    fix_title: str = "",
    fix: Fix | None = None,
    source: str = "",
) -> Callable[[Callable[[Conversation], str]], Callable[[Conversation], str]]:
    """Enter a function that looks at one conversation and gives the words that show the defect, or ''.

    The function's name is the check's id.
    """

    def enter(function: Callable[[Conversation], str]) -> Callable[[Conversation], str]:
        def find(conversations: Sequence[Conversation]) -> Evidence:
            shown = (
                (position, function(conversation)) for position, conversation in enumerate(conversations)
            )
            return {position: evidence for position, evidence in shown if evidence}

        def repair(
            conversations: Sequence[Conversation], evidence: Evidence
        ) -> dict[int, Conversation | None]:
            assert fix is not None
            return {position: fix(conversations[position]) for position in evidence}

        _enter(
            Check(
                id=function.__name__,
                title=title,
                dimension=dimension,
                severity=severity,
                message=message,
                why=why,
                remedy=remedy,
                blind_spots=blind_spots,
                find=find,
                fix_title=fix_title,
                repair=repair if fix else None,
                source=source,
                order=int(fix is drop),
            )
        )
        return function

    return enter


def set_check(
    dimension: Dimension,
    severity: Severity,
    *,
    title: str,
    message: str,
    why: str,
    remedy: str,
    blind_spots: str,
    fix_title: str = "",
    repair: FixAll | None = None,
    source: str = "",
) -> Callable[[Find], Find]:
    """Enter a function that looks at all conversations together. Its name is the check's id."""

    def enter(function: Find) -> Find:
        _enter(
            Check(
                id=function.__name__,
                title=title,
                dimension=dimension,
                severity=severity,
                message=message,
                why=why,
                remedy=remedy,
                blind_spots=blind_spots,
                find=function,
                fix_title=fix_title,
                repair=repair,
                source=source,
                order=2,
            )
        )
        return function

    return enter


def _enter(check: Check) -> None:
    assert check.id not in CHECKS, f"two checks are named {check.id}"
    assert bool(check.fix_title) == check.fixable, f"{check.id}: a repair and its title go together"
    CHECKS[check.id] = check


def drop(conversation: Conversation) -> None:
    """The repair that leaves the row out."""


def drop_all(conversations: Sequence[Conversation], evidence: Evidence) -> dict[int, Conversation | None]:
    """The repair that leaves out every flagged row."""
    return dict.fromkeys(evidence)


def rewriting(function: Callable[[str], str], *parts: Part) -> Fix:
    """The repair that rewrites such parts of every message; the row is dropped where no response is left."""

    def fix(conversation: Conversation) -> Conversation | None:
        messages = tuple(rewritten(message, function, *parts) for message in conversation.messages)
        changed = replace(conversation, messages=messages)
        return changed if speaks(last_turn(changed)) or not speaks(last_turn(conversation)) else None

    return fix


def without_code(text: str) -> str:
    """The text without fenced blocks and inline code.

    >>> without_code("Use `x = 1`:\\n```\\nx\\n```\\nDone")
    'Use :\\n\\nDone'
    """
    if "`" not in text:
        return text
    return _INLINE.sub("", _FENCED.sub("", text))
