"""Plain texts are learnt as they stand: no question, no chat template, an end token after each."""

from __future__ import annotations

import json
from pathlib import Path

from studio.domain.chat import Conversation, Message
from studio.domain.config import TemplateConfig
from studio.engine.checks import run_checks
from studio.engine.dataset import read, split, write_messages
from studio.engine.encode import encoder_for
from studio.engine.tokenizer import load_tokenizer
from tests.tiny import tiny_tokenizer

TEXT = Conversation((Message("assistant", "Once upon a time."),), 1, plain=True)
TALK = Conversation((Message("user", "q"), Message("assistant", "a")), 2)


def test_each_paragraph_of_a_text_file_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("First paragraph,\nof two lines.\n\nSecond.\n", encoding="utf-8")
    dataset = read(tmp_path / "book.txt")
    assert dataset.format == "text"
    assert [row.response for row in dataset.conversations] == ["First paragraph,\nof two lines.", "Second."]
    assert all(row.plain and row.learnable for row in dataset.conversations)
    assert not {"empty_prompt", "role_order", "unanswered"} & {
        found.check for found in run_checks(dataset.conversations).findings
    }


def test_texts_with_what_describes_them_are_texts_but_with_a_label_they_have_to_be_mapped(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "t", "url": "u"}), encoding="utf-8")
    assert read(tmp_path / "a.jsonl").format == "text"
    (tmp_path / "b.csv").write_text("text,label\nt,1\n", encoding="utf-8")
    mapped = read(tmp_path / "b.csv", columns={"prompt": "text", "response": "label"})
    assert mapped.format == "columns"


def test_what_is_written_is_read_back_as_it_was(tmp_path: Path) -> None:
    write_messages([TEXT], tmp_path / "out.jsonl")
    assert read(tmp_path / "out.jsonl").conversations == [TEXT]


def test_a_text_has_no_chat_template_around_it_and_all_of_it_is_learnt(tmp_path: Path) -> None:
    encoder = encoder_for(TemplateConfig(name="chatml"), load_tokenizer(tiny_tokenizer(tmp_path)))
    row = encoder.encode(TEXT)
    assert row.text.startswith("Once upon a time.")
    assert "user" not in row.text
    assert row.end_token_trained
    assert row.trained >= row.total - 1  # a first token is predicted from nothing
    mixed = encoder.encode_many([TALK, TEXT, TALK])
    assert [list(item.input_ids) for item in mixed] == [
        list(encoder.encode(item).input_ids) for item in (TALK, TEXT, TALK)
    ]


def test_texts_are_split_into_those_to_learn_and_those_to_measure_on() -> None:
    rows = [Conversation((Message("assistant", f"text {n} " * n),), n, plain=True) for n in range(1, 11)]
    train, held_out = split(rows, 0.2, seed=0)
    assert (len(train), len(held_out)) == (8, 2)
