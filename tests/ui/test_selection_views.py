from __future__ import annotations

from studio.domain.chat import Conversation, Message
from studio.engine.checks import run_checks
from studio.engine.selection import propose
from studio.ui.i18n import words
from studio.ui.selection_views import proposal

ROWS = [
    Conversation((Message("user", "Name a <b>colour</b>."), Message("assistant", "Blue is a colour.")), 1),
    Conversation((Message("user", "Name a <b>colour</b>!"), Message("assistant", "Blue is a colour.")), 2),
    Conversation((Message("user", "Why is it dark?"), Message("assistant", "The sun has gone down.")), 3),
]


def test_a_proposal_shows_what_stays_and_what_goes_with_the_spread_before_and_after() -> None:
    html = proposal(words("en"), propose(ROWS, run_checks(ROWS[:0]), 2), ROWS)
    assert "2 of 3 rows stay." in html
    assert "It is alike to row 1, which comes before it." in html
    assert "<th scope='row'>name</th><td>67 % (2)</td><td>50 % (1)</td>" in html
    assert "<b>colour</b>" not in html


def test_a_proposal_is_said_in_chinese_too() -> None:
    html = proposal(words("zh"), propose(ROWS, run_checks(ROWS[:0]), 2), ROWS)
    assert "alike" not in html
    assert "第 1 行" in html
