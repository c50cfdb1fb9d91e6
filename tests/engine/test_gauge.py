"""What a run forgets: nothing at its start, as much as its weights move, and the same after it was taken up again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from studio.domain.chat import Conversation, Message
from studio.domain.config import TrainConfig
from studio.domain.encoded import IGNORED
from studio.domain.errors import Stopped
from studio.engine import gauge, trainee
from studio.engine.encode import Encoder
from studio.engine.gauge import Gauge
from studio.engine.general import General
from studio.engine.templates import resolve
from studio.engine.tokenizer import load_tokenizer
from studio.engine.trainee import Trainee
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def general(folder: Path) -> General:
    tokenizer = load_tokenizer(folder)
    encoder = Encoder(resolve("model", tokenizer), tokenizer)
    said = [("What is it?", "A hat."), ("Who came then?", "Nobody at all."), ("When?", "Now.")]
    talks = [
        Conversation((Message("user", question), Message("assistant", answer)), row)
        for row, (question, answer) in enumerate(said, start=1)
    ]
    prompts = [encoder.prompt(talk.before_response()) for talk in talks]
    return General(encoder.encode_many(talks), prompts, encoder.stop_ids)


def build(folder: Path, **changes: Any) -> Trainee:
    fields: dict[str, Any] = {
        "method": "lora",
        "learning_rate": 1e-3,
        "epochs": 1.0,
        "max_length": 256,
        "rank": 4,
    }
    fields |= {"dtype": "float32", "gradient_checkpointing": False, **changes}
    return trainee.build(folder, TrainConfig(**fields), "cpu", pad_id=0)


def moved(model: Trainee, by: float) -> Trainee:
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters.values():
            parameter += by * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("changes", [{}, {"packing": False}, {"method": "full"}])
def test_nothing_is_forgotten_at_the_start_and_more_the_further_the_weights_move(
    folder: Path, general: General, changes: dict[str, Any]
) -> None:
    model = build(folder, **changes)
    made = begun(model, general)
    start = made.measure(model, 2)
    assert start.divergence == pytest.approx(0, abs=1e-6)
    base = AutoModelForCausalLM.from_pretrained(folder)
    assert start.loss == pytest.approx(plain_loss(base, general), rel=1e-5)
    near, far = made.measure(moved(model, 0.02), 2), made.measure(moved(model, 0.2), 2)
    assert 1e-6 < near.divergence < far.divergence


def begun(model: Trainee, general: General, seed: int = 0) -> Gauge:
    model.model.eval()
    return gauge.begin(model, general, 2, seed, lambda: False)


def plain_loss(base: Any, general: General) -> float:
    total = 0.0
    for row in general.gauged:
        logits = base(input_ids=torch.tensor([[*row.input_ids]])).logits[0, :-1].detach()
        wanted = torch.tensor([*row.labels])[1:]
        total += float(
            torch.nn.functional.cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="sum")
        )
    return total / sum(row.trained for row in general.gauged)


def test_the_divergence_is_at_most_that_over_all_tokens_and_close_to_it(
    folder: Path, general: General, tmp_path: Path
) -> None:
    model = build(folder)
    made = begun(model, general)
    base = AutoModelForCausalLM.from_pretrained(folder)
    found = made.measure(moved(model, 0.1), 2).divergence
    whole = tokens = 0
    for answer in made.answers:
        then = torch.log_softmax(
            base(input_ids=torch.tensor([[*answer.input_ids]])).logits[0, :-1].detach(), -1
        )
        now = torch.cat([*model.log_probabilities(model.collate([answer]))])
        then = then[[label != IGNORED for label in answer.labels[1:]]]
        whole += float((then.exp() * (then - now)).sum())
        tokens += len(then)
    assert 0.5 * whole / tokens < found <= whole / tokens + 1e-6


def test_what_was_saved_measures_as_before(folder: Path, general: General, tmp_path: Path) -> None:
    model = build(folder)
    made = begun(model, general)
    made.save(tmp_path / "gauge.safetensors")
    changed = moved(model, 0.1)
    assert gauge.load(tmp_path / "gauge.safetensors").measure(changed, 2) == made.measure(changed, 2)


def test_answers_follow_their_prompts_and_are_drawn_from_the_seed(folder: Path, general: General) -> None:
    first, again, other = (begun(build(folder), general, seed).answers for seed in (0, 0, 1))
    assert first == again != other
    for answer, prompt in zip(first, general.prompts, strict=True):
        assert answer.input_ids[: len(prompt)].tolist() == list(prompt)
        assert answer.trained > 0


def test_it_can_be_stopped_at_any_time(folder: Path, general: General) -> None:
    model = build(folder)
    made = begun(model, general)
    with pytest.raises(Stopped):
        made.measure(model, 2, lambda: True)
    with pytest.raises(Stopped):
        gauge.begin(model, general, 2, 0, lambda: True)
