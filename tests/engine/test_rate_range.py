from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest

from studio.domain.config import TrainConfig
from studio.domain.encoded import Encoded
from studio.engine.rate_range import HIGHEST, LOWEST, RangeTest, range_test, rates
from tests.tiny import tiny_model
from tests.trainings import BASE, encoded_rows


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def rows(model: Path) -> list[Encoded]:
    return encoded_rows(model)


def walked(model: Path, rows: list[Encoded], steps: int = 60, **changes: object) -> RangeTest:
    config = TrainConfig(**{**BASE, **changes})  # type: ignore[arg-type]
    return range_test(model, config, rows, "cpu", pad_id=0, steps=steps)


def test_the_loss_stands_still_then_falls_and_a_rate_within_is_suggested(
    model: Path, rows: list[Encoded]
) -> None:
    found = walked(model, rows)
    assert len(found.rates) == 60
    assert (found.rates[0], found.rates[-1]) == (LOWEST, pytest.approx(HIGHEST))
    at_1e4 = found.smoothed[24]
    assert at_1e4 == pytest.approx(found.smoothed[0], rel=0.05)
    lowest, steepest, suggested = found.lowest, found.steepest, found.suggested
    assert lowest
    assert steepest
    assert suggested
    assert 1e-3 < suggested <= 1.5 * steepest
    assert steepest <= lowest
    assert found.smoothed[found.rates.index(lowest)] < 0.6 * found.smoothed[0]


def test_it_ends_where_the_loss_explodes(model: Path, rows: list[Encoded]) -> None:
    found = walked(model, rows, alpha=1024.0, lora_plus_ratio=16.0, max_grad_norm=0.0)
    assert found.exploded
    assert len(found.losses) < 60
    assert found.smoothed[-1] > 1.4 * min(found.smoothed)


def test_two_tests_are_the_same_and_leave_the_model_as_it_was(model: Path, rows: list[Encoded]) -> None:
    before = {file.name: file.read_bytes() for file in model.iterdir()}
    assert walked(model, rows, 20) == walked(model, rows, 20)
    assert {file.name: file.read_bytes() for file in model.iterdir()} == before


def test_a_micro_batch_does_not_change_what_is_found(model: Path, rows: list[Encoded]) -> None:
    whole, cut = walked(model, rows, 20), walked(model, rows, 20, micro_batch_size=1)
    assert cut.losses == pytest.approx(whole.losses, rel=1e-4)


def test_rates_grow_by_the_same_factor() -> None:
    found = rates(61)
    assert (found[0], found[-1]) == (LOWEST, pytest.approx(HIGHEST))
    factors = {round(after / before, 9) for before, after in pairwise(found)}
    assert len(factors) == 1


def drawn(falls_at: float, rises_at: float) -> RangeTest:
    """Flat at 3 nats, falling with the logarithm of the rate to 1 and rising again."""
    found = rates(80)
    losses = []
    for rate in found:
        fallen = min(1.0, max(0.0, math.log10(rate / falls_at)))
        risen = max(0.0, 3 * math.log10(rate / rises_at))
        losses.append(3 - 2 * fallen + risen)
    return RangeTest(tuple(found), tuple(losses), False)


def test_the_suggestion_lies_where_the_loss_falls() -> None:
    found = drawn(1e-4, 1e-2)
    assert found.steepest
    assert found.lowest
    assert 1e-4 < found.steepest < 1.5e-3
    assert 1e-3 < found.lowest < 2e-2
    assert found.suggested == pytest.approx(min(found.steepest, found.lowest / 3), rel=0.5)


def test_nothing_is_suggested_where_the_loss_never_falls() -> None:
    found = RangeTest(tuple(rates(40)), (3.0,) * 40, False)
    assert (found.lowest, found.steepest, found.suggested) == (None, None, None)


def test_it_is_kept_as_json() -> None:
    found = drawn(1e-4, 1e-2)
    assert RangeTest.from_json(found.to_json()) == found
