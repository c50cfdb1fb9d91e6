"""The quality checklist: one small module a dimension; a check is a pure function in a table."""

from __future__ import annotations

import importlib

from studio.engine.checks.cleaning import Change, Cleaned, clean
from studio.engine.checks.registry import CHECKS, Check
from studio.engine.checks.scoring import Report, run_checks, score

# Importing a module enters its checks; the order here is the order in which they are shown.
for _dimension in ("accuracy", "relevance", "diversity", "consistency", "safety"):
    importlib.import_module(f"{__name__}.{_dimension}")

__all__ = ["CHECKS", "Change", "Check", "Cleaned", "Report", "clean", "run_checks", "score"]
