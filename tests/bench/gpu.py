"""QLoRA of an 8B-shaped model on a GPU, against TRL, and memory against its estimate: python -m tests.bench.gpu

The model has the shape of Llama 3.1 8B and random weights, so that nothing is downloaded: 16 GB in a temporary folder
(`--folder`: within this one). Rows have lengths like those of general instruction data and random tokens. Three tables:

- speed and peak memory of this engine and of TRL's SFTTrainer with its defaults (batch 8), NF4, LoRA r=16 on all linear
  layers, at most 512 tokens a row;
- both engines' losses on the same batches, step by step;
- peak memory of several configurations of this engine against what is estimated before the start.

`--device cpu --tiny` walks through all of it with a model of 90,000 weights; what it measures then means nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from studio.domain.encoded import IGNORED, Encoded
from studio.domain.machine import Machine
from tests.bench.training import Outcome, in_own_process, studio, trl

SHAPE = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
    "bos_token_id": 1,
    "eos_token_id": 2,
}
TINY = SHAPE | {
    "vocab_size": 259,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
ROWS = 160
COMPARED: dict[str, Any] = {"method": "qlora", "dtype": "bfloat16"}
CONFIGURATIONS: tuple[dict[str, Any], ...] = (
    {"micro_batch_size": 1},
    {"micro_batch_size": 4},
    {"micro_batch_size": 8},
    {"micro_batch_size": 8, "gradient_checkpointing": True},
    {"micro_batch_size": 8, "gradient_checkpointing": True, "rank": 64, "alpha": 128.0},
    {"micro_batch_size": 4, "gradient_checkpointing": True, "dora": True},
    {"micro_batch_size": 2, "max_length": 2048},
    {"micro_batch_size": 8, "max_length": 2048, "gradient_checkpointing": True},
    {"micro_batch_size": 1, "method": "lora"},
    {"micro_batch_size": 4, "method": "lora", "gradient_checkpointing": True},
    {"micro_batch_size": 4, "packing": False, "gradient_checkpointing": True},
    {"micro_batch_size": 4, "optimizer": "adamw_8bit", "gradient_checkpointing": True},
)


def write_model(folder: Path, shape: dict[str, Any], device: str) -> None:
    """Random weights in bfloat16, made where there is room for them, and a tokenizer, which is only there to load."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.tiny import tiny_tokenizer

    tiny_tokenizer(folder)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(LlamaConfig(**shape))
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)


def made_rows(vocabulary: int, longest: int) -> list[Encoded]:
    """A quarter of each is a prompt. For longer limits they are as much longer."""
    drawn = random.Random(0)
    rows = []
    for number in range(ROWS):
        length = min(longest, max(16, int(drawn.lognormvariate(5.0, 0.7) * longest / 512)))
        ids = [drawn.randrange(3, vocabulary) for _ in range(length)]
        prompt = length // 4
        rows.append(Encoded(ids, [*[IGNORED] * prompt, *ids[prompt:]], (), "", number + 1))
    return rows


def ours(folder: Path, device: str, steps: int, settings: dict[str, Any]) -> Outcome:
    settings = COMPARED | settings
    rows = made_rows(_vocabulary(folder), settings.get("max_length", 512))
    return studio(rows, folder, steps, device, **settings)


def theirs(folder: Path, device: str, steps: int) -> Outcome:
    """TRL with its defaults, on the batches that ours takes."""
    import torch
    from transformers import BitsAndBytesConfig

    from studio.engine.steps import plan_steps

    rows = made_rows(_vocabulary(folder), 512)
    order = plan_steps(len(rows), 8, 1.0, None, 42)
    base = {
        "dtype": torch.bfloat16,
        "device_map": {"": device},
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        ),
    }
    return trl(
        rows,
        folder,
        steps,
        base,
        device,
        fed=[list(order.batch(step)) for step in range(order.count)],
        per_device_train_batch_size=8,
        gradient_accumulation_steps=1,
        learning_rate=1e-4,
    )


