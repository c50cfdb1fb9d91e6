"""Memory and time of runs on many GPUs, as docs/scaling.md has them: python -m studio.engine.scaling"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from studio.domain.config import Method, TrainConfig
from studio.domain.machine import Machine
from studio.engine import memory
from studio.engine.model_facts import ModelFacts

Strategy = Literal["data_parallel", "fsdp"]

MODELS: dict[str, ModelFacts] = {
    "1B": ModelFacts(1_235_814_400, 2048, 8192, 16, 32, 512, 128_256, 131_072, 64),
    "3B": ModelFacts(3_212_749_824, 3072, 8192, 28, 24, 1024, 128_256, 131_072, 128),
    "8B": ModelFacts(8_030_261_248, 4096, 14336, 32, 32, 1024, 128_256, 131_072, 128),
    "14B": ModelFacts(14_770_033_664, 5120, 13824, 48, 40, 1024, 152_064, 131_072, 128),
    "32B": ModelFacts(32_763_876_352, 5120, 27648, 64, 40, 1024, 152_064, 131_072, 128),
    "70B": ModelFacts(70_553_706_496, 8192, 28672, 80, 64, 1024, 128_256, 131_072, 128),
}
"""The shapes of Llama 3.2 1B and 3B, Llama 3.1 8B and 70B, Qwen2.5 14B and 32B."""


@dataclass(frozen=True)
class Hardware:
    """What is assumed of a cluster. None of it was measured here."""

    gpu_bytes: int = 80_000_000_000
    flops: float = 600e12
    """Of a GPU's matrix products in bfloat16, as large ones reach them."""
    share: float = 0.35
    """Of those that training comes to: the studio's assumption for any GPU (`memory._EFFICIENCY`)."""
    gpus_a_machine: int = 8
    inside: float = 300e9
    """Bytes a second that a GPU exchanges with those of its machine."""
    between: float = 40e9
    """The same with another machine's: 400 Gbit/s a GPU, less what protocols take."""


@dataclass(frozen=True)
class Work:
    """A run: rows of 2048 tokens, a step over `rows` of them."""

    tokens: int = 10_000_000
    length: int = 2048
    rows: int = 64


@dataclass(frozen=True)
class Cost:
    """Of a strategy on so many GPUs."""

    bytes: int
    """On each GPU at the peak."""
    seconds: float
    exchange: float
    """The share of the seconds in which GPUs wait for each other's numbers, none of it hidden behind work."""


def cost(name: str, method: Method, strategy: Strategy, gpus: int, hardware: Hardware, work: Work) -> Cost:
    """Of a run with checkpointing, one row at once on each GPU; docs/scaling.md has the formulas."""
    model = MODELS[name]
    train = TrainConfig.model_validate(
        {
            "method": method,
            "dtype": "bfloat16",
            "epochs": 1.0,
            "batch_size": work.rows,
            "micro_batch_size": 1,
            "max_length": work.length,
            "gradient_checkpointing": True,
        }
    )
    machine = Machine("cuda", "", hardware.gpu_bytes, hardware.gpu_bytes, 1, ("bfloat16",), True)
    parts = memory.parts(train, machine, model, [work.length] * work.rows)
    trainable = model.parameters if method == "full" else model.adapter_parameters(train.rank)
    steps = work.tokens / (work.rows * work.length)
    passes = -(-work.rows // gpus)
    bandwidth = hardware.inside if gpus <= hardware.gpus_a_machine else hardware.between
    ring = (gpus - 1) / gpus
    if strategy == "fsdp":
        used = sum(memory.held_in_parts(parts, train, model, gpus).values())
        frozen = parts["weights"] - 2 * (model.parameters - model.linear)
        a_pass = 3 * 4 * model.parameters if method == "full" else 2 * frozen
        a_step = 0 if method == "full" else 2 * 4 * trainable
        exchanged = (a_pass * passes + a_step) * ring * steps
    else:
        # Summed in pieces of 128 MB, a copy of one at a time.
        used = sum(parts.values()) + (min(4 * trainable, 128 << 20) if gpus > 1 else 0)
        exchanged = 2 * 4 * trainable * ring * steps
    if method == "qlora":  # quantised on the GPU, whole, before each process gives up what is not its part
        used = max(used, parts["weights"] + parts["runtime"])
    products = (6 if method == "full" else 4) + 1
    # The last pass of a step may leave some GPUs without a row.
    computed = steps * passes * work.length * products * model.parameters / (hardware.flops * hardware.share)
    seconds = computed + exchanged / bandwidth
    return Cost(int(used), seconds, exchanged / bandwidth / seconds)


def table(hardware: Hardware, work: Work) -> Iterator[str]:
    """Markdown: for each model and way the least memory a GPU, and the time by the number of GPUs."""
    counts = (1, 2, 4, 8, 16, 32, 64)
    yield "| model | strategy | " + " | ".join(f"{count} GPU{'s' * (count > 1)}" for count in counts) + " |"
    yield "|---|---|" + "---|" * len(counts)
    ways: tuple[tuple[str, Method, Strategy], ...] = (
        ("QLoRA, data parallel", "qlora", "data_parallel"),
        ("QLoRA, FSDP", "qlora", "fsdp"),
        ("LoRA, data parallel", "lora", "data_parallel"),
        ("LoRA, FSDP", "lora", "fsdp"),
        ("full, data parallel", "full", "data_parallel"),
        ("full, FSDP", "full", "fsdp"),
    )
    for name in MODELS:
        for title, method, strategy in ways:
            cells = []
            for count in counts:
                found = cost(name, method, strategy, count, hardware, work)
                if strategy == "fsdp" and count == 1:
                    cells.append("")
                    continue
                fits = found.bytes <= 0.9 * hardware.gpu_bytes
                took = (
                    f"{found.seconds / 60:.2g} min"
                    if found.seconds < 3600
                    else f"{found.seconds / 3600:.1f} h"
                )
                cells.append(
                    f"{found.bytes / 1e9:.0f} GB, {took}" if fits else f"({found.bytes / 1e9:.0f} GB)"
                )
            yield f"| {name} | {title} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    print("\n".join(table(Hardware(), Work())))


if __name__ == "__main__":
    main()
