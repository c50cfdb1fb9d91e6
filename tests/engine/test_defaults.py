from __future__ import annotations

from dataclasses import replace

import pytest

from studio.domain.config import RunConfig, parse_config
from studio.domain.errors import StudioError
from studio.domain.machine import Machine
from studio.engine.defaults import recommend
from studio.engine.memory import estimate, parts
from studio.engine.model_facts import ModelFacts
from studio.engine.optimizers import check
from studio.engine.steps import plan_steps

LAPTOP = Machine(
    "cpu",
    "CPU",
    16_000_000_000,
    12_000_000_000,
    4,
    ("float32", "bfloat16"),
    True,
    {"float32": 1e11, "bfloat16": 3e11},
)
GPU = Machine(
    "cuda",
    "GPU",
    24_000_000_000,
    23_000_000_000,
    16,
    ("bfloat16", "float32"),
    True,
    {"bfloat16": 1e14, "float32": 2e13},
)
SMALL = ModelFacts(134_515_008, 576, 1536, 30, 9, 192, 49152, 8192)
LARGE = ModelFacts(7_000_000_000, 4096, 11008, 32, 32, 4096, 32000, 4096, head_size=128)
CONFIG = parse_config({"data": {"path": "rows.jsonl"}})
LENGTHS = [100] * 400


def recommended(
    machine: Machine, model: ModelFacts, lengths: list[int], config: RunConfig = CONFIG
) -> dict[str, object]:
    return recommend(config, machine, model, lengths, [50] * 20).config.train.model_dump()


def test_nothing_is_left_open_but_what_ends_a_run_early_and_the_modules() -> None:
    train = recommended(LAPTOP, SMALL, LENGTHS)
    assert {name for name, value in train.items() if value in (None, "auto")} == {
        "max_steps",
        "patience",
        "target_modules",
    }


def test_every_value_that_was_filled_in_has_a_reason() -> None:
    found = recommend(CONFIG, LAPTOP, SMALL, LENGTHS, [])
    before, after = CONFIG.train.model_dump(), found.config.train.model_dump()
    assert set(found.reasons) == {f"train.{name}" for name in after if after[name] != before[name]}


def test_what_is_given_is_never_changed() -> None:
    given = parse_config(
        {"data": {"path": "x"}, "train": {"method": "full", "learning_rate": 0.5 / 10, "max_length": 64}}
    )
    train = recommended(GPU, LARGE, LENGTHS, given)
    assert (train["method"], train["learning_rate"], train["max_length"]) == ("full", 0.05, 64)


@pytest.mark.parametrize(
    ("machine", "method"), [(LAPTOP, "lora"), (GPU, "qlora"), (replace(GPU, can_qlora=False), "lora")]
)
def test_qlora_is_the_default_where_a_gpu_can(machine: Machine, method: str) -> None:
    assert recommended(machine, LARGE, LENGTHS)["method"] == method


def test_a_cpu_takes_the_number_format_it_multiplies_faster() -> None:
    assert recommended(LAPTOP, SMALL, LENGTHS)["dtype"] == "bfloat16"
    slow = replace(LAPTOP, flops={"float32": 1e11, "bfloat16": 1e10})
    assert recommended(slow, SMALL, LENGTHS)["dtype"] == "float32"


@pytest.mark.parametrize(
    ("model", "train", "rate"),
    [
        (SMALL, {}, 1e-3),
        (SMALL, {"method": "full"}, 5e-5),  # a tenth of the adapter's, but no more than is usual
        (LARGE, {"method": "lora"}, 3e-4),
        (LARGE, {"method": "full"}, 3e-5),
        (LARGE, {"method": "qlora", "adapter_start": "pissa"}, 3e-5),
    ],
)
def test_the_rate_follows_method_and_size(model: ModelFacts, train: dict[str, str], rate: float) -> None:
    config = parse_config({"data": {"path": "x"}, "train": train})
    assert recommended(LAPTOP, model, LENGTHS, config)["learning_rate"] == rate


