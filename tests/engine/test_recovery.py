"""A damaged checkpoint is named and kept aside, and the one before it is gone on from, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from studio.domain.events import Event, Started, Warned
from tests.tiny import tiny_model
from tests.trainings import Trained, encoded_rows, losses, measured, result, trained

Run = Callable[..., Trained]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def run(model: Path, tmp_path: Path) -> Run:
    rows = encoded_rows(model)
    return lambda folder, *stop, **settings: trained(model, rows, tmp_path / folder, *stop, **settings)


def said(events: list[Event]) -> list[str]:
    return [str(event.text) for event in events if isinstance(event, Warned)]


def begun_at(events: list[Event]) -> int:
    return next(event.step for event in events if isinstance(event, Started))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("weights.safetensors", cut),
        ("optimizer.safetensors", flip_a_bit),
        ("random.safetensors", Path.unlink),
        ("progress.json", cut),
        ("progress.json", flip_a_bit),
    ],
)
def test_the_checkpoint_before_a_damaged_one_is_gone_on_from(
    run: Run, file: str, harm: Callable[[Path], None]
) -> None:
    whole, _, first = run("whole", dropout=0.1)
    _, _, second = run("broken", 5, dropout=0.1)
    checkpoints = second / "checkpoints"
    harm(checkpoints / "step-000005" / file)
    after, _, _ = run("broken", dropout=0.1)
    assert said(after) == [
        f"The checkpoint step-000005 is damaged: {file} is not as it was written. It is kept as damaged-step-000005.",
        "The run goes on from the checkpoint before it, of step 4.",
    ]
    assert begun_at(after) == 4
    assert losses(after) == losses(whole)[4:]
    assert all(torch.equal(result(second)[name], tensor) for name, tensor in result(first).items())
    assert (checkpoints / "damaged-step-000005").is_dir()


def test_a_run_without_a_whole_checkpoint_begins_again_and_says_so(run: Run) -> None:
    whole, _, _ = run("whole")
    _, _, second = run("broken", 5)
    for checkpoint in (second / "checkpoints").glob("step-*"):
        cut(checkpoint / "weights.safetensors")
    after, _, _ = run("broken")
    assert said(after)[2:] == ["No checkpoint before it is whole: the run begins again."]
    assert losses(after) == losses(whole)


def test_what_was_only_half_written_is_cleared_away(run: Run) -> None:
    _, _, folder = run("a", 3)
    (folder / "checkpoints" / ".step-000009.partial").mkdir()
    after, _, _ = run("a")
    assert said(after) == []
    assert list((folder / "checkpoints").glob(".*")) == []


def test_the_best_weights_of_the_checkpoint_before_are_still_there(run: Run) -> None:
    """Each checkpoint speaks of another evaluation as the best; the older one is gone on from."""
    often = {"eval_steps": 1, "save_steps": 1}
    whole, metrics, first = run("whole", **often)
    _, _, second = run("broken", 4, **often)
    cut(second / "checkpoints" / "step-000004" / "weights.safetensors")
    after, resumed, _ = run("broken", **often)
    assert {step: loss for step, loss in measured(whole).items() if step > 3} == measured(after)
    assert resumed["result_step"] == metrics["result_step"]
    assert all(torch.equal(result(second)[name], tensor) for name, tensor in result(first).items())
