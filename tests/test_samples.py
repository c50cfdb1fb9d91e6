"""The shipped sample data keeps the promises of its README."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[1] / "assets" / "samples"
CATEGORIES = {"billing", "delivery", "returns", "account", "technical", "feedback"}
URGENCIES = {"low", "normal", "high"}
FAULTS = {
    "empty_response",
    "repeats_prompt",
    "cut_off",
    "refusal",
    "placeholder",
    "mojibake",
    "control_characters",
    "conflicting_responses",
    "duplicate_exact",
    "duplicate_near",
    "wrong_language",
    "too_long",
    "special_tokens",
    "whitespace",
    "personal_data",
    "secret",
    "toxic",
    "prompt_injection",
    "html_leftover",
    "wrong_arithmetic",
    "missing_field",
}


def read(name: str) -> list[dict]:
    lines = (SAMPLES / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def turns(row: dict) -> dict[str, str]:
    return {turn["role"]: turn["content"] for turn in row["messages"]}


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


TRAIN = [turns(row) for row in read("support-train.jsonl")]
HELDOUT = [turns(row) for row in read("support-heldout.jsonl")]


def test_there_are_enough_rows() -> None:
    assert len(TRAIN) == 360
    assert len(HELDOUT) == 72
    assert len(read("general.jsonl")) == 60
    assert len(read("dirty.jsonl")) == 123


def test_every_support_row_is_system_user_assistant() -> None:
    for row in read("support-train.jsonl") + read("support-heldout.jsonl"):
        assert [turn["role"] for turn in row["messages"]] == ["system", "user", "assistant"]
    assert {row["system"] for row in TRAIN + HELDOUT} == {"Turn the support message into a ticket."}


def test_every_answer_is_a_ticket_on_one_line() -> None:
    for row in TRAIN + HELDOUT:
        ticket = json.loads(row["assistant"])
        assert list(ticket) == ["category", "urgency", "order"]
        assert ticket["category"] in CATEGORIES
        assert ticket["urgency"] in URGENCIES
        assert row["assistant"] == json.dumps(ticket, ensure_ascii=False)


def test_the_order_stands_once_in_the_message_exactly_as_typed() -> None:
    for row in TRAIN + HELDOUT:
        order = json.loads(row["assistant"])["order"]
        if order is not None:
            assert row["user"].count(order) == 1, row["user"]
            assert order == order.strip()
            assert not order.startswith("#")


def test_messages_are_clean_and_between_four_and_120_words_long() -> None:
    for row in TRAIN + HELDOUT:
        assert row["user"] == row["user"].strip()
        assert 4 <= len(row["user"].split()) <= 120, row["user"]
        assert "@" not in row["user"]


def test_no_two_messages_are_alike() -> None:
    messages = [words(row["user"]) for row in TRAIN + HELDOUT]
    for (i, a), (j, b) in combinations(enumerate(messages), 2):
        assert len(a & b) < 0.7 * len(a | b), (i, j)


def test_nothing_held_out_is_trained_on() -> None:
    assert not {row["user"] for row in TRAIN} & {row["user"] for row in HELDOUT}
    orders = [{json.loads(row["assistant"])["order"] for row in rows} - {None} for rows in (TRAIN, HELDOUT)]
    assert not orders[0] & orders[1]


@pytest.mark.parametrize("rows", [TRAIN, HELDOUT], ids=["train", "heldout"])
def test_categories_urgencies_and_orders_are_balanced(rows: list[dict[str, str]]) -> None:
    tickets = [json.loads(row["assistant"]) for row in rows]
    for count in Counter(ticket["category"] for ticket in tickets).values():
        assert 0.12 <= count / len(rows) <= 0.22
    urgency = Counter(ticket["urgency"] for ticket in tickets)
    assert 0.25 <= urgency["low"] / len(rows) <= 0.35
    assert 0.40 <= urgency["normal"] / len(rows) <= 0.50
    assert 0.20 <= urgency["high"] / len(rows) <= 0.30
    assert 0.40 <= sum(ticket["order"] is not None for ticket in tickets) / len(rows) <= 0.60


def test_general_rows_are_one_question_and_one_answer() -> None:
    rows = read("general.jsonl")
    for row in rows:
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
        assert all(turn["content"].strip() for turn in row["messages"])
    assert len({turns(row)["user"] for row in rows}) == len(rows)


def test_every_kind_of_fault_is_in_the_dirty_sample() -> None:
    rows = read("dirty.jsonl")
    expected: dict[str, list[int]] = json.loads((SAMPLES / "dirty.expected.json").read_text(encoding="utf-8"))
    assert set(expected) == FAULTS
    for numbers in expected.values():
        assert numbers == sorted(set(numbers))
        assert numbers
        assert numbers[0] >= 1
        assert numbers[-1] <= len(rows)
    assert len({number for numbers in expected.values() for number in numbers}) >= 50


def test_the_faults_that_can_be_read_off_stand_where_they_are_expected() -> None:
    rows = read("dirty.jsonl")
    expected: dict[str, list[int]] = json.loads((SAMPLES / "dirty.expected.json").read_text(encoding="utf-8"))
    seen: set[str] = set()
    empty, missing, repeated = [], [], []
    for number, row in enumerate(rows, 1):
        key = json.dumps(row, sort_keys=True)
        if "output" not in row:
            missing.append(number)
        elif not row["output"].strip():
            empty.append(number)
        if key in seen:
            repeated.append(number)
        seen.add(key)
    assert expected["missing_field"] == missing
    assert expected["empty_response"] == empty
    assert expected["duplicate_exact"] == repeated


def test_the_index_names_the_files_and_counts_their_rows() -> None:
    entries = json.loads((SAMPLES / "index.json").read_text(encoding="utf-8"))
    assert [entry["id"] for entry in entries] == ["support", "dirty"]
    for entry in entries:
        assert len(read(entry["file"])) == entry["rows"]
        assert entry["title"]
        assert entry["description"]
    assert (SAMPLES / entries[0]["heldout"]).is_file()