def test_memory_follows_the_variant_and_the_optimiser() -> None:
    config = recommend(CONFIG, GPU, SMALL, LENGTHS, []).config.train

    def of(**changes: object) -> dict[str, int]:
        return parts(config.model_copy(update=changes), GPU, SMALL, LENGTHS)

    plain = of()
    assert of(adapter_start="pissa")["adapter"] == 2 * plain["adapter"]
    assert of(adapter_start="pissa")["gradients"] == plain["gradients"]
    assert of(dora=True)["gradients"] - plain["gradients"] == 4 * SMALL.linear_outputs
    assert of(dora=True)["activations"] > plain["activations"]
    assert of(optimizer="adamw_8bit")["optimizer"] == pytest.approx(plain["optimizer"] / 4, rel=0.03)
    assert of(method="full", optimizer="paged_adamw")["optimizer"] == 0
    assert (
        of(optimizer="paged_adamw")["optimizer"] == plain["optimizer"]
    )  # an adapter's tensors are not paged


@pytest.mark.parametrize("optimizer", ["paged_adamw", "paged_adamw_8bit"])
def test_paged_optimisers_are_refused_without_a_gpu(optimizer: str) -> None:
    config = CONFIG.train.model_copy(update={"optimizer": optimizer})
    check(config, GPU)
    with pytest.raises(StudioError, match="Paged needs an NVIDIA GPU"):
        check(config, LAPTOP)
    with pytest.raises(StudioError, match="bitsandbytes, which does not work here"):
        check(CONFIG.train.model_copy(update={"optimizer": "adamw_8bit"}), replace(LAPTOP, can_qlora=False))


def test_few_rows_are_seen_more_often() -> None:
    assert [recommended(LAPTOP, SMALL, [10] * rows)["epochs"] for rows in (100, 1000, 5000)] == [
        3.0,
        2.0,
        1.0,
    ]


def test_the_length_holds_the_longest_row_up_to_what_is_usual_for_the_machine() -> None:
    assert [recommended(LAPTOP, SMALL, [10, longest])["max_length"] for longest in (20, 100, 9000)] == [
        64,
        128,
        1024,
    ]


def test_rows_that_do_not_fit_together_pass_in_portions_and_then_by_recomputing() -> None:
    found = []
    for memory in (80_000_000_000, 24_000_000_000, 9_000_000_000):
        train = recommended(replace(GPU, memory_bytes=memory), LARGE, [1000] * 64)
        found.append((train["micro_batch_size"], train["gradient_checkpointing"]))
    assert found == [(4, False), (1, False), (2, True)]


def test_what_is_counted_of_attention_is_what_it_holds() -> None:
    from studio.engine import attention, memory

    assert (memory._BLOCK, memory._KEPT) == (attention._BLOCK, attention.KEPT)


def test_memory_adds_up_and_grows_with_what_it_should() -> None:
    config = recommend(CONFIG, LAPTOP, SMALL, LENGTHS, []).config
    found = estimate(config, LAPTOP, SMALL, LENGTHS, [30] * 400)
    assert sum(size for part, size in found.memory.items() if part != "total") == found.memory["total"]
    spared = parts(config.train.model_copy(update={"gradient_checkpointing": True}), LAPTOP, SMALL, LENGTHS)
    assert spared["activations"] < found.memory["activations"] / 3
    four_bit = parts(config.train.model_copy(update={"method": "qlora"}), LAPTOP, SMALL, LENGTHS)
    assert four_bit["weights"] < found.memory["weights"] / 2


def test_steps_and_tokens_are_counted_to_the_last_one() -> None:
    config = parse_config(
        {"data": {"path": "x"}, "train": {"epochs": 1.5, "batch_size": 4, "max_length": 64}}
    )
    lengths = list(range(1, 11))
    found = estimate(recommend(config, LAPTOP, SMALL, lengths, []).config, LAPTOP, SMALL, lengths, [1] * 10)
    steps = plan_steps(10, 4, 1.5, None, 42)
    rows = [row for step in range(steps.count) for row in steps.batch(step)]
    assert (found.steps, found.tokens, found.trained_tokens) == (
        5,
        sum(lengths[row] for row in rows),
        len(rows),
    )