def estimated(folder: Path, machine: Machine, settings: dict[str, Any]) -> int:
    """Bytes; on a GPU without the libraries' own, which what is measured there has not either."""
    from studio.domain.config import TrainConfig
    from studio.engine import memory
    from studio.engine.model_facts import facts
    from studio.engine.models import inspect

    whole = {"batch_size": 8, "rank": 16, "epochs": 1.0, "seed": 42, "gradient_checkpointing": False}
    train = TrainConfig.model_validate(whole | COMPARED | settings)
    info = inspect(folder, str(folder))
    lengths = [row.total for row in made_rows(_vocabulary(folder), settings.get("max_length", 512))]
    by_part = memory.parts(train, machine, facts(info.config, info.parameters), lengths)
    return sum(size for part, size in by_part.items() if part != "runtime" or machine.device == "cpu")


def _vocabulary(folder: Path) -> int:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(config["vocab_size"])


def compare(folder: Path, given: argparse.Namespace) -> None:
    """The first two tables."""
    print("\n| engine | real tokens/s | peak memory |\n|---|---|---|")
    said = {"studio": _said(folder, given, {})}
    if find_spec("trl"):
        said["TRL's defaults"] = _said(folder, given, None)
    for name, one in said.items():
        print(f"| {name} | {one['tokens_per_second']:.0f} | {one['memory_bytes'] / 1e9:.2f} GB |")
    if len(said) == 1:
        print("\nTRL is not installed: `pip install -c constraints.txt -e '.[dev]'` brings it.")
        return
    first, second = said.values()
    speed = first["tokens_per_second"] / second["tokens_per_second"]
    memory = first["memory_bytes"] / second["memory_bytes"]
    print(f"| ratio | {speed:.2f} | {memory:.2f} |")
    print("\n| step | loss of studio | loss of TRL | relative difference |\n|---|---|---|---|")
    for step, (one, other) in enumerate(zip(first["losses"], second["losses"], strict=True), 1):
        print(f"| {step} | {one:.4f} | {other:.4f} | {abs(one - other) / other:.1e} |")


def fit(folder: Path, given: argparse.Namespace) -> None:
    """The third table."""
    from studio.engine.machine import probe

    machine = probe()
    print("\n| configuration | estimated | measured | difference |\n|---|---|---|---|")
    for settings in CONFIGURATIONS:
        wanted = estimated(folder, machine, settings)
        name = ", ".join(f"{key} {value}" for key, value in settings.items())
        try:
            peak = _said(folder, given, settings)["memory_bytes"]
        except AssertionError as error:  # such as one that does not fit: the others are still worth measuring
            print(f"| {name} | {wanted / 1e9:.2f} GB | {str(error).strip().splitlines()[-1][:80]} | |")
            continue
        print(
            f"| {name} | {wanted / 1e9:.2f} GB | {peak / 1e9:.2f} GB | {wanted / peak - 1:+.0%} |", flush=True
        )


def _said(folder: Path, given: argparse.Namespace, settings: dict[str, Any] | None) -> dict[str, Any]:
    """What a process of its own measures: ours with `settings`, TRL without."""
    arguments = ["--folder", str(folder), "--device", given.device, "--steps", str(given.steps)]
    part = ["--part", json.dumps(settings)]
    return in_own_process("tests.bench.gpu", [*arguments, *part], ours=settings is not None)


def main(arguments: Sequence[str] = tuple(sys.argv[1:])) -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    options.add_argument("--tiny", action="store_true")
    options.add_argument("--folder", type=Path)
    options.add_argument("--steps", type=int, default=10)
    options.add_argument("--part", help=argparse.SUPPRESS)
    given = options.parse_args(arguments)
    if given.part:
        settings = json.loads(given.part)
        outcome = (
            theirs(given.folder, given.device, given.steps)
            if settings is None
            else ours(given.folder, given.device, given.steps, settings)
        )
        print(json.dumps(asdict(outcome)))
        return
    if given.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            sys.exit("No GPU that this torch can use: `--device cpu --tiny` tries the command without one.")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        write_model(Path(folder), TINY if given.tiny else SHAPE, given.device)
        compare(Path(folder), given)
        fit(Path(folder), given)


if __name__ == "__main__":
    main()
