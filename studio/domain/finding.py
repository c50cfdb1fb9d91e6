"""What a check found in the data, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from studio.domain.text import Text

Dimension = Literal["accuracy", "relevance", "diversity", "consistency", "safety", "tokens", "file", "split"]
Severity = Literal["error", "warning", "info"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""The worst first."""
DIMENSIONS: tuple[Dimension, ...] = ("accuracy", "relevance", "diversity", "consistency", "safety")
"""The five that are scored; the others are about the file and the tokens."""


@dataclass(frozen=True)
class Finding:
    """One kind of defect and the 1-based numbers of the rows that have it."""

    check: str
    dimension: Dimension
    severity: Severity
    rows: tuple[int, ...]
    text: Text
    remedy_text: Text
    fixable: bool = False

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def message(self) -> str:
        return str(self.text)

    @property
    def remedy(self) -> str:
        return str(self.remedy_text)

    def to_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "dimension": self.dimension,
            "severity": self.severity,
            "count": self.count,
            "rows": list(self.rows),
            "message": self.message,
            "remedy": self.remedy,
            "fixable": self.fixable,
        }

    def to_record(self) -> dict[str, Any]:
        """All of it, to be read back by `from_record`."""
        return {
            **{name: getattr(self, name) for name in ("check", "dimension", "severity", "fixable")},
            "rows": list(self.rows),
            "text": self.text.to_json(),
            "remedy": self.remedy_text.to_json(),
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Finding:
        texts = Text.from_json(record["text"]), Text.from_json(record["remedy"])
        return cls(
            record["check"],
            record["dimension"],
            record["severity"],
            tuple(record["rows"]),
            *texts,
            fixable=record["fixable"],
        )


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Errors, then warnings, then what is good to know; of each, first what most rows have."""
    return sorted(findings, key=lambda found: (SEVERITIES.index(found.severity), -found.count))


def finding(
    check: str,
    dimension: Dimension,
    severity: Severity,
    rows: Iterable[int],
    message: str,
    remedy: str,
    *,
    fixable: bool = False,
    **values: Any,
) -> Finding:
    """A Finding from English templates; `{count}` is filled in by itself."""
    numbers = tuple(rows)
    values = {"count": len(numbers), **values}
    return Finding(check, dimension, severity, numbers, Text(message, values), Text(remedy, values), fixable)
