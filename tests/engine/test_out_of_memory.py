"""Where memory runs out in mid-run, half the rows go through the model at once, and the run ends as it would have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from studio.domain.errors import StudioError
from studio.domain.events import Event, Warned
from studio.engine.batches import Batch
from studio.engine.out_of_memory import is_out_of_memory
from studio.engine.trainee import Trainee
from tests.tiny import tiny_model
from tests.trainings import Trained, encoded_rows, losses, measured, result, trained

Run = Callable[..., Trained]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def run(model: Path, tmp_path: Path) -> Run:
    rows = encoded_rows(model)
    return lambda folder, *stop, **settings: trained(
        model, rows, tmp_path / folder, *stop, packing=False, **settings
    )


def allow_rows(monkeypatch: pytest.MonkeyPatch, most: int, after_calls: int = 0) -> None:
    """From some call on, fail as a GPU does once more than `most` rows pass through the model at once."""
    loss, calls = Trainee.loss, [0]

    def limited(self: Trainee, batch: Batch, seeds: Sequence[int] = ()) -> torch.Tensor:
        calls[0] += 1
        if calls[0] > after_calls and len(batch.row_lengths) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return loss(self, batch, seeds)

    monkeypatch.setattr(Trainee, "loss", limited)


def said(events: list[Event]) -> list[str]:
    return [str(event.text) for event in events if isinstance(event, Warned)]


def test_fewer_rows_at_once_give_the_same_run_and_are_remembered(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"dropout": 0.1, "neftune_alpha": 5.0, "eval_steps": 6}
    cut, _, _ = run("cut", micro_batch_size=1, **settings)
    allow_rows(monkeypatch, most=1, after_calls=1)  # the evaluation before the first step had three rows
    short, _, _ = run("short", 3, **settings)
    assert said(short) == [
        "Memory ran out at step 1: from here on, the micro-batch size is 2.",
        "Memory ran out at step 1: from here on, the micro-batch size is 1.",
    ]
    after, _, folder = run("short", **settings)
    assert said(after) == []
    assert losses(short) + losses(after) == losses(cut)
    assert measured(after)[6] == pytest.approx(measured(cut)[6], rel=1e-5)
    assert result(folder)


def test_it_goes_on_from_the_step_it_was_at(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _, _ = run("whole", eval_steps=100)
    allow_rows(monkeypatch, most=2, after_calls=4)
    short, _, _ = run("short", eval_steps=100)
    assert said(short) == ["Memory ran out at step 4: from here on, the micro-batch size is 2."]
    assert losses(short)[:3] == losses(whole)[:3]
    assert losses(short) == pytest.approx(losses(whole), rel=1e-4)


def test_an_evaluation_that_runs_out_of_memory_is_measured_with_fewer_rows(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _, _ = run("whole", max_steps=1)
    allow_rows(monkeypatch, most=2)
    short, _, _ = run("short", max_steps=1)
    assert said(short) == ["Memory ran out at step 1: from here on, the micro-batch size is 2."]
    assert measured(short)[0] == pytest.approx(measured(whole)[0], rel=1e-5)


def test_where_one_row_does_not_fit_the_run_ends_with_what_was_saved(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("a", 2)
    allow_rows(monkeypatch, most=0)
    with pytest.raises(
        StudioError, match=r"Memory ran out at step 3, even with one row at once\..*resume it"
    ):
        run("a")


def test_it_is_told_from_other_errors() -> None:
    cpu = RuntimeError(
        "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried"
    )
    assert all(map(is_out_of_memory, [MemoryError(), torch.OutOfMemoryError("CUDA out of memory."), cpu]))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
