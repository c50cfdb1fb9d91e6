from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from studio.domain.chat import Conversation, Message
from studio.domain.config import TemplateConfig
from studio.domain.errors import Stopped, StudioError
from studio.engine.encode import Encoder, encoder_for
from studio.engine.self_written import Writing, opening, sift, write
from studio.engine.templates import Template
from studio.engine.tokenizer import load_tokenizer
from studio.engine.tuned import Pair, load_alone
from tests.tiny import tiny_model

KNOWN = {
    "What do bees make?": "Bees make honey from nectar.",
    "Name a river in France.": "The Loire is a river in France.",
    "Why is the sky blue?": "Air scatters blue light most of all.",
    "How many legs has a spider?": "A spider has eight legs.",
}
"""What the tiny model has learnt to say, in its template and all."""


def row(prompt: str, response: str) -> Conversation:
    return Conversation((Message("user", prompt), Message("assistant", response)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return taught(tiny_model(tmp_path_factory.mktemp("model"), initializer_range=0.02))


def taught(folder: Path) -> Path:
    """Teach the model in this folder the known rows, every token of them."""
    encoder = encoder_for(TemplateConfig(), load_tokenizer(folder))
    model = AutoModelForCausalLM.from_pretrained(folder)
    rows = [encoder.encode(row(*pair)).input_ids for pair in KNOWN.items()]
    width = max(map(len, rows))
    ids = torch.tensor([[*r, *[0] * (width - len(r))] for r in rows])
    labels = torch.tensor([[*r, *[-100] * (width - len(r))] for r in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(200):
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pair(folder: Path) -> Pair:
    return load_alone(folder, "float32", device="cpu")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return encoder_for(TemplateConfig(), load_tokenizer(folder))


def test_a_users_turn_is_opened_as_the_template_opens_it(encoder: Encoder) -> None:
    start = opening(encoder)
    assert start.text == "<|im_start|>user\n"
    assert start.stop_ids == {2}
    assert start.stop_text == ""


def test_a_plain_template_for_base_models_ends_a_users_turn_with_its_next_heading(folder: Path) -> None:
    start = opening(encoder_for(TemplateConfig(name="alpaca"), load_tokenizer(folder)))
    assert start.text.endswith("### Instruction:\n")
    assert start.stop_text == "### Response:"


def test_a_template_that_does_not_open_a_users_turn_is_refused(folder: Path) -> None:
    bare = Template("custom", "Bare", "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}")
    with pytest.raises(StudioError, match="nothing opens a user's turn"):
        opening(Encoder(bare, load_tokenizer(folder)))


def test_a_model_writes_what_it_has_learnt_and_duplicates_are_left_out(pair: Pair, encoder: Encoder) -> None:
    written = write(pair, encoder, Writing(3, seed=1, batch=8))
    assert [item.row for item in written.conversations] == [1, 2, 3]
    assert len({item.prompt for item in written.conversations}) == 3
    assert all(KNOWN.get(item.prompt) == item.response for item in written.conversations)
    assert written.written == len(written.conversations) + sum(written.dropped.values())


def test_the_same_seed_gives_the_same_rows_in_batches_of_any_size(pair: Pair, encoder: Encoder) -> None:
    def said(seed: int, batch: int) -> str:
        written = write(pair, encoder, Writing(3, seed=seed, batch=batch))
        return json.dumps([item.to_json() for item in written.conversations])

    assert said(1, 8) == said(1, 8) == said(1, 2)


def test_writing_ends_when_it_is_told_to(pair: Pair, encoder: Encoder) -> None:
    def stop(done: float, total: float) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        write(pair, encoder, Writing(3), stop)


def test_a_model_that_writes_nothing_usable_is_said_to(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path)
    encoder = encoder_for(TemplateConfig(), load_tokenizer(folder))
    with pytest.raises(StudioError, match="None of the 4 rows"):
        write(load_alone(folder, "float32", device="cpu"), encoder, Writing(1, instruction_tokens=8))


def test_rows_with_defects_and_duplicates_are_sifted_out_with_the_reason() -> None:
    kept, dropped = sift([
        row("Name a colour.", "Blue is a colour."),
        row("Name a colour.", "Blue is a colour."),
        row("What is the capital of Norway?", "I'm sorry, but I cannot help with that request."),
        row("Name a fruit.", "An apple is a fruit."),
    ])  # fmt: skip
    assert [item.prompt for item in kept] == ["Name a colour.", "Name a fruit."]
    assert dropped == {"duplicate_exact": 1, "refusal": 1}
