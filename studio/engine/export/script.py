"""A run as a stand-alone script: with its data, order and rates it trains the same again, without the studio."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from studio.domain.chat import Conversation
from studio.domain.config import TrainConfig
from studio.domain.encoded import Encoded
from studio.domain.errors import StudioError
from studio.engine.assets import ASSETS
from studio.engine.export.merge import is_hub_id
from studio.engine.steps import plan_steps
from studio.engine.tuned import TunedRun

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "safetensors")


@dataclass(frozen=True)
class Recipe:
    """What a run was fed, and what came of it, step by step."""

    rows: Sequence[Encoded]
    texts: Sequence[Conversation]
    """The rows before they were encoded."""
    rates: Sequence[float]
    """Of each step up to the one whose weights are the result."""
    losses: Sequence[float]
    threads: int
    base_sha256: Mapping[str, str]
    continued: bool
    """Whether its adapter began as an earlier run's."""


def check_repeatable(run: TunedRun, recipe: Recipe) -> None:
    """Raises StudioError where the script would train something else."""
    train = run.config.train
    reasons = {
        "an adapter that goes on from an earlier one": recipe.continued,
        "noise on embeddings": train.neftune_alpha > 0,
        "holding on to general skills": train.ewc > 0,
        "PiSSA": train.adapter_start == "pissa",
        "an optimiser other than `adamw`": train.optimizer != "adamw",
        "a run that was stopped": run.kind == "checkpoint",
    }
    for what, found in reasons.items():
        if found:
            raise StudioError(
                "A script cannot repeat {what}.",
                "Its folder holds all that the studio needs to go on from it or to train it again.",
                what=what,
            )


def script_bytes(run: TunedRun, recipe: Recipe) -> int:
    """About how large the folder will be: most of it is the result to compare with."""
    tokens = sum(row.total for row in recipe.rows)
    return sum(file.stat().st_size for file in run.weights.glob("*.safetensors")) + 24 * tokens


def write_script(run: TunedRun, recipe: Recipe, folder: Path) -> None:
    """train.py with recipe, data, template, requirements and the run's own result."""
    shutil.copyfile(ASSETS / "script" / "train.py", folder / "train.py")
    _write(folder / "recipe.json", _settings(run, recipe))
    pinned = "".join(f"{name}=={version(name).partition('+')[0]}\n" for name in _packages(run.config.train))
    (folder / "requirements.txt").write_text(pinned, encoding="utf-8")
    (folder / "chat_template.jinja").write_text(run.template.source, encoding="utf-8", newline="\n")
    (folder / "README.md").write_text(readme(run), encoding="utf-8")
    (folder / "data").mkdir()
    _write_lines(
        folder / "data" / "encoded.jsonl",
        [{"input_ids": [*row.input_ids], "labels": [*row.labels]} for row in recipe.rows],
    )
    _write_lines(folder / "data" / "rows.jsonl", [row.to_json() for row in recipe.texts])
    (folder / "expected").mkdir()
    for file in sorted(run.weights.glob("*.safetensors")):
        shutil.copyfile(file, folder / "expected" / file.name)


def readme(run: TunedRun) -> str:
    """What the folder is, and how close its result comes to the run's."""
    train = run.config.train
    if train.dropout:
        same = "The adapter's dropout is drawn anew, so the result is near the run's, not the same."
    elif train.plain:
        same = (
            "The run's operations were plain, so the result is the same to the last bit on the same machine, with the "
            "same versions and number of threads. On another machine it is the same up to rounding."
        )
    else:
        same = (
            "The run was trained with the studio's own faster operations, whose sums are in another order, so the "
            "result is the same up to rounding. A run with `train.plain` is repeated to the last bit."
        )
    return _README.format(name=run.name, same=same, python=".".join(platform.python_version_tuple()[:2]))


_README = """\
# {name}, as a script

`train.py` trains the run again with transformers, PEFT and PyTorch alone. It needs Python {python} and the base model.

```sh
cd .  # where this file lies
pip install -r requirements.txt
python train.py  # writes result/, then says how far it is from expected/
```

{same}

| File | Holds |
|---|---|
| `train.py` | the training, to be read |
| `recipe.json` | settings, which rows make up which step, and each step's learning rate and loss |
| `data/encoded.jsonl` | the rows as token ids with labels; -100 is read, not learnt |
| `data/rows.jsonl` | the same rows to read |
| `chat_template.jinja` | the template that wrote them |
| `requirements.txt` | the versions of the run's machine |
| `expected/` | the run's own result |
"""


def _packages(train: TrainConfig) -> tuple[str, ...]:
    return (*_PACKAGES, "bitsandbytes") if train.method == "qlora" else _PACKAGES


def _settings(run: TunedRun, recipe: Recipe) -> dict[str, Any]:
    """recipe.json."""
    train, model = run.config.train, run.config.model
    steps = plan_steps(len(recipe.rows), train.batch_size, train.epochs or 1.0, train.max_steps, train.seed)
    return {
        "run": run.name,
        "base": model.id if is_hub_id(run) else str(run.model_path),
        "revision": model.revision if is_hub_id(run) else None,
        "base_sha256": dict(recipe.base_sha256),
        "method": train.method,
        "adapter": None if run.full else _adapter(run),
        "dtype": train.dtype,
        "gradient_checkpointing": bool(train.gradient_checkpointing),
        "seed": train.seed,
        "threads": recipe.threads,
        "pad_token_id": run.tokenizer.pad_id,
        "batch_size": train.batch_size,
        "micro_batch_size": train.micro_batch_size or train.batch_size,
        "weight_decay": train.weight_decay,
        "lora_plus_ratio": 1.0 if run.full else train.lora_plus_ratio,
        "max_grad_norm": train.max_grad_norm,
        "steps_an_epoch": steps.steps_an_epoch,
        "learning_rates": [*recipe.rates],
        "losses": [*recipe.losses],
        "steps": [steps.batch(step) for step in range(len(recipe.rates))],
    }


def _adapter(run: TunedRun) -> dict[str, Any]:
    """What PEFT's LoraConfig is made with."""
    train = run.config.train
    written = json.loads((run.weights / "adapter_config.json").read_text(encoding="utf-8"))
    return {
        "task_type": "CAUSAL_LM",
        "r": train.rank,
        "lora_alpha": train.alpha,
        "lora_dropout": train.dropout,
        "target_modules": sorted(written["target_modules"]),
        "use_rslora": train.rank_stabilized,
        "use_dora": train.dora,
        "bias": "none",
    }


def _write(file: Path, data: Mapping[str, Any]) -> None:
    """Indented, but lists of numbers on one line."""
    lines = (f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in data.items())
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _write_lines(file: Path, records: Sequence[Mapping[str, Any]]) -> None:
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    file.write_text("".join(lines), encoding="utf-8")
