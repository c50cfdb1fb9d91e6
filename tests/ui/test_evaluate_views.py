"""What an evaluation found, as HTML: a verdict only where chance cannot explain it, and foreign text stays text."""

from __future__ import annotations

from typing import Any

import pytest

from studio.ui import evaluate_views
from studio.ui.i18n import words

EN = words("en")


def found(**changes: Any) -> dict[str, Any]:
    """A result of two rows, as `services.evaluations` writes it."""
    figures = {"loss": 2.0, "chrf": 10.0}
    answer = {"text": "<b>No</b>", "tokens": 3, "stop_reason": "end", "chrf": 10.0, "exact": False}
    return {
        "answered": 2,
        "left_out": [],
        "max_new_tokens": 64,
        "metrics": {"base": figures, "tuned": {"loss": 1.0, "chrf": 60.0}},
        "differences": {
            "loss": {"value": -1.0, "low": -1.5, "high": -0.5, "p": 0.001},
            "chrf": {"value": 50.0, "low": 40.0, "high": 60.0, "p": 0.001},
        },
        "samples": [
            {
                "row": row,
                "prompt": "<script>1</script>",
                "expected": "Yes",
                "base": answer,
                "tuned": {**answer, "text": "Yes", "chrf": 100.0, "exact": True},
            }
            for row in (4, 9)
        ],
        "forgetting": 0.2,
        "general": {
            "rows": 1,
            "base": 2.5,
            "tuned": 2.7,
            "tasks": [{"task": "open_question", "rows": 1, "base": 2.5, "tuned": 2.7}],
        },
        **changes,
    }


def test_better_is_said_with_the_chance_of_it() -> None:
    html = evaluate_views.result(EN, found())
    assert "The tuned model is better: chrF went from 10.0 to 60.0." in html
    assert "0.1 % of cases" in html
    assert html.count("good-text") == 2  # a lower loss and a higher chrF
    assert "open question" in html
    assert "(+0.200 nats a token)" in html


@pytest.mark.parametrize(
    ("value", "p", "said"),
    [(-50.0, 0.001, "The tuned model is worse"), (50.0, 0.2, "No difference is shown")],
)
def test_worse_and_not_told_apart(value: float, p: float, said: str) -> None:
    apart = {"value": value, "low": -60.0, "high": 60.0, "p": p}
    assert said in evaluate_views.result(EN, found(differences={"chrf": apart}))


def test_foreign_text_stays_text() -> None:
    html = evaluate_views.result(EN, found())
    assert "<script>" not in html
    assert "<b>No</b>" not in html
    assert "&lt;b&gt;No&lt;/b&gt;" in html


def test_while_people_rate_no_answer_is_shown_by_side() -> None:
    row = {**found()["samples"][0], "task": "advice"}
    general = {**found()["general"], "worst": [row]}
    assert "answer-tuned" in evaluate_views.result(EN, found(samples=[], general=general))
    html = evaluate_views.result(EN, found(general=general), blind=True)
    assert "answer-tuned" not in html
    assert "open question" in html


def test_rows_that_were_not_asked_are_named() -> None:
    assert "Not asked, as their prompt is empty or leaves no room: 1 row." in evaluate_views.result(
        EN, found(left_out=[7])
    )


def test_nothing_to_tell_is_no_error() -> None:
    empty = {"metrics": {"base": {}, "tuned": {}}, "differences": {}, "samples": [], "answered": 0}
    html = evaluate_views.result(EN, found(**empty, general={"rows": 0, "tasks": []}, forgetting=None))
    assert "evaluate-told" not in html
