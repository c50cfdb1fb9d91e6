"""Training speed against TRL and LLaMA-Factory on the same rows, in one run:
python -m tests.bench.training FILE [--model DIR] [--llama-factory PYTHON]

Real (non-padding) tokens a second over optimizer steps of LoRA r=16 on all linear layers, effective batch 8, length
512, after one step that is not counted. TRL runs with its own defaults, and with the weights in the working type,
without checkpointing and with rows grouped by length (its best settings on a CPU that we know of); LLaMA-Factory, which
is run by the Python that it is installed for, with its defaults in bfloat16, without checkpointing, and with what its
users can switch on besides: rows grouped by length, and packing that keeps rows apart. Grouped rows come longest first
within some hundred, so that `--steps` should be 24: those of an epoch's third. MFU is the share of the fastest matrix
product measured in the same run that useful operations take: (4 N + 6 N of the adapter) a real token. `--dtype float32`
is for processors without bfloat16 arithmetic; TRL's bfloat16 autocast is then off too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studio.domain.encoded import Encoded

ENGINES = ("studio", "trl", "trl-best")
_UNCHECKED = "disable_gradient_checkpointing=true"
PEERS = {
    "llama-factory": [],
    "llama-factory, no checkpointing": [_UNCHECKED],
    "llama-factory, grouped": [_UNCHECKED, 'train_sampling_strategy="group_by_length"'],
    "llama-factory, packed": [_UNCHECKED, "neat_packing=true"],
}
_SLOW = ("trl", "llama-factory", "llama-factory, no checkpointing")
"""Whose rows come in random order: a third of the steps is enough."""
RANK = 16


@dataclass(frozen=True)
class Outcome:
    """Of one engine's run."""

    tokens_per_second: float
    """Real tokens, without those of the first step."""
    memory_bytes: int
    """The most that was allocated on a GPU, or resident."""
    losses: list[float]
    """Of each step."""


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


def studio(rows: list[Encoded], model: Path, steps: int, device: str = "cpu", **settings: Any) -> Outcome:
    """This engine; `settings` as in `TrainConfig`."""
    from studio.domain.config import TrainConfig
    from studio.domain.events import Event, Metric
    from studio.engine.train import TrainJob, train

    given: dict[str, Any] = {
        "method": "lora",
        "rank": RANK,
        "alpha": 2.0 * RANK,
        "learning_rate": 1e-4,
        "scheduler": "linear",
        "warmup_ratio": 0.0,
        "weight_decay": 0.0,
        "epochs": 1.0,
        "max_steps": steps + 1,
        "batch_size": 8,
        "micro_batch_size": 8,
        "max_length": 512,
        "gradient_checkpointing": False,
        "save_steps": 10_000,
        "eval_steps": 10_000,
    }
    config = TrainConfig.model_validate(given | settings)
    marks: list[tuple[float, int]] = []
    losses: list[float] = []

    def emit(event: Event) -> None:
        if isinstance(event, Metric) and event.loss is not None:
            marks.append((time.perf_counter(), event.tokens))
            losses.append(event.loss)

    with tempfile.TemporaryDirectory() as folder:
        train(TrainJob("bench", model, config, rows, [], Path(folder), device, 0), emit, lambda: False)
    return Outcome(_speed(marks), _peak(device), losses)


def trl(
    rows: list[Encoded],
    model: Path,
    steps: int,
    base: dict[str, Any],
    device: str = "cpu",
    fed: list[list[int]] | None = None,
    **settings: Any,
) -> Outcome:
    """SFTTrainer with the batches `fed`, or its own; `base` goes to `from_pretrained`, `settings` to SFTConfig."""
    import datasets
    import torch
    import trl
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    data = datasets.Dataset.from_list(
        [{"input_ids": list(row.input_ids), "labels": list(row.labels)} for row in rows]
    )
    tokens, marks = [0], list[tuple[float, int]]()

    class Counting(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append((time.perf_counter(), tokens[0]))

    class Counted(trl.SFTTrainer):  # type: ignore[misc, name-defined]
        def get_train_dataloader(self) -> Any:
            if fed is None:
                return super().get_train_dataloader()
            return torch.utils.data.DataLoader(data, batch_sampler=fed, collate_fn=self.data_collator)

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
            tokens[0] += (
                int(inputs["attention_mask"].sum())
                if "attention_mask" in inputs
                else inputs["input_ids"].numel()
            )
            return super().compute_loss(model, inputs, *args, **options)

    given: dict[str, Any] = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "max_steps": steps + 1,
        "max_length": 512,
        "logging_steps": 1,
        "report_to": [],
        "use_cpu": device == "cpu",
        "save_strategy": "no",
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "remove_unused_columns": False,
        "completion_only_loss": False,
    }
    torch.manual_seed(42)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Counted(
            model=AutoModelForCausalLM.from_pretrained(model, **base),
            processing_class=AutoTokenizer.from_pretrained(model),
            args=trl.SFTConfig(output_dir=folder, **given | settings),
            train_dataset=data,
            peft_config=LoraConfig(
                r=RANK, lora_alpha=2 * RANK, task_type="CAUSAL_LM", target_modules="all-linear"
            ),
            callbacks=[Counting()],
        )
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Outcome(_speed(marks), _peak(device), losses)


