"""Win rates, scores and agreement from ratings, against worked examples."""

from __future__ import annotations

import pytest

from studio.engine.ratings import Rating, alpha, summary


def rating(pair: int, vote: str, rater: str = "ann", base: int = 0, tuned: int = 0) -> Rating:
    scores = {"base": {"accuracy": base}, "tuned": {"accuracy": tuned}} if base else {}
    return Rating(rater, pair, vote, scores)  # type: ignore[arg-type]


def test_agreement_is_that_of_krippendorff_s_own_example() -> None:
    """Four observers, twelve units, values missing: alpha is 0.815 for ordered values."""
    observers = [
        "1 2 3 3 2 1 4 1 2 . . .",
        "1 2 3 3 2 2 4 1 2 5 . 3",
        ". 3 3 3 2 3 4 2 2 5 1 .",
        "1 2 3 3 2 4 4 1 2 5 1 .",
    ]
    columns = zip(*(row.split() for row in observers), strict=True)
    units = [[int(value) for value in column if value != "."] for column in columns]
    assert alpha(units) == pytest.approx(0.815, abs=0.0005)


def test_a_tie_is_half_a_win_and_a_pair_counts_once_however_many_raters_saw_it() -> None:
    said = [
        rating(1, "tuned"),
        rating(2, "tie"),
        rating(3, "base"),
        rating(3, "base", "bob"),
        rating(1, "tie", "bob"),
    ]
    found = summary(said)
    assert found["win_rate"]["value"] == pytest.approx((0.75 + 0.5 + 0) / 3)
    assert found["win_rate"]["low"] <= found["win_rate"]["value"] <= found["win_rate"]["high"]
    assert (found["ratings"], found["pairs"], found["raters"]) == (5, 3, ["ann", "bob"])
    assert found["votes"] == {"base": 2, "tie": 2, "tuned": 1}


def test_wins_alone_are_sure_once_there_are_enough_of_them() -> None:
    few, many = (summary([rating(pair, "tuned") for pair in range(n)]) for n in (3, 20))
    assert few["win_rate"]["value"] == many["win_rate"]["value"] == 1
    assert few["win_rate"]["p"] > 0.05 > many["win_rate"]["p"]


def test_equal_answers_are_told_and_change_no_figure_however_few_others_were_rated() -> None:
    found = summary([rating(1, "tuned")], alike=3)
    assert (found["pairs"], found["alike"]) == (1, 3)
    assert found["win_rate"] == summary([rating(1, "tuned")])["win_rate"]


def test_scores_are_compared_by_dimension_where_both_sides_have_one() -> None:
    found = summary(
        [rating(1, "tuned", base=2, tuned=5), rating(2, "tuned", base=3, tuned=4), rating(3, "tie")]
    )
    (name,) = found["dimensions"]
    accuracy = found["dimensions"][name]
    assert (name, accuracy["base"], accuracy["tuned"], accuracy["ratings"]) == ("accuracy", 2.5, 4.5, 2)
    assert accuracy["difference"]["value"] == 2.0
    assert accuracy["agreement"] is None


def test_nothing_is_made_up_where_nobody_rated() -> None:
    assert summary([]) == {"ratings": 0, "pairs": 0, "alike": 0, "raters": []}
