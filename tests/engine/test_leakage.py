from __future__ import annotations

import json
import random
from pathlib import Path

from studio.domain.chat import Conversation, Message
from studio.domain.config import DataConfig
from studio.domain.finding import Finding
from studio.engine.dataset import load_training, split
from studio.engine.leakage import Groups, about_leakage, between, twins

ANSWER = (
    "Yeast eats the sugars in the dough and gives off gas, which is caught in the gluten and lifts the loaf "
    "until the heat of the oven sets it."
)
ALIKE = ANSWER.replace("which is caught", "which gets caught")
OTHER = (
    "Because the baker left it in a warm place overnight, covered with a damp cloth, and did not touch it."
)


def row(number: int, prompt: str, response: str) -> Conversation:
    return Conversation((Message("user", prompt), Message("assistant", response)), number)


def found(train: list[Conversation], held_out: list[Conversation]) -> list[Finding]:
    return about_leakage(train, held_out, between(train, held_out))


def test_the_same_nearly_the_same_and_another_answer_to_the_same_are_told_apart() -> None:
    train = [
        row(1, "Why does bread rise?", ANSWER),
        row(2, "Why does the bread rise?", ALIKE),
        row(3, "Why does bread rise?", OTHER),
        row(4, "What do bees do in winter?", "They huddle around their queen and shiver to keep warm."),
    ]
    findings = found(train, [row(7, "Why does bread rise?", ANSWER)])
    assert [(item.check, item.rows) for item in findings] == [
        ("leakage", (1,)),
        ("leakage_near", (2,)),
        ("leakage_prompt", (3,)),
    ]
    assert findings[1].message.endswith("Trained ~ held out: 2 ~ 7.")
    assert findings[2].message.endswith("Trained ~ held out: 3 ~ 7.")


def test_rows_that_differ_in_what_they_ask_are_no_leak() -> None:
    train = [
        row(
            1,
            "How many minutes are there in 12 hours and 5 minutes?",
            "There are 725 minutes in all of them.",
        ),
        row(2, "Is the review good? I love this film very much.", "positive"),
    ]
    held_out = [
        row(
            1,
            "How many minutes are there in 13 hours and 5 minutes?",
            "There are 785 minutes in all of them.",
        ),
        row(2, "Is the review good? I love this song very much.", "positive"),
    ]
    assert found(train, held_out) == []
    assert found(train, []) == []


def test_a_row_like_many_others_finds_its_held_out_one() -> None:
    many = [row(n, "Why does bread rise?" + "!" * n, ALIKE + " Yes." * (n % 3)) for n in range(1, 31)]
    (finding,) = found(many, [row(99, "Why does the bread rise?", ANSWER)])
    assert finding.rows == tuple(range(1, 31))
    assert finding.message.count("~ 99") == 12
    assert finding.message.endswith("…")


def test_the_split_keeps_near_duplicates_on_one_side() -> None:
    drawn = random.Random(5)
    known = ["".join(drawn.choices("abcdefghijklmnop", k=6)) for _ in range(400)]
    rows = []
    for number in range(150):
        prompt, answer = " ".join(drawn.choices(known, k=12)), " ".join(drawn.choices(known, k=40))
        rows.append(row(2 * number + 1, prompt, answer))
        rows.append(row(2 * number + 2, "The " + prompt, answer + " end"))
    train, held_out = split(rows, 0.2, 3)
    pairs = {(number.row + 1) // 2 for number in train} & {(number.row + 1) // 2 for number in held_out}
    assert pairs == set()
    assert len(held_out) == 60
    assert found(train, held_out) == []


def test_a_set_whose_rows_are_all_alike_is_split_all_the_same_and_that_is_said(tmp_path: Path) -> None:
    rows = [{"prompt": "Why does bread rise" + " the" * n + "?", "completion": ANSWER} for n in range(40)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(item) + "\n" for item in rows))
    data = load_training(DataConfig(path=str(file), held_out_share=0.25), seed=1)
    assert len(data.held_out) == 10
    assert "leakage_near" in {item.check for item in data.findings}


def test_what_an_earlier_run_has_learnt_is_not_held_out_as_long_as_there_is_other(tmp_path: Path) -> None:
    rows = [{"prompt": f"Name the river number {n}.", "completion": f"River {n}."} for n in range(40)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(item) + "\n" for item in rows))
    config = DataConfig(path=str(file), held_out_share=0.25)
    first = load_training(config, seed=1)
    again = load_training(config, seed=2, learnt=first.train, measured=first.held_out)
    assert {row.row for row in again.held_out} == {row.row for row in first.held_out}
    assert again.findings == []
    few = load_training(config, seed=2, learnt=[*first.train, *first.held_out[1:]])
    assert [row.row for row in few.held_out] == [first.held_out[0].row]
    # Of new rows only the share is held out: the run is for them.
    some = load_training(config, seed=2, learnt=first.train)
    assert len(some.held_out) == 2
    # Where all is known already, that is said.
    known = load_training(config, seed=2, learnt=[*first.train, *first.held_out])
    (said,) = known.findings
    assert (said.check, said.count) == ("learnt_before", 10)


def test_groups_join_up_to_their_largest() -> None:
    groups = Groups([1, 1, 1, 2], largest=3)
    for left, right in ((1, 2), (0, 2), (0, 3)):
        groups.join(left, right)
    assert [groups.of(position) for position in range(4)] == [0, 0, 0, 3]


def test_no_rows_have_no_twins() -> None:
    assert list(twins([])) == []
