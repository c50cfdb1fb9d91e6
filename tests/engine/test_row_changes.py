from __future__ import annotations

from studio.domain.chat import Conversation, Message
from studio.engine.checks import CHECKS
from studio.engine.row_changes import SAFE, amended, repairs


def row(number: int, response: str) -> Conversation:
    return Conversation((Message("user", f"q{number}"), Message("assistant", response)), number)


def test_a_row_is_changed_once_however_many_repairs_it_went_through() -> None:
    rows = [row(2, "fine"), row(3, "Ann@example.org wrote \x07this "), row(7, "\x07 ")]
    made = repairs(rows, ["personal_data", "control_characters", "whitespace", "empty_response"])
    assert [(change.row, change.dropped, len(change.checks) > 1) for change in made] == [
        (3, False, True),
        (7, True, True),
    ]
    assert [item.response for item in amended(rows, made)] == ["fine", "<EMAIL> wrote this"]


def test_rows_that_no_repair_touches_stay_the_same_objects() -> None:
    rows = [row(1, "a"), row(2, "b ")]
    made = repairs(rows, ["whitespace"])
    assert next(iter(amended(rows, made))) is rows[0]
    assert list(amended(rows, [])) == rows


def test_what_is_called_safe_can_be_repaired_and_judges_nothing_by_its_meaning() -> None:
    assert all(CHECKS[name].fixable for name in SAFE)
    assert not {"refusal", "toxic", "personal_data", "duplicate_near"} & set(SAFE)
