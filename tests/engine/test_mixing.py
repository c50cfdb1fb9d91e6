from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from studio.domain.chat import Conversation, Message
from studio.domain.config import DataConfig
from studio.engine.dataset import load_training, split
from studio.engine.mixing import GENERAL, general_rows


def row(number: int, prompt: str, answer: str) -> Conversation:
    return Conversation((Message("user", prompt), Message("assistant", answer)), number)


def write(file: Path, rows: list[dict[str, str]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    own = [{"prompt": f"Own {n}?", "completion": f"Answer {n}."} for n in range(90)]
    general = [
        {
            "prompt": f"General {n}?",
            "completion": "Yes.",
            "task": f"task {n % 4}",
            "split": "gauge" if n < 8 else "",
        }
        for n in range(60)
    ]
    return DataConfig(
        path=str(write(tmp_path / "own.jsonl", own)),
        general_path=str(write(tmp_path / "general.jsonl", general)),
        held_out_share=0.0,
        general_share=0.1,
    )


@pytest.mark.parametrize(
    ("own", "share", "wanted"), [(90, 0.1, 10), (95, 0.05, 5), (10, 0.5, 10), (7, 0.0, 0)]
)
def test_the_share_is_of_all_rows(own: int, share: float, wanted: int) -> None:
    assert general_rows(own, share) == wanted


def test_general_rows_are_mixed_in_evenly_by_task_and_never_those_that_measure(data: DataConfig) -> None:
    found = load_training(data, 1)
    general = [row for row in found.train if row.source == GENERAL]
    assert (len(found.train), len(general)) == (100, 10)
    assert all(row.row > 8 for row in general)
    assert sorted(Counter((row.row - 1) % 4 for row in general).values()) == [2, 2, 3, 3]
    assert load_training(data, 1).train == found.train
    assert load_training(data, 2).train != found.train
    (said,) = (item for item in found.findings if item.check == "mixture")
    assert "10 are general ones from general.jsonl: 10.0 % of 100" in said.message


def test_too_few_general_rows_are_all_used_and_that_is_said(data: DataConfig) -> None:
    found = load_training(data.model_copy(update={"general_share": 0.5}), 1)
    assert sum(row.source == GENERAL for row in found.train) == 52
    assert "few_general" in {item.check for item in found.findings}


def test_the_shipped_set_is_drawn_from_where_no_file_is_named(data: DataConfig) -> None:
    found = load_training(data.model_copy(update={"general_path": None}), 1)
    assert sum(row.source == GENERAL for row in found.train) == 10


def test_the_held_out_rows_are_of_all_kinds() -> None:
    rows = [row(n, f"Message {n}", "billing" if n % 10 else "returns") for n in range(1, 201)]
    _, held_out = split(rows, 0.1, 3)
    kinds = Counter(conversation.response for conversation in held_out)
    assert kinds == {"billing": 18, "returns": 2}
    texts = [row(n, "word " * n, f"answer {n}") for n in range(1, 161)]
    lengths = sorted(len(conversation.prompt) for conversation in split(texts, 0.1, 3)[1])
    assert [sum(length <= 5 * 160 * part / 4 for length in lengths) for part in (1, 2, 3, 4)] == [
        4,
        8,
        12,
        16,
    ]


def test_rows_with_the_same_prompt_stay_on_one_side() -> None:
    rows = [row(n, f"Question {n % 20}", f"answer {n}") for n in range(1, 101)]
    train, held_out = split(rows, 0.2, 5)
    assert len(held_out) == 20
    assert not {conversation.prompt for conversation in train} & {c.prompt for c in held_out}
