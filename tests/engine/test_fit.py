from __future__ import annotations

from dataclasses import replace

import pytest

from studio.domain.config import RunConfig, parse_config
from studio.domain.machine import Machine
from studio.engine.defaults import recommend
from studio.engine.fit import Fitted, fit
from studio.engine.memory import parts, usable
from studio.engine.model_facts import ModelFacts
from tests.engine.test_defaults import GPU, LAPTOP, LARGE, SMALL

LENGTHS = [900, 300, 2000, 700] * 40


def resolved(machine: Machine, model: ModelFacts, **train: object) -> RunConfig:
    given = {"method": "lora", "batch_size": 16, "micro_batch_size": 16, "max_length": 2048, **train}
    config = parse_config({"data": {"path": "rows.jsonl"}, "train": given})
    return recommend(config, machine, model, LENGTHS, []).config


def changes(found: Fitted) -> dict[str, object]:
    return {change.key.partition(".")[2]: change.after for change in found.changes}


def machine_of(gigabytes: float, machine: Machine = GPU) -> Machine:
    return replace(machine, memory_bytes=int(gigabytes * 1e9))


def just_too_small(config: RunConfig) -> Machine:
    """For one row at once with checkpointing."""
    least = config.with_values({"train.micro_batch_size": 1, "train.gradient_checkpointing": True})
    need = sum(parts(least.train, GPU, LARGE, LENGTHS).values())
    return replace(GPU, memory_bytes=int(need * 0.998 / 0.9))


def test_what_fits_is_left_as_it_is() -> None:
    config = resolved(GPU, SMALL, micro_batch_size=1)
    found = fit(config, GPU, SMALL, LENGTHS)
    assert (found.config, found.changes, found.fits, found.offer) == (config, (), True, None)


def test_fewer_rows_at_once_come_first_then_recomputing_then_shorter_rows() -> None:
    config = resolved(GPU, LARGE, gradient_checkpointing=False)
    machines = [machine_of(60), machine_of(22), just_too_small(config)]
    seen = [changes(fit(config, machine, LARGE, LENGTHS)) for machine in machines]
    assert list(seen[0]) == ["micro_batch_size"]
    assert seen[1]["gradient_checkpointing"]
    assert "max_length" not in seen[1]
    assert list(seen[2]) == ["micro_batch_size", "gradient_checkpointing", "max_length"]
    assert seen[2]["micro_batch_size"] == 1


def test_the_effective_batch_is_never_touched() -> None:
    config = resolved(GPU, LARGE)
    for size in (10, 16, 20, 60, 200):
        found = fit(config, machine_of(size), LARGE, LENGTHS)
        assert found.config.train.batch_size == 16
        assert found.config == config.with_values(found.values)


def test_what_it_needs_is_what_the_estimate_says_and_each_change_says_its_share() -> None:
    config = resolved(GPU, LARGE, gradient_checkpointing=False)
    machine = machine_of(60)
    found = fit(config, machine, LARGE, LENGTHS)
    assert found.need <= usable(machine)
    first = str(found.changes[0].said)
    assert first.startswith("Micro-batch ")
    assert "GiB less" in first
    assert "so that the effective batch, and what is learnt, stay the same" in first


def test_shorter_rows_are_as_long_as_fits_and_say_how_many_are_cut() -> None:
    config = resolved(GPU, LARGE)
    machine = just_too_small(config)
    found = fit(config, machine, LARGE, LENGTHS)
    length = found.config.train.max_length
    assert length
    longer = fit(config.with_values({"train.max_length": length + 64}), machine, LARGE, LENGTHS)
    assert longer.config.train.max_length == length
    over = sum(row > length for row in LENGTHS)
    assert f"{over} of {len(LENGTHS)} rows are longer and are cut" in str(found.changes[-1].said)


def test_another_method_is_offered_where_rows_would_be_cut_and_never_taken_unasked() -> None:
    config = resolved(GPU, LARGE)
    found = fit(config, just_too_small(config), LARGE, LENGTHS)
    assert found.config.train.method == "lora"
    assert found.offer
    assert found.offer.config.train.method == "qlora"
    assert found.offer.config.train.max_length == 2048
    assert found.offer.fits
    assert str(found.offer.changes[0].said).startswith("QLoRA instead of LoRA")
    assert fit(resolved(GPU, LARGE), machine_of(60), LARGE, LENGTHS).offer is None


def test_from_full_tuning_an_adapter_is_offered_with_a_rate_of_its_own() -> None:
    config = resolved(GPU, LARGE, method="full", learning_rate=2e-5)
    found = fit(config, machine_of(40), LARGE, LENGTHS)
    assert not found.fits
    assert found.offer
    assert changes(found.offer)["method"] == "lora"
    assert changes(found.offer)["learning_rate"] == pytest.approx(2e-4)
    no_bits = fit(config, replace(machine_of(16), can_qlora=False), LARGE, LENGTHS)
    assert no_bits.offer is None


def test_where_nothing_fits_the_smallest_need_is_said() -> None:
    found = fit(resolved(GPU, LARGE), machine_of(4), LARGE, LENGTHS)
    assert (found.fits, found.offer) == (False, None)
    assert found.need > usable(machine_of(4))
    assert found.config.train.max_length == 128


def test_no_more_than_half_of_the_rows_are_left_out_as_too_long() -> None:
    config = resolved(LAPTOP, SMALL).with_values({"data.overlong": "drop"})
    tight = machine_of(0.1, LAPTOP)
    found = fit(config, tight, SMALL, LENGTHS)
    assert not found.fits
    assert found.config.train.max_length == 704
