"""A run ends with its best weights, and early where it no longer gets better; stopping and going on changes neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from studio.domain.events import Event, Warned
from tests.tiny import tiny_model
from tests.trainings import Trained, encoded_rows, losses, measured, result, steps, trained

OVERFITS = {"epochs": 32.0, "eval_steps": 4, "save_steps": 5, "learning_rate": 1e-2}
"""On four rows, measured on two with other answers: the held-out loss falls, and then rises again."""
Run = Callable[..., Trained]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def run(model: Path, tmp_path: Path) -> Run:
    rows = encoded_rows(model)

    def run(folder: str, *stop: int, **settings: object) -> Trained:
        given = {"held_out": rows[4:6], **OVERFITS, **settings}
        return trained(model, rows[:4], tmp_path / folder, *stop, **given)

    return run


def best_of(events: list[Event]) -> tuple[float, int]:
    """The lowest held-out loss after the first step, and when it was."""
    return min((loss, step) for step, loss in measured(events).items() if step)


def said(events: list[Event]) -> list[str]:
    return [str(event.text) for event in events if isinstance(event, Warned)]


def test_the_result_is_of_the_best_evaluation_and_the_last_is_kept(run: Run) -> None:
    events, metrics, folder = run("best")
    loss, step = best_of(events)
    assert 0 < step < steps(events)[-1] == 32
    assert (metrics["eval_loss"], metrics["result_step"]) == (loss, step)
    assert said(events) == [
        f"The result is of step {step}, where the held-out loss was lowest: {loss:.4f}; it ended at "
        f"{measured(events)[32]:.4f}."
    ]
    best = load_file(folder / "checkpoints" / f"best-{step:06d}" / "weights.safetensors")
    last = load_file(folder / "checkpoints" / "step-000032" / "weights.safetensors")
    for name, tensor in best.items():
        saved = result(folder)[name.replace(".default.", ".")]
        assert torch.equal(saved, tensor)
        assert not torch.equal(saved, last[name])


def test_the_last_weights_are_the_result_where_they_are_asked_for(run: Run) -> None:
    events, metrics, folder = run("last", result="last")
    assert (metrics["eval_loss"], metrics["result_step"]) == (measured(events)[32], 32)
    last = load_file(folder / "checkpoints" / "step-000032" / "weights.safetensors")
    assert all(torch.equal(result(folder)[name.replace(".default.", ".")], last[name]) for name in last)
    assert said(events) == []
    assert list((folder / "checkpoints").glob("best-*")) == []


def test_without_held_out_rows_the_last_weights_are_the_result(run: Run) -> None:
    _, metrics, _ = run("a", held_out=[], max_steps=3)
    assert metrics["result_step"] == 3
    assert "eval_loss" not in metrics


def test_a_run_ends_once_its_patience_is_spent(run: Run) -> None:
    events, metrics, folder = run("early", patience=2)
    loss, step = best_of(run("whole")[0])
    assert steps(events)[-1] == step + 2 * OVERFITS["eval_steps"] < 32
    assert (metrics["eval_loss"], metrics["result_step"]) == (loss, step)
    assert said(events)[0] == (
        f"Training ended at step {step + 8} of 32: in 2 evaluations since step {step}, the held-out loss had not "
        "improved."
    )
    assert (folder / "checkpoints" / f"step-{step + 8:06d}").is_dir()


@pytest.mark.parametrize("stop_after", [3, 9, 13, 17])
def test_a_stopped_run_keeps_its_best_and_its_patience_bit_for_bit(run: Run, stop_after: int) -> None:
    whole, metrics, first = run("whole", patience=2)
    before, _, second = run("halves", stop_after, patience=2)
    after, resumed, _ = run("halves", patience=2)
    assert losses(before) + losses(after) == losses(whole)
    assert {**measured(before), **measured(after)} == measured(whole)
    assert (resumed["eval_loss"], resumed["result_step"]) == (metrics["eval_loss"], metrics["result_step"])
    assert all(torch.equal(result(second)[name], tensor) for name, tensor in result(first).items())


def test_a_run_killed_after_a_better_evaluation_than_its_checkpoint_knows_of_goes_on_bit_for_bit(
    run: Run,
) -> None:
    """Killed at step 4, after the evaluation and before the checkpoint of step 5: the one of step 3 is gone on from."""
    whole, metrics, first = run("whole", eval_steps=2, save_steps=3)
    _, _, second = run("killed", 3, eval_steps=2, save_steps=3)
    better = second / "checkpoints" / "best-000004"
    better.mkdir()
    (better / "weights.safetensors").write_bytes(b"as it was when the process was killed")
    after, resumed, _ = run("killed", eval_steps=2, save_steps=3)
    assert losses(after) == losses(whole)[3:]
    assert resumed["result_step"] == metrics["result_step"]
    assert all(torch.equal(result(second)[name], tensor) for name, tensor in result(first).items())
    assert len(list((second / "checkpoints").glob("best-*"))) == 1


def test_a_run_killed_after_its_result_was_written_ends_with_the_same_one(run: Run) -> None:
    _, metrics, folder = run("a", patience=2)
    before = result(folder)
    events, again, _ = run("a", patience=2)
    assert steps(events) == []
    assert (again["eval_loss"], again["result_step"]) == (metrics["eval_loss"], metrics["result_step"])
    assert all(torch.equal(result(folder)[name], tensor) for name, tensor in before.items())


def test_full_tuning_ends_with_its_best_weights_too(run: Run) -> None:
    events, metrics, folder = run("full", method="full", learning_rate=3e-3)
    _, step = best_of(events)
    assert metrics["result_step"] == step < 32
    best = load_file(folder / "checkpoints" / f"best-{step:06d}" / "weights.safetensors")
    saved = load_file(folder / "model" / "model.safetensors")
    assert all(torch.equal(saved[name], tensor) for name, tensor in best.items())


def test_a_run_whose_best_weights_are_damaged_ends_with_its_last_and_says_so(run: Run) -> None:
    _, metrics, _ = run("whole")
    best = int(metrics["result_step"])
    _, _, folder = run("damaged", 31)
    weights = folder / "checkpoints" / f"best-{best:06d}" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    events, ended, _ = run("damaged")
    assert ended["result_step"] == 32
    assert said(events) == [
        f"The best weights, of step {best}, are damaged (weights.safetensors): the result is of the last step, 32."
    ]
    last = load_file(folder / "checkpoints" / "step-000032" / "weights.safetensors")
    assert all(torch.equal(result(folder)[name.replace(".default.", ".")], last[name]) for name in last)
