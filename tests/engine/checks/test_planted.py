"""Of defects planted in clean rows, each check finds at least 95 %, and at least 95 % of what it flags was planted."""

from __future__ import annotations

import pytest

from studio.engine.checks import CHECKS
from tests.planted.measure import measure


@pytest.mark.parametrize("check", CHECKS)
def test_what_was_planted_is_found_and_little_else(check: str) -> None:
    measured = measure(check)
    assert measured.recall >= 0.95, [row.messages[-1].content[-80:] for row in measured.missed[:5]]
    assert measured.precision >= 0.95, [row.messages[-1].content[-80:] for row in measured.wrong[:5]]
