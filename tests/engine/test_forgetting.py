"""A run says what it forgets, forgets less where it holds on, and goes on as if it had not stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from studio.domain.chat import Conversation, Message
from studio.domain.config import TrainConfig
from studio.domain.errors import Stopped, StudioError
from studio.domain.events import Event, Metric, Phase
from studio.engine.encode import Encoder
from studio.engine.general import General
from studio.engine.templates import resolve
from studio.engine.tokenizer import load_tokenizer
from studio.engine.train import TrainJob, train
from tests.tiny import tiny_model

Run = Callable[..., list[Metric]]


def said(*pairs: tuple[str, str]) -> list[Conversation]:
    return [
        Conversation((Message("user", question), Message("assistant", answer)), row)
        for row, (question, answer) in enumerate(pairs, start=1)
    ]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> TrainJob:
    """Ten rows of one kind to learn, three general ones to measure on and two to hold on to."""
    folder = tiny_model(tmp_path_factory.mktemp("model"))
    tokenizer = load_tokenizer(folder)
    encoder = Encoder(resolve("auto", tokenizer), tokenizer)
    general = said(("What is it?", "A hat."), ("Who came then?", "Nobody at all."), ("When?", "Now."))
    rows = encoder.encode_many(said(*[(f"Question {number}?", "0000 0000") for number in range(10)]))
    return TrainJob(
        run="run",
        model_path=folder,
        config=TrainConfig(
            method="lora",
            learning_rate=1e-2,
            epochs=4.0,
            batch_size=4,
            micro_batch_size=4,
            max_length=256,
            rank=4,
            alpha=8.0,
            dtype="float32",
            gradient_checkpointing=False,
            save_steps=2,
            eval_steps=4,
        ),
        train=rows,
        held_out=rows[:2],
        folder=folder,
        device="cpu",
        pad_id=0,
        general=General(
            encoder.encode_many(general),
            [encoder.prompt(row.before_response()) for row in general],
            encoder.stop_ids,
            encoder.encode_many(general),
        ),
    )


@pytest.fixture
def run(job: TrainJob, tmp_path: Path) -> Run:
    def run(
        folder: str, stop_after: int | None = None, *, changes: Any = None, **settings: Any
    ) -> list[Metric]:
        events: list[Event] = []
        config = job.config.model_copy(update=settings)
        (tmp_path / folder).mkdir(exist_ok=True)

        def stop() -> bool:
            steps = [event.step for event in events if isinstance(event, Metric) and event.loss is not None]
            return stop_after is not None and (steps or [-1])[-1] >= stop_after

        with contextlib.suppress(Stopped):
            train(
                replace(job, config=config, folder=tmp_path / folder, **(changes or {})), events.append, stop
            )
        return [event for event in events if isinstance(event, Metric)]

    return run


def gauged(metrics: list[Metric]) -> dict[int, tuple[float, float]]:
    """By step: how much the general loss rose, and the divergence."""
    return {
        metric.step: (metric.forgetting, metric.divergence)
        for metric in metrics
        if metric.forgetting is not None and metric.divergence is not None
    }


@pytest.mark.parametrize("held_out", [True, False])
def test_what_is_forgotten_is_said_at_each_evaluation(run: Run, held_out: bool) -> None:
    found = gauged(run("a", changes={} if held_out else {"held_out": []}))
    assert list(found) == [0, 4, 8, 12]
    assert found[0] == (0, pytest.approx(0, abs=1e-6))
    assert all(
        forgotten > 0.01 and divergence > 0.01 for step, (forgotten, divergence) in found.items() if step
    )


def test_measuring_and_holding_on_to_nothing_leave_the_run_as_it_is(run: Run) -> None:
    none: dict[str, Any] = {"general": General()}
    plain = [metric.loss for metric in run("plain", changes=none, dropout=0.1)]
    assert [metric.loss for metric in run("gauged", dropout=0.1)] == plain


@pytest.mark.parametrize("method", [{}, {"packing": False}])
def test_the_stronger_it_holds_on_the_less_is_forgotten(run: Run, method: dict[str, Any]) -> None:
    found = [gauged(run(str(strength), ewc=strength, **method))[12] for strength in (0.0, 100.0, 10_000.0)]
    assert found[0][0] > 2 * abs(found[1][0]) > 2 * abs(found[2][0])
    assert found[0][1] > found[1][1] > found[2][1]


def test_a_run_that_goes_on_does_so_as_if_it_had_not_stopped(run: Run, tmp_path: Path) -> None:
    settings = {"ewc": 100.0, "dropout": 0.1}
    whole = run("whole", **settings)
    parts = [*run("parts", 5, **settings), *run("parts", **settings)]
    assert gauged(parts) == gauged(whole)
    assert [metric.loss for metric in parts] == [metric.loss for metric in whole]
    results = [
        load_file(tmp_path / folder / "adapter" / "adapter_model.safetensors")
        for folder in ("whole", "parts")
    ]
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_how_it_passes_through_the_model_does_not_change_what_it_holds_on_to(run: Run) -> None:
    one, two, three = (
        [metric.penalty for metric in run(name, ewc=100.0, **settings) if metric.penalty is not None]
        for name, settings in (
            ("one", {}),
            ("two", {"micro_batch_size": 1}),
            ("three", {"packing": False, "gradient_checkpointing": True}),
        )
    )
    assert one[0] == 0
    assert one[-1] > 0
    assert two == pytest.approx(one, rel=1e-3)
    assert three == pytest.approx(one, rel=1e-3)


def test_a_run_from_before_there_was_a_gauge_goes_on_without(run: Run) -> None:
    run("old", 5, changes={"general": General()})
    assert gauged(run("old")) == {}


def test_a_damaged_gauge_is_done_without_and_a_damaged_memory_is_not(run: Run, tmp_path: Path) -> None:
    run("gauged", 5)
    run("holding", 5, ewc=1.0)
    for folder in ("gauged", "holding"):
        for file in (tmp_path / folder / "remembering").glob("*.safetensors"):
            file.write_bytes(file.read_bytes()[:-9])
    assert gauged(run("gauged")) == {}
    with pytest.raises(StudioError, match=r"remembering/.*damaged"):
        run("holding", ewc=1.0)


def test_it_can_be_stopped_while_it_asks_the_model_what_it_knows(run: Run, tmp_path: Path) -> None:
    run("stopped", -1, ewc=1.0)
    assert not (tmp_path / "stopped" / "remembering").exists()


def test_nothing_to_hold_on_to_is_said(run: Run) -> None:
    with pytest.raises(StudioError, match="nothing to hold on to"):
        run("empty", ewc=1.0, changes={"general": General()})


def test_how_much_of_the_asking_is_done_is_said_piece_by_piece(job: TrainJob, tmp_path: Path):
    """At most 48 tokens of answers, their one batch and that of the rows, and one batch of the rows held on to."""
    events: list[Event] = []
    config = job.config.model_copy(update={"max_steps": 1, "ewc": 1.0})
    train(replace(job, folder=tmp_path, config=config), events.append, lambda: False)
    asked = [event for event in events if isinstance(event, Phase) and event.name == "remembering"]
    assert {event.total for event in asked[1:]} == {51}
    assert [event.done for event in asked[1:]] == list(range(len(asked) - 1))
