from __future__ import annotations

from pathlib import Path

import pytest
import torch

from studio.domain.chat import Conversation, Message
from studio.domain.config import EvalConfig, TrainConfig
from studio.domain.events import Event, Sample
from studio.engine.encode import Encoder
from studio.engine.generate import greedy
from studio.engine.samples import Samples, samples
from studio.engine.templates import resolve
from studio.engine.tokenizer import load_tokenizer
from studio.engine.tuned import load_alone
from tests.tiny import tiny_model
from tests.trainings import encoded_rows, losses, measured, result, trained

HELD_OUT = [
    Conversation((Message("user", f"Question {number}?"), Message("assistant", "Yes.")), number)
    for number in (21, 22, 23)
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def encoder_of(model: Path) -> Encoder:
    tokenizer = load_tokenizer(model)
    return Encoder(resolve("auto", tokenizer), tokenizer)


def prompts(model: Path, **config: object) -> Samples:
    return samples(EvalConfig.model_validate(config), encoder_of(model), HELD_OUT, 512)


def said(events: list[Event]) -> list[Sample]:
    return [event for event in events if isinstance(event, Sample)]


def test_held_out_prompts_are_asked_and_ones_of_ones_own_line_by_line(model: Path):
    asked = prompts(model, sample_rows=1, sample_prompts="Hello?\n\n Who are you? ").asked
    assert [(one.row, one.prompt, one.expected) for one in asked] == [
        (21, "Question 21?", "Yes."),
        (0, "Hello?", ""),
        (0, "Who are you?", ""),
    ]


def test_a_prompt_that_leaves_no_room_for_an_answer_is_not_asked(model: Path):
    long = Conversation((Message("user", "x" * 600), Message("assistant", "Yes.")), 1)
    assert samples(EvalConfig(), encoder_of(model), [long], 512).asked == []


def test_answers_come_at_the_start_at_some_evaluations_and_at_the_end(model: Path):
    asked = prompts(model)
    assert asked.every(TrainConfig(eval_steps=10), 100) == 30
    assert asked.every(TrainConfig(eval_steps=50), 100) == 50
    assert prompts(model, sample_steps=7).every(TrainConfig(eval_steps=50), 100) == 7


def test_what_they_cost_grows_with_their_number_and_is_nothing_without_any(model: Path):
    train = TrainConfig(eval_steps=10)
    assert prompts(model, sample_rows=0).cost(train, 100) == 0
    assert prompts(model, sample_steps=1).cost(train, 100) > 10 * prompts(model).cost(train, 100)


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.2}, {"neftune_alpha": 10.0}, {"packing": False}])
def test_a_run_is_the_same_to_the_last_bit_with_and_without_them(
    model: Path, tmp_path: Path, settings: dict[str, object]
):
    rows = encoded_rows(model)
    asked = prompts(model, sample_steps=1, sample_tokens=8)
    without, _, plain = trained(model, rows, tmp_path / "plain", **settings)
    with_them, _, sampled = trained(model, rows, tmp_path / "sampled", samples=asked, **settings)
    assert [sample.step for sample in said(with_them)] == [step for step in range(7) for _ in range(2)]
    assert losses(with_them) == losses(without)
    assert measured(with_them) == measured(without)
    other = result(sampled)
    assert all(torch.equal(tensor, other[name]) for name, tensor in result(plain).items())


def test_a_resumed_run_says_each_answer_once_and_the_same(model: Path, tmp_path: Path):
    rows = encoded_rows(model)
    asked = prompts(model, sample_steps=2, sample_tokens=8)
    whole, _, _ = trained(model, rows, tmp_path / "whole", samples=asked)
    first, _, _ = trained(model, rows, tmp_path / "halved", stop_after=4, samples=asked)
    then, _, _ = trained(model, rows, tmp_path / "halved", samples=asked)
    assert said([*first, *then]) == said(whole)


def test_before_the_first_step_it_is_the_base_that_answers(model: Path, tmp_path: Path):
    """A single prompt, so that nothing is padded: as the chat's own way of writing has it."""
    asked = prompts(model, sample_rows=1, sample_tokens=8)
    first = said(trained(model, encoded_rows(model), tmp_path / "run", samples=asked)[0])[0]
    encoder = encoder_of(model)
    ids = greedy(load_alone(model, "float32"), "base", asked.asked[0].ids, encoder.stop_ids, 8)
    assert (first.step, first.text) == (0, encoder.tokenizer.decode(ids, skip_special=True))