def _speed(marks: list[tuple[float, int]]) -> float:
    """Tokens a second between the end of the first step and that of the last, from (seconds, tokens so far)."""
    return (marks[-1][1] - marks[0][1]) / (marks[-1][0] - marks[0][0])


def _peak(device: str) -> int:
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(used if sys.platform == "darwin" else used * 1024)


def matmul_peak(dtype: str) -> float:
    """FLOP/s of the fastest of some large matrix products on the CPU."""
    import torch

    size, best = 2048, float("inf")
    a = torch.randn(size, size).to(getattr(torch, dtype))
    for _ in range(8):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def useful_flops(model: Path) -> float:
    """A real token: forward and backward through frozen weights, and through an adapter that is trained."""
    from studio.engine.model_facts import facts
    from studio.engine.models import inspect

    info = inspect(model, str(model))
    known = facts(info.config, info.parameters)
    return 4.0 * known.parameters + 6.0 * known.adapter_parameters(RANK)


def run(engine: str, file: str, model: Path, rows: int, steps: int, dtype: str) -> Outcome:
    data = encoded(file, model, rows)
    if engine == "studio":
        return studio(data, model, steps, dtype=dtype)
    import torch

    plain = {} if dtype == "bfloat16" else {"bf16": False}
    if engine == "trl":
        return trl(data, model, steps, {"dtype": torch.float32}, **plain)
    best = {"activation_checkpointing": False, "train_sampling_strategy": "group_by_length"}
    return trl(data, model, steps, {"dtype": getattr(torch, dtype)}, **plain, **best)


def in_own_process(
    module: str, arguments: list[str], *, ours: bool, python: str | None = None
) -> dict[str, Any]:
    """What the last line of a process says; ours gets the environment that the studio starts a run in.

    Another `python` is given the module's file: it knows nothing of the studio.
    """
    from studio.services.process import environment

    command = [sys.executable, "-m", module] if python is None else [python, f"{module.replace('.', '/')}.py"]
    done = subprocess.run(
        [*command, *arguments],
        env=environment(keeps_memory=True) if ours else dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def main() -> None:
    """One process an engine and round, in turn; prints each figure and the ratios of the medians."""
    options = argparse.ArgumentParser()
    options.add_argument("file")
    options.add_argument("--model", type=Path, default=Path.home() / ".studio" / "models" / "starter")
    options.add_argument("--rows", type=int, default=600)
    options.add_argument("--steps", type=int, default=24)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    options.add_argument("--only", choices=ENGINES)
    options.add_argument("--llama-factory", metavar="PYTHON")
    given = options.parse_args()
    if given.only:
        outcome = run(given.only, given.file, given.model, given.rows, given.steps, given.dtype)
        print(json.dumps(asdict(outcome)))
        return
    found: dict[str, list[float]] = {
        engine: [] for engine in (*ENGINES, *(PEERS if given.llama_factory else ()))
    }
    peaks = []
    for _ in range(given.rounds):
        peaks.append(matmul_peak(given.dtype))
        for engine, speeds in found.items():
            steps = max(1, given.steps // 3) if engine in _SLOW else given.steps
            if engine in PEERS:
                shared = [given.file, str(given.model), str(given.rows), str(steps), str(RANK)]
                said = in_own_process(
                    "tests.bench.llama_factory",
                    [*shared, *PEERS[engine]],
                    ours=False,
                    python=given.llama_factory,
                )
            else:
                arguments = [*sys.argv[1:], "--only", engine, "--steps", str(steps)]
                said = in_own_process("tests.bench.training", arguments, ours=engine == "studio")
            speeds.append(said["tokens_per_second"])
            print(f"{engine}: {speeds[-1]:.1f} tokens/s, {said['memory_bytes'] / 1e9:.2f} GB", flush=True)
    peak, flops = max(peaks), useful_flops(given.model)
    print(f"matrix products in {given.dtype}: {peak / 1e9:.0f} GFLOP/s")
    medians = {engine: sorted(speeds)[len(speeds) // 2] for engine, speeds in found.items()}
    for engine, median in medians.items():
        ratio = medians["studio"] / median
        print(f"{engine}: {median:.1f} tokens/s, MFU {flops * median / peak:.1%}, studio / it {ratio:.2f}")


if __name__ == "__main__":
    main()
