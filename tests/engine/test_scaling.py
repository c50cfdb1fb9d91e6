"""The table of docs/scaling.md is what the module prints, and its figures follow from the strategies."""

from __future__ import annotations

from studio.domain.config import parse_config
from studio.domain.machine import Machine
from studio.engine.assets import ASSETS
from studio.engine.memory import needs
from studio.engine.scaling import MODELS, Hardware, Work, cost, table

DOC = ASSETS.parent / "docs" / "scaling.md"


def test_the_table_in_the_docs_is_the_one_that_is_printed() -> None:
    assert "\n".join(table(Hardware(), Work())) in DOC.read_text(encoding="utf-8")


def test_sharding_takes_less_memory_on_more_gpus_and_data_parallel_does_not() -> None:
    def held(strategy: str, gpus: int) -> int:
        return cost("8B", "full", strategy, gpus, Hardware(), Work()).bytes  # type: ignore[arg-type]

    assert held("fsdp", 8) < held("fsdp", 4) < held("fsdp", 2) < held("data_parallel", 2)
    assert held("data_parallel", 2) == held("data_parallel", 8)


def test_an_adapters_base_in_parts_takes_less_but_is_loaded_whole() -> None:
    def held(name: str, strategy: str, gpus: int) -> int:
        return cost(name, "qlora", strategy, gpus, Hardware(), Work()).bytes  # type: ignore[arg-type]

    assert held("8B", "fsdp", 4) < held("8B", "fsdp", 2) < held("8B", "data_parallel", 2)
    assert held("70B", "fsdp", 64) == held("70B", "fsdp", 32) < held("70B", "data_parallel", 32)


def test_more_gpus_than_rows_help_no_more() -> None:
    few = Work(rows=4)
    assert cost("1B", "lora", "data_parallel", 4, Hardware(), few).seconds * 0.99 < (
        cost("1B", "lora", "data_parallel", 8, Hardware(), few).seconds
    )


def test_processes_that_share_a_memory_need_it_together_and_less_each_in_parts() -> None:
    lengths = [400] * 64
    config = parse_config(
        {
            "data": {"path": "x"},
            "train": {
                "method": "lora",
                "dtype": "bfloat16",
                "batch_size": 8,
                "micro_batch_size": 8,
                "epochs": 1,
            },
        }
    )
    laptop = Machine("cpu", "", 16_000_000_000, 12_000_000_000, 4, ("bfloat16",), True)
    server = Machine("cuda", "", 80_000_000_000, 80_000_000_000, 4, ("bfloat16",), True)

    def need(machine: Machine, **launch: object) -> dict[str, int]:
        changed = config.with_values({f"launch.{name}": value for name, value in launch.items()})
        return needs(changed, machine, MODELS["1B"], lengths)

    one = need(laptop)
    two = need(laptop, where="torchrun", processes=2)
    assert two["weights"] == 2 * one["weights"]
    assert two["activations"] < 1.1 * one["activations"]  # each takes half of the rows
    assert need(server, where="torchrun", processes=2)["weights"] == need(server)["weights"]
    parted = need(server, where="torchrun", processes=4, strategy="fsdp")
    assert parted["weights"] + parted["whole"] < 0.6 * need(server)["weights"]
