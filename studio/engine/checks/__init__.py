"""The quality checklist: a small module or two a dimension; a check is a pure function in a table."""

from __future__ import annotations

import importlib
from typing import Any

from studio.domain.finding import Finding
from studio.engine.checks.cleaning import Change, Cleaned, clean
from studio.engine.checks.registry import CHECKS, Check
from studio.engine.checks.scoring import FORMULA, Report, run_checks, score

# Importing a module enters its checks; the order here is the order in which they are shown.
for _module in ("accuracy", "relevance", "diversity", "consistency", "consistent_rows", "safety"):
    importlib.import_module(f"{__name__}.{_module}")

__all__ = [
    "CHECKS",
    "FORMULA",
    "Change",
    "Check",
    "Cleaned",
    "Report",
    "clean",
    "described",
    "run_checks",
    "score",
]


def described(found: Finding) -> dict[str, Any]:
    """A finding for other programs, with what is known of its check: why it matters, what it misses, its source."""
    check = CHECKS.get(found.check)
    about = {"why": check.why, "blind_spots": check.blind_spots, "source": check.source} if check else {}
    return {**found.to_json(), **{name: text for name, text in about.items() if text}}
