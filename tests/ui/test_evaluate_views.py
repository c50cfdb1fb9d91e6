"""What an evaluation found, as HTML: a verdict only where chance cannot explain it, and foreign text stays text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.domain.events import Sample
from studio.services import evaluations, ratings
from studio.services.store import Store
from studio.ui import evaluate_views, sample_views
from studio.ui.i18n import words
from tests.runs import ROWS, finished_run

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
        "intervals": {side: {"loss": [1.0, 2.5], "chrf": [5.0, 70.0]} for side in ("base", "tuned")},
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


def test_general_rows_that_suffered_are_shown_with_both_answers() -> None:
    row = {**found()["samples"][0], "task": "advice"}
    general = {**found()["general"], "worst": [row]}
    assert "answer-tuned" in evaluate_views.result(EN, found(samples=[], general=general))


def test_a_row_is_shown_with_the_turns_before_it() -> None:
    turns = [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "Why?"},
    ]
    row = {**found()["samples"][0], "messages": turns}
    html = evaluate_views.result(EN, found(samples=[row]))
    assert html.index("One?") < html.index("Two.") < html.index("Why?")
    assert "Assistant" in html


def test_labels_have_their_figures_first_and_the_others_called_what_they_are() -> None:
    figures = {"loss": 2.0, "accuracy": 0.5, "f1": 0.5, "chrf": 10.0, "bleu": 0.1}
    ends = {name: [0.0, 1.0] for name in figures}
    html = evaluate_views.result(
        EN, found(metrics={"base": figures, "tuned": figures}, intervals={"base": ends, "tuned": ends})
    )
    assert html.index("accuracy") < html.index("of labels these say little") < html.index("BLEU")


def test_while_people_rate_nothing_of_an_evaluation_is_shown(tmp_path: Path) -> None:
    store = Store(tmp_path)
    files = finished_run(store)
    files.write_data(ROWS[:4], ROWS[4:])
    evaluations.evaluate(store, evaluations.Asked(files.id, tokens=8))
    assert "evaluate-told" in evaluate_views.newest(EN, store, files.id)
    sample = Sample(step=0, row=1, prompt="Question 5?", expected="Answer 5.", text="text")
    assert "Question 5?" in sample_views.of_run(EN, store, files.id, [sample])
    desk = ratings.from_evaluation(store, files.id)
    for shown in (
        evaluate_views.newest(EN, store, files.id),
        sample_views.of_run(EN, store, files.id, [sample]),
    ):
        assert "Not shown while people rate" in shown
        assert "<table" not in shown
        assert "Question 5?" not in shown
    ratings.delete(desk)
    assert "evaluate-told" in evaluate_views.newest(EN, store, files.id)


def test_rows_that_were_not_asked_are_named() -> None:
    assert "Not asked, as their prompt is empty or leaves no room: 1 row." in evaluate_views.result(
        EN, found(left_out=[7])
    )


def test_nothing_to_tell_is_no_error() -> None:
    empty = {"metrics": {"base": {}, "tuned": {}}, "differences": {}, "samples": [], "answered": 0}
    html = evaluate_views.result(EN, found(**empty, general={"rows": 0, "tasks": []}, forgetting=None))
    assert "evaluate-told" not in html
