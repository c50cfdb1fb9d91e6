"""What a check is, and the table that they enter."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from studio.domain.chat import Conversation
from studio.domain.finding import Dimension, Finding, Severity, finding
from studio.engine.checks.parts import Part, last_turn, rewritten, speaks
from studio.engine.checks.sketches import Sketches, sketched
from studio.engine.checks.text import TEXTS_AT_HAND

Evidence = Mapping[int, str]
"""Flagged positions in the list of conversations, each with the words that show the defect."""

Look = Callable[[Conversation], str]
"""What a check of one row sees: the words that show the defect, or ''."""
Judge = Callable[[Sequence[Conversation], Sketches], Evidence]
"""A check of a whole set: it compares the rows' sketches, and reads only the rows that those point to."""
Fix = Callable[[Conversation], "Conversation | None"]
FixAll = Callable[[Sequence[Conversation], Evidence], Mapping[int, "Conversation | None"]]

EVIDENCE_LENGTH = 60

FENCED = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
_INLINE = re.compile(r"`[^`\n]*`")


@dataclass(frozen=True)
class Check:
    """One question asked of the data: what it finds, why that matters, and what can be done about it.

    `message` is the sentence about what was found: it may hold {count}, {row} (the first flagged row) and {example}.
    A check of one row has `look`, a check of a whole set `judge`; both are pure. `repair` gives for flagged positions
    the repaired conversation, or None where the row is dropped; `fix_title` says what it does and is empty where there
    is no repair.
    """

    id: str
    title: str
    dimension: Dimension
    severity: Severity
    message: str
    why: str
    remedy: str
    blind_spots: str
    look: Look | None = None
    judge: Judge | None = None
    fix_title: str = ""
    repair: FixAll | None = None
    source: str = ""
    order: int = 0
    """When its repair is applied: 0 where it mends text, 1 where it drops a row, 2 where it compares rows."""

    @property
    def fixable(self) -> bool:
        return self.repair is not None

    def find(self, conversations: Sequence[Conversation], table: Sketches | None = None) -> Evidence:
        """The flagged positions. `table` holds the conversations' sketches, where they are made already."""
        if self.look is not None:
            shown = ((position, self.look(row)) for position, row in enumerate(conversations))
            return {position: evidence for position, evidence in shown if evidence}
        assert self.judge is not None
        return self.judge(conversations, sketched(conversations) if table is None else table)

    def findings(self, conversations: Sequence[Conversation]) -> list[Finding]:
        """One Finding that names the flagged rows, or none."""
        evidence = self.find(conversations)
        if not evidence:
            return []
        positions = sorted(evidence)
        rows = [row_number(conversations, position) for position in positions]
        return [self.finding(rows, evidence[positions[0]])]

    def finding(self, rows: Sequence[int], example: str) -> Finding:
        """The Finding that names these rows, with the words that show the first one's defect."""
        return finding(
            self.id,
            self.dimension,
            self.severity,
            dict.fromkeys(rows),
            self.message,
            self.remedy,
            fixable=self.fixable,
            row=rows[0],
            example=shorten(example),
        )


class Flagged(Mapping[int, str]):
    """Evidence whose words are made only for the rows that are asked for, as a set may flag most of a million."""

    def __init__(
        self,
        conversations: Sequence[Conversation],
        positions: Iterable[int],
        show: Callable[[Conversation], str],
    ) -> None:
        self._conversations, self._show = conversations, show
        self._positions = dict.fromkeys(sorted(map(int, positions)))

    def __getitem__(self, position: int) -> str:
        if position not in self._positions:
            raise KeyError(position)
        return self._show(self._conversations[position])

    def __iter__(self) -> Iterator[int]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)


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
                look=function,
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
) -> Callable[[Judge], Judge]:
    """Enter a function that compares rows by their sketches. Its name is the check's id."""

    def enter(function: Judge) -> Judge:
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
                judge=function,
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
    return _uncoded(text) if "`" in text else text


@lru_cache(maxsize=TEXTS_AT_HAND)
def _uncoded(text: str) -> str:
    if "```" in text or "~~~" in text:
        text = FENCED.sub("", text)
    return _INLINE.sub("", text)
