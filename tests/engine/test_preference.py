"""Preference data in the shapes that are in use: the chosen answer is learnt, the rejected one is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.domain.chat import Message
from studio.domain.errors import StudioError
from studio.engine.dataset import read

USER, ASSISTANT = Message("user", "q"), Message("assistant", "good")
ASKED, SAID = {"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}


def messages(folder: Path, record: dict[str, Any]) -> tuple[Message, ...]:
    (folder / "a.jsonl").write_text(json.dumps(record), encoding="utf-8")
    dataset = read(folder / "a.jsonl")
    assert (dataset.format, dataset.findings) == ("preference", [])
    return dataset.conversations[0].messages


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"question": "q", "chosen": "good", "rejected": "bad"},
        {"prompt": "q", "chosen": [ASKED, SAID], "rejected": [ASKED]},
        {"prompt": [ASKED], "chosen": [SAID], "rejected": []},
        {"chosen": [ASKED, SAID], "rejected": [ASKED]},
        {"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "good"}, "rejected": 0},
        {"chosen": "\n\nHuman: q\n\nAssistant: good", "rejected": "\n\nHuman: q\n\nAssistant: bad"},
        {"prompt": "\n\nHuman: q\n\nAssistant:", "chosen": "good", "rejected": "bad"},
        {"prompt": "q", "chosen": json.dumps([ASKED, SAID])},
    ],
)  # fmt: skip
def test_the_chosen_answer_is_the_one_that_is_learnt(tmp_path: Path, record: dict[str, Any]) -> None:
    assert messages(tmp_path, record) == (USER, ASSISTANT)


def test_a_system_message_and_an_input_go_before_the_chosen_answer(tmp_path: Path) -> None:
    record = {"system": "s", "instruction": "q", "input": "i", "chosen": "good", "rejected": "bad"}
    assert messages(tmp_path, record) == (Message("system", "s"), Message("user", "q\ni"), ASSISTANT)


def test_a_chosen_answer_to_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"chosen": "good", "rejected": "bad"}', encoding="utf-8")
    with pytest.raises(StudioError, match=r"Row 1 \(a.jsonl:1\): its field prompt is missing"):
        read(tmp_path / "a.jsonl")


def test_messages_beside_a_preference_are_taken_as_they_are(tmp_path: Path) -> None:
    row = {"messages": [ASKED, SAID], "chosen": [ASKED, SAID], "rejected": [ASKED]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert read(tmp_path / "a.jsonl").format == "messages"
