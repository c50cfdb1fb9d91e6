"""What was done to the rows of a dataset: steps, and of each what became of which row and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from studio.domain.chat import Conversation
from studio.domain.text import Text

Kind = Literal["repair", "edit", "drop", "select", "earlier"]
"""Repairs of checks; a row rewritten, or left out, by hand; the best rows chosen; what an older studio did."""


@dataclass(frozen=True, slots=True)
class RowChange:
    """What a step makes of one row; `after` is None where it is dropped.

    `row` is the row's number, and that of both conversations: among the rows in use while a change is only proposed, in
    the upload once it is kept. `checks` are those whose repairs made it, `reasons` say why for a person.
    """

    row: int
    before: Conversation
    after: Conversation | None
    reasons: tuple[Text, ...]
    checks: tuple[str, ...] = ()

    @property
    def dropped(self) -> bool:
        return self.after is None

    def to_json(self) -> dict[str, Any]:
        return {
            "row": self.row,
            "action": "dropped" if self.dropped else "changed",
            "reasons": [reason.to_json() for reason in self.reasons],
            "checks": list(self.checks),
            "before": self.before.to_json(),
            "after": self.after.to_json() if self.after else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RowChange:
        row, after = data["row"], data["after"]
        return cls(
            row,
            Conversation.from_json(data["before"], row),
            Conversation.from_json(after, row) if after else None,
            tuple(Text.from_json(reason) for reason in data["reasons"]),
            tuple(data["checks"]),
        )


@dataclass(frozen=True)
class Step:
    """One thing done to the rows of a dataset, with how many it changed and dropped."""

    number: int
    """Names the step; those of steps that were undone may be given again, but never while they stand."""
    kind: Kind
    at: str
    """UTC, ISO 8601."""
    changed: int
    dropped: int
    asked: Mapping[str, Any] = field(default_factory=dict)
    """What was asked for: `checks` of a repair and `spared`, the rows kept out of it; `rows` of a selection; the `row`
    of an edit or a drop."""

    def to_json(self) -> dict[str, Any]:
        names = ("number", "kind", "at", "changed", "dropped")
        return {**{name: getattr(self, name) for name in names}, "asked": dict(self.asked)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Step:
        return cls(**data)
