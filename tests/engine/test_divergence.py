"""A run whose loss explodes or is no number ends, can be resumed from before that, and then learns more slowly."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from studio.domain.config import TrainConfig
from studio.domain.errors import StudioError
from studio.domain.events import Event, Warned
from studio.engine import divergence
from studio.engine.train import TrainJob, train
from tests.tiny import tiny_model
from tests.trainings import BASE, encoded_rows, rates, steps


def wild_steps(losses: Iterable[float]) -> list[int]:
    """Wild steps on end after each loss."""
    calm: list[float] = []
    wild, found = 0, []
    for loss in losses:
        calm, wild = divergence.after(calm, wild, loss)
        found.append(wild)
    return found


def test_a_loss_far_above_the_usual_is_wild_until_it_is_calm_again() -> None:
    assert wild_steps([2.0, 1.9, 1.8, 1.7, 4.0, 9.0, 1.6, 9.0]) == [0, 0, 0, 0, 1, 2, 0, 1]


def test_wild_losses_do_not_move_the_limit() -> None:
    assert wild_steps([1.0] * 8 + [8.0] * 40)[-1] == 40


def test_a_noisy_loss_and_a_falling_one_are_calm() -> None:
    noise = random.Random(0)
    assert max(wild_steps(max(0.0, noise.gauss(2.0, 0.7)) for _ in range(5000))) < divergence.WILD_STEPS
    assert wild_steps(8.0 * 0.95**step for step in range(200)) == [0] * 200


def test_one_kind_of_row_in_eight_that_is_much_harder_is_no_divergence() -> None:
    choice = random.Random(1)
    mixed = (6.0 if choice.random() < 0.125 else 0.5 for _ in range(5000))
    assert max(wild_steps(mixed)) < divergence.WILD_STEPS


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def diverging(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, rate: float
) -> tuple[list[Event], str]:
    """A run that is calm for 49 steps, and then goes on at `rate`: what it said, and what ended it."""
    events: list[Event] = []
    with monkeypatch.context() as harm:
        harm.setattr("studio.engine.train.learning_rate", lambda step, *_: 1e-2 if step < 49 else rate)
        with pytest.raises(StudioError) as error:
            train(job(model, folder), events.append, lambda: False)
    return events, str(error.value)


def job(model: Path, folder: Path) -> TrainJob:
    config = {**BASE, "epochs": 20.0, "save_steps": 2, "keep_checkpoints": 2, "scheduler": "constant"}
    return TrainJob(
        "run", model, TrainConfig.model_validate(config), encoded_rows(model), [], folder, "cpu", 0
    )


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


@pytest.mark.parametrize(
    ("rate", "ended"),
    [
        (20.0, r"The loss has exploded since step 51, from \d\.\d\d to \d+\.\d\d nats a token"),
        (float("inf"), r"The loss is no longer a number at step 51"),
    ],
)
def test_a_diverged_run_goes_on_from_before_at_a_quarter_of_the_rate(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float, ended: str
) -> None:
    _, error = diverging(model, tmp_path, monkeypatch, rate)
    assert re.match(
        ended + r": training has diverged\. Resume it: it goes on from the last checkpoint", error
    )
    assert checkpoints(tmp_path) == [
        "diverged-step-000050",
        "divergence-1-after-step-000050",
        "step-000048",
    ]
    events: list[Event] = []
    train(job(model, tmp_path), events.append, lambda: False)
    assert [str(event.text) for event in events if isinstance(event, Warned)] == [
        "Training has diverged before: it goes on from step 48 with 1/4 of the learning rate."
    ]
    assert steps(events) == list(range(49, 61))
    assert rates(events)[-1] == 0.25 * 1e-2


def test_a_model_that_is_broken_from_the_start_is_told_apart(model: Path, tmp_path: Path) -> None:
    broken = tiny_model(tmp_path / "model")
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = float("inf")
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(StudioError, match=r"very first step is no number.*get the model anew"):
        train(job(broken, tmp_path), lambda _: None, lambda: False)
