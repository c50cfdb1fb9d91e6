"""Training speed against TRL on the same rows, in one run: python -m tests.bench.training FILE [--model DIR]

Real (non-padding) tokens a second over the same optimizer steps of LoRA r=16 on all linear layers, effective batch 8,
length 512, after one step that is not counted. TRL runs with its own defaults, and with bf16 weights, without
checkpointing and with rows grouped by length (its best settings on a CPU that we know of).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from studio.domain.encoded import Encoded

ENGINES = ("studio", "trl", "trl-best")


def encoded(file: str, model: Path, rows: int) -> list[Encoded]:
    """The first rows of a file as ids and labels, at most 512 tokens each."""
    from studio.domain.config import TemplateConfig
    from studio.engine.dataset import read
    from studio.engine.encode import encoder_for, select
    from studio.engine.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(model)
    conversations = read(file).conversations[:rows]
    encoder = encoder_for(TemplateConfig(), tokenizer)
    return list(select(encoder, conversations, encoder.encode_many(conversations), 512, "cut").rows)


def studio(rows: list[Encoded], model: Path, steps: int) -> float:
    """Tokens a second of this engine."""
    from studio.domain.config import TrainConfig
    from studio.domain.events import Event, Metric
    from studio.engine.train import TrainJob, train

    config = TrainConfig(
        method="lora",
        learning_rate=1e-4,
        epochs=1.0,
        max_steps=steps + 1,
        batch_size=8,
        micro_batch_size=8,
        max_length=512,
        dtype="bfloat16",
        gradient_checkpointing=False,
        save_steps=10_000,
        eval_steps=10_000,
    )
    marks: list[tuple[float, int]] = []

    def emit(event: Event) -> None:
        if isinstance(event, Metric) and event.loss is not None:
            marks.append((time.perf_counter(), event.tokens))

    with tempfile.TemporaryDirectory() as folder:
        train(TrainJob("bench", model, config, rows, [], Path(folder), "cpu", 0), emit, lambda: False)
    return (marks[-1][1] - marks[0][1]) / (marks[-1][0] - marks[0][0])


def trl(rows: list[Encoded], model: Path, steps: int, best: bool) -> float:
    """Tokens a second of SFTTrainer."""
    import datasets
    import torch
    import trl
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    dtype = torch.bfloat16 if best else torch.float32
    data = datasets.Dataset.from_list(
        [{"input_ids": list(row.input_ids), "labels": list(row.labels)} for row in rows]
    )
    tokens, marks = [0], list[tuple[float, int]]()

    class Counting(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append((time.perf_counter(), tokens[0]))

    class Counted(trl.SFTTrainer):  # type: ignore[misc, name-defined]
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
            tokens[0] += (
                int(inputs["attention_mask"].sum())
                if "attention_mask" in inputs
                else inputs["input_ids"].numel()
            )
            return super().compute_loss(model, inputs, *args, **options)

    settings: dict[str, Any] = (
        {"activation_checkpointing": False, "train_sampling_strategy": "group_by_length"} if best else {}
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Counted(
            model=AutoModelForCausalLM.from_pretrained(model, dtype=dtype),
            processing_class=AutoTokenizer.from_pretrained(model),
            args=trl.SFTConfig(
                output_dir=folder,
                per_device_train_batch_size=4,
                gradient_accumulation_steps=2,
                max_steps=steps + 1,
                max_length=512,
                report_to=[],
                use_cpu=True,
                save_strategy="no",
                dataset_kwargs={"skip_prepare_dataset": True},
                remove_unused_columns=False,
                completion_only_loss=False,
                **settings,
            ),
            train_dataset=data,
            peft_config=LoraConfig(r=16, lora_alpha=32, task_type="CAUSAL_LM", target_modules="all-linear"),
            callbacks=[Counting()],
        )
        trainer.train()
    return (marks[-1][1] - marks[0][1]) / (marks[-1][0] - marks[0][0])


def main() -> None:
    """One process an engine and round, in turn; prints each figure and the ratios of the medians."""
    options = argparse.ArgumentParser()
    options.add_argument("file")
    options.add_argument("--model", type=Path, default=Path.home() / ".studio" / "models" / "starter")
    options.add_argument("--rows", type=int, default=600)
    options.add_argument("--steps", type=int, default=6)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", choices=ENGINES)
    given = options.parse_args()
    if given.only:
        rows = encoded(given.file, given.model, given.rows)
        engine = given.only
        speed = (
            studio(rows, given.model, given.steps)
            if engine == "studio"
            else trl(rows, given.model, given.steps, engine == "trl-best")
        )
        print(f"{engine} {speed:.1f}")
        return
    from studio.services.process import environment

    found: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    for _ in range(given.rounds):
        for engine, speeds in found.items():
            command = [sys.executable, "-m", "tests.bench.training", *sys.argv[1:], "--only", engine]
            done = subprocess.run(
                command,
                env=environment() if engine == "studio" else dict(os.environ),
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr[-2000:]
            speeds.append(float(done.stdout.split()[-1]))
            print(f"{engine}: {speeds[-1]:.1f} tokens/s", flush=True)
    medians = {engine: sorted(speeds)[len(speeds) // 2] for engine, speeds in found.items()}
    for engine in ENGINES[1:]:
        print(f"studio / {engine}: {medians['studio'] / medians[engine]:.2f}")


if __name__ == "__main__":
    main()
