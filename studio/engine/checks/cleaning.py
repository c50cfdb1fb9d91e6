"""Repairs: what the checks found put right, row by row, with the reason for each change."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from studio.domain.chat import Conversation
from studio.domain.errors import StudioError
from studio.engine.checks.parts import shown
from studio.engine.checks.registry import CHECKS, Check, row_number

SHOWN = 160
"""Characters of the text before and after a change that are kept to show it."""
ROUNDS = 6


@dataclass(frozen=True)
class Change:
    """One row that a repair changed or dropped: around the first difference, the text before and after."""

    row: int
    check: str
    action: Literal["changed", "dropped"]
    before: str
    after: str = ""


@dataclass(frozen=True)
class Cleaned:
    """The conversations that are left, and every change in the order it was made."""

    conversations: list[Conversation]
    changes: list[Change]

    @property
    def dropped(self) -> int:
        return sum(change.action == "dropped" for change in self.changes)

    @property
    def changed(self) -> int:
        """Rows that are left and read differently now."""
        gone = {change.row for change in self.changes if change.action == "dropped"}
        return len({change.row for change in self.changes} - gone)


def choose(check_ids: Iterable[str]) -> list[Check]:
    """The checks to repair, in the order they are applied. 'all' is every check with a repair.

    Text is mended before rows are dropped for what it says, and duplicates are looked for at the end.
    """
    names = list(dict.fromkeys(check_ids))
    fixable = [check for check in CHECKS.values() if check.fixable]
    chosen = {check.id: check for check in fixable} if "all" in names else {}
    for name in names:
        if name != "all":
            chosen[name] = _fixable(name, fixable)
    return sorted(chosen.values(), key=lambda check: check.order)


def _fixable(name: str, fixable: Sequence[Check]) -> Check:
    check = CHECKS.get(name)
    if check is None:
        known = ["all", *(item.id for item in fixable)]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        if near:
            raise StudioError(
                "There is no check {name}.", "Did you mean {nearest}?", name=name, nearest=near[0]
            )
        raise StudioError(
            "There is no check {name}.", "Choose among {names}.", name=name, names=", ".join(known)
        )
    if not check.fixable:
        raise StudioError(
            "The check {name} has no repair.", "What helps: {advice}", name=name, advice=check.remedy
        )
    return check


def clean(conversations: Sequence[Conversation], check_ids: Iterable[str]) -> Cleaned:
    """The conversations with the chosen repairs applied until nothing is left to repair.

    One repair may uncover what another finds (two rows may be the same once their spaces are gone), so they go round
    until all is quiet. StudioError for a check that does not exist or has no repair.
    """
    checks = choose(check_ids)
    rows = [
        (row_number(conversations, position), conversation)
        for position, conversation in enumerate(conversations)
    ]
    changes: list[Change] = []
    for _ in range(ROUNDS):
        before = len(changes)
        for check in checks:
            rows = _apply(check, rows, changes)
        if len(changes) == before:
            break
    else:
        for check in checks:  # a row that no round could settle is left out rather than left wrong
            evidence = check.find([conversation for _, conversation in rows])
            rows = _replace(check, rows, dict.fromkeys(evidence), changes)
    return Cleaned([conversation for _, conversation in rows], changes)


def _apply(
    check: Check, rows: list[tuple[int, Conversation]], changes: list[Change]
) -> list[tuple[int, Conversation]]:
    conversations = [conversation for _, conversation in rows]
    evidence = check.find(conversations)
    if not evidence or check.repair is None:
        return rows
    return _replace(check, rows, check.repair(conversations, evidence), changes)


def _replace(
    check: Check,
    rows: list[tuple[int, Conversation]],
    repaired: Mapping[int, Conversation | None],
    changes: list[Change],
) -> list[tuple[int, Conversation]]:
    kept: list[tuple[int, Conversation]] = []
    for position, (number, conversation) in enumerate(rows):
        new = repaired.get(position, conversation)
        if new != conversation:
            changes.append(change_of(number, check.id, conversation, new))
        if new is not None:
            kept.append((number, new))
    return kept


def change_of(number: int, check: str, old: Conversation, new: Conversation | None) -> Change:
    """What a repair made of a row."""
    if new is None:
        return Change(number, check, "dropped", _excerpt(shown(old), 0))
    old_text, new_text = shown(old), shown(new)
    at = _first_difference(old_text, new_text)
    return Change(number, check, "changed", _excerpt(old_text, at), _excerpt(new_text, at))


def _first_difference(left: str, right: str) -> int:
    for position, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return position
    return min(len(left), len(right))


def _excerpt(text: str, around: int) -> str:
    start = max(0, around - SHOWN // 3)
    end = start + SHOWN
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")
