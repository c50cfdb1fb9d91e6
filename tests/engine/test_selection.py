from __future__ import annotations

import random

import pytest

from studio.domain.chat import Conversation, Message
from studio.domain.errors import StudioError
from studio.engine.checks import run_checks
from studio.engine.selection import Selection, kinds, propose, scores


def row(number: int, prompt: str, response: str) -> Conversation:
    return Conversation((Message("user", prompt), Message("assistant", response)), number)


ROWS = [
    row(1, "Name a colour of the rainbow.", "Violet is one of the colours of the rainbow."),
    row(2, "Name a colour of the rainbow, please.", "Violet is one of the colours of the rainbow."),
    row(3, "How do bees find their way home?", "Bees find their way by the sun and by landmarks."),
    row(4, "What is the capital of Norway?", "[insert answer here]"),
    row(5, "Translate into French: good morning.", "In French this is said as bonjour, at any hour."),
]


def selected(count: int) -> Selection:
    return propose(ROWS, run_checks(ROWS), count)


def test_rows_that_are_alike_or_defective_are_left_out_with_the_reason() -> None:
    found = selected(3)
    assert [item.row for item in found.kept] == [1, 3, 5]
    assert [(item.row, str(item.reason)) for item in found.left] == [
        (2, "It is alike to row 1, which comes before it."),
        (4, "The checklist found too much in it: Placeholder."),
    ]
    assert found.conversations(ROWS) == [ROWS[0], ROWS[2], ROWS[4]]


def test_a_row_with_an_error_is_not_kept_however_many_are_asked_for() -> None:
    assert [item.row for item in selected(100).kept] == [1, 2, 3, 5]


def test_what_a_selection_changes_is_counted_before_and_after() -> None:
    found = selected(3)
    for shares in (found.histogram, found.tasks, found.lengths):
        assert sum(share.before for share in shares) == 5
        assert sum(share.after for share in shares) == 3
    assert [(s.name, s.before, s.after) for s in found.tasks if s.name == "name"] == [("name", 2, 1)]


def test_a_rare_kind_comes_before_the_many_of_a_common_one() -> None:
    common = [
        row(n, f"Add the numbers {n} and {n + 1}.", f"Sum number {n}: {word * 3} {n + n + 1}.")
        for n, word in enumerate(["oak", "elm", "fir", "ash", "yew", "box", "bay", "fig"], start=1)
    ]
    rare = row(9, "Why do leaves turn red in autumn?", "Chlorophyll goes, and red stays behind.")
    rows = [*common, rare]
    assert 9 in [item.row for item in propose(rows, run_checks(rows), 2).kept]


def test_a_length_far_from_all_others_costs_its_score() -> None:
    rows = [row(n, f"Question {n}?", "An answer of usual length." + "!" * n) for n in range(1, 20)]
    rows.append(row(20, "Question 20?", "word " * 5000))
    found = scores(rows, run_checks(rows[:0]))
    assert min(found[:18]) == 1.0
    assert found[19] < 0.5


def test_prompts_of_the_same_words_are_of_one_kind() -> None:
    first, second, _ = kinds(["Sort the list of names", "sort the names of the list", "bees make honey"])
    assert first == second


def test_a_selection_does_not_depend_on_chance() -> None:
    random_ = random.Random(0)
    words = ["sun", "moon", "tree", "river", "stone", "cloud", "bird", "fish", "road", "house"]
    rows = [
        row(n, " ".join(random_.choices(words, k=8)), " ".join(random_.choices(words, k=20)))
        for n in range(1, 200)
    ]
    report = run_checks(rows)
    assert propose(rows, report, 50) == propose(rows, report, 50)


def test_which_rows_are_kept_does_not_depend_on_where_they_stand() -> None:
    words = [
        f"{first}{second}"
        for first in ("red", "blue", "old", "new", "big")
        for second in ("lamp", "tree", "ship", "song")
    ]
    rows = [
        row(
            number,
            f"Tell me of the {word} in {number * 7} words.",
            f"The {word} {word[::-1]} stands by {number} hills of {word[:2]}.",
        )
        for number, word in enumerate(words, 1)
    ]
    report = run_checks(rows)
    kept = {item.row for item in propose(rows, report, 8).kept}
    turned = rows[::-1]
    assert {item.row for item in propose(turned, run_checks(turned), 8).kept} == kept
    assert max(kept) > 10


def test_no_rows_cannot_be_selected() -> None:
    with pytest.raises(StudioError, match="0 rows cannot be selected"):
        selected(0)
