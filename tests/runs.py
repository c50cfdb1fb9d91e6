"""Runs as training would have left them, made in a moment from tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from studio.domain.chat import Conversation, Message
from studio.domain.config import RunConfig
from studio.domain.events import Finished, Started
from studio.engine import integrity
from studio.engine.models import load_base
from studio.engine.templates import resolve
from studio.engine.tokenizer import load_tokenizer
from studio.engine.tuned import TunedRun
from studio.services.log import EventLog
from studio.services.run_files import RunFiles, State
from studio.services.store import Store
from tests.tiny import tiny_model

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ROWS = [
    Conversation((Message("user", f"Question {number}?"), Message("assistant", f"Answer {number}.")), number)
    for number in range(1, 11)
]


def lora() -> LoraConfig:
    return LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=LINEAR)


def tuned_run(folder: Path, method: str = "lora", dtype: str = "float32", **changes: Any) -> TunedRun:
    """A tiny base and what training would have left: an adapter, or for `full` a whole other model.

    `changes` go into the base's configuration.
    """
    base = tiny_model(folder / "base", dtype=dtype, **changes)
    tokenizer = load_tokenizer(base)
    train = {
        "method": method,
        "dtype": dtype,
        "rank": 4,
        "alpha": 8,
        "target_modules": LINEAR,
        "learning_rate": 1e-3,
    }
    config = RunConfig.model_validate(
        {"model": {"id": "tiny"}, "data": {"path": "rows.jsonl"}, "train": train}
    )
    template = resolve("model", tokenizer)
    if method == "full":
        weights = tiny_model(folder / "model", seed=1)
        return TunedRun("run-1", "run", config, base, template, tokenizer, "model", weights)
    model = get_peft_model(load_base(base, dtype="float32", device="cpu", quantize=False), lora())
    torch.manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(str(folder / "adapter"))
    return TunedRun("run-1", "run", config, base, template, tokenizer, "adapter", folder / "adapter")


def finished_run(store: Store, name: str = "tuned", method: str = "lora") -> RunFiles:
    """A run in the store that came to its end; the last two of its ten rows were kept from training."""
    files = RunFiles(store.new_run_dir(name))
    run = tuned_run(files.folder, method)
    files.write_data(ROWS[:8], ROWS[8:])
    files.write_resolved(run.config)
    files.write_env(
        {"model_path": str(run.model_path), "versions": {"torch": "2.13.0"}, "sha256": {"encoded": "ab12"}}
    )
    files.template.write_text(run.template.source, encoding="utf-8")
    log = EventLog(files.events)
    log.append(
        Started(
            run=files.id,
            steps=3,
            rows=8,
            held_out_rows=2,
            tokens=240,
            trained_tokens=88,
            encoded_sha256="ab12",
        )
    )
    log.append(
        Finished(state="finished", metrics={"steps": 3.0, "loss": 0.5, "eval_loss": 0.75}, seconds=1.5)
    )
    files.write_state(State("finished"))
    files.write_run(run.config, name)
    return files


def with_checkpoint(files: RunFiles, factor: float) -> RunFiles:
    """The run with a checkpoint of step 5, whose weights are the result's times a factor."""
    weights = load_file(files.adapter / "adapter_model.safetensors")
    kept = files.checkpoints / "step-000005"
    kept.mkdir(parents=True)
    early = {name.replace(".weight", ".default.weight"): factor * tensor for name, tensor in weights.items()}
    save_file(early, kept / "weights.safetensors")
    integrity.seal(kept, integrity.CHECKPOINT, {})
    return files
