"""Predicted against measured memory: python -m tests.bench.memory FILE.jsonl [--only NAME] [--minutes M] [--table]

Each configuration is a run of its own, by a real worker, of two optimizer steps over rows of equal length, or of 40
over real ones ("real rows"), with its checkpoint and its result. Measured is the most resident memory that its process
had at any time (VmHWM of /proc/PID/status, read until it ends): what the estimate's total predicts. Results are lines
of FILE.jsonl; what is there already is not done again, and no configuration is begun after M minutes. `shallow` is the
starter's first six layers, so that long rows take minutes rather than hours on a slow machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.domain.config import RunConfig, merge, parse_config
from studio.domain.run import ALIVE
from studio.engine.assets import ASSETS
from studio.services.jobs import Jobs
from studio.services.plan import plan
from studio.services.store import Store
from tests.bench.sample import SAMPLES

_SHALLOW_LAYERS = 6
_STEPS = 2
_NOTHING: dict[str, Any] = {}
LORA: dict[str, Any] = {
    "model.id": "starter",
    "train.method": "lora",
    "train.dtype": "float32",
    "train.rank": 16,
    "train.gradient_checkpointing": False,
    "evaluate.general_rows": 0,
    "data.held_out_share": 0.0,
}


def _sized(length: int, rows: int, **changes: Any) -> dict[str, Any]:
    """`rows` at once, each of `length` tokens; the names of changes have `__` for the point."""
    named = {key.replace("__", "."): value for key, value in changes.items()}
    return {
        **LORA,
        "train.max_length": length,
        "train.batch_size": rows,
        "train.micro_batch_size": rows,
        **named,
    }


def _real(file: Path, **changes: Any) -> dict[str, Any]:
    """Forty steps of eight rows as they come, with all that a run has by default."""
    sized = _sized(512, 8, data__path=str(file), train__max_steps=40, train__dtype="bfloat16", **changes)
    del sized["evaluate.general_rows"], sized["data.held_out_share"]
    return sized


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "LoRA, 128 x 1": _sized(128, 1),
    "LoRA, 128 x 8": _sized(128, 8),
    "LoRA, 512 x 2": _sized(512, 2),
    "LoRA, 512 x 8": _sized(512, 8),
    "LoRA, 512 x 2 in two portions": _sized(512, 2, train__batch_size=4),
    "LoRA, rank 64, 512 x 2": _sized(512, 2, train__rank=64),
    "LoRA, 2048 x 1": _sized(2048, 1),
    "LoRA, 2048 x 2, checkpointing": _sized(2048, 2, train__gradient_checkpointing=True),
    "LoRA, 512 x 8, checkpointing": _sized(512, 8, train__gradient_checkpointing=True),
    "LoRA, padded, 512 x 2": _sized(512, 2, train__packing=False),
    "LoRA with dropout, 512 x 2": _sized(512, 2, train__dropout=0.05),
    "DoRA, 128 x 8": _sized(128, 8, train__dora=True),
    "LoRA, EWC, 512 x 2": _sized(512, 2, train__ewc=1000.0),
    "LoRA, evaluation and gauge, 512 x 2": _sized(
        512, 2, evaluate__general_rows=8, data__held_out_share=0.5, train__eval_steps=1
    ),
    "LoRA, bfloat16, 128 x 1": _sized(128, 1, train__dtype="bfloat16"),
    "LoRA, bfloat16, shallow, 512 x 1": _sized(512, 1, train__dtype="bfloat16", model__id="shallow"),
    "LoRA, bfloat16, real rows of the sample": _real(SAMPLES / "support-train.jsonl"),
    "LoRA, bfloat16, real rows of the general set": _real(ASSETS / "general" / "general.jsonl"),
    "LoRA, shallow, 2048 x 8": _sized(2048, 8, model__id="shallow"),
    "LoRA, shallow, 2048 x 2": _sized(2048, 2, model__id="shallow"),
    "LoRA, shallow, 2048 x 8, checkpointing": _sized(
        2048, 8, model__id="shallow", train__gradient_checkpointing=True
    ),
    "QLoRA, 128 x 8": _sized(128, 8, train__method="qlora"),
    "QLoRA, 512 x 2, checkpointing": _sized(
        512, 2, train__method="qlora", train__gradient_checkpointing=True
    ),
    "full, 128 x 1": _sized(128, 1, train__method="full"),
    "full, 512 x 2": _sized(512, 2, train__method="full"),
    "full, 512 x 2, checkpointing": _sized(512, 2, train__method="full", train__gradient_checkpointing=True),
    "full, bfloat16, shallow, 128 x 2": _sized(
        128, 2, train__method="full", train__dtype="bfloat16", model__id="shallow"
    ),
}


def write_rows(file: Path, letters: int) -> None:
    """Enough rows for two steps of any configuration, each of about `letters` characters of the general set's words."""
    with (ASSETS / "general" / "general.jsonl").open(encoding="utf-8") as lines:
        said = [message["content"] for line in lines for message in json.loads(line)["messages"]]
    words = " ".join(text for text in said if text.isascii())
    rows = []
    for number in range(_STEPS * 8):
        start = number * letters % (len(words) - letters)
        answer = words[start : start + letters]
        messages = [{"role": "user", "content": f"Text {number}?"}, {"role": "assistant", "content": answer}]
        rows.append(json.dumps({"messages": messages}, ensure_ascii=False))
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")


def configured(store: Store, changes: dict[str, Any]) -> RunConfig:
    """One configuration, with rows that fill its length."""
    length = int(changes["train.max_length"])
    rows = store.home / f"rows-{length}.jsonl"
    if not rows.is_file():
        write_rows(rows, 8 * length)
    fixed = {"data.path": str(rows), "train.max_steps": _STEPS, "train.epochs": 4, "data.overlong": "cut"}
    return parse_config(merge(_NOTHING, {"train.eval_steps": 10_000, **fixed, **changes}))


def write_shallow(store: Store) -> None:
    """The starter's first layers as a model of its own."""
    folder = store.models_dir / "shallow"
    if folder.is_dir():
        return
    from transformers import AutoModelForCausalLM

    starter = store.models_dir / "starter"
    model: Any = AutoModelForCausalLM.from_pretrained(starter)
    model.model.layers = model.model.layers[:_SHALLOW_LAYERS]
    model.config.num_hidden_layers = _SHALLOW_LAYERS
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(starter / name, folder / name)


def measured(jobs: Jobs, config: RunConfig) -> dict[str, int]:
    """Bytes: the most that the run's process had resident in all, and of that neither shared nor of files."""
    run_id = jobs.submit(config)
    peaks = {"VmHWM": 0, "RssAnon": 0}
    while (run := jobs.get(run_id)).state in ALIVE:
        for name, size in _memory(run.pid):
            if name in peaks:
                peaks[name] = max(peaks[name], size)
        time.sleep(0.05)
    assert run.state == "finished", run
    jobs.delete(run_id)
    return peaks


def _memory(pid: int | None) -> Iterator[tuple[str, int]]:
    """Name and bytes of each line of a process's status; nothing of one that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        name, _, value = line.partition(":")
        if value.endswith("kB"):
            yield name, 1024 * int(value.split()[0])


def done(file: Path) -> dict[str, dict[str, Any]]:
    """The results so far, by configuration; of one measured again, the last."""
    if not file.is_file():
        return {}
    results = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {result["configuration"]: result for result in results}


def table(store: Store, file: Path) -> None:
    """Prediction and measurement of each, and how far they are apart."""
    print("| configuration | predicted, GB | measured, GB | error |\n|---|---|---|---|")
    for name, result in done(file).items():
        if name not in CONFIGURATIONS:
            continue
        predicted = plan(store, configured(store, CONFIGURATIONS[name])).estimate.memory["total"]
        error = predicted / result["VmHWM"] - 1
        print(f"| {name} | {predicted / 1e9:.2f} | {result['VmHWM'] / 1e9:.2f} | {error:+.1%} |")


def main() -> None:
    """Measure what is missing, or print the table."""
    options = argparse.ArgumentParser()
    options.add_argument("file", type=Path)
    options.add_argument("--home")
    options.add_argument("--only", action="append", choices=[*CONFIGURATIONS])
    options.add_argument("--again", action="store_true", help="measure what is there already once more")
    options.add_argument("--minutes", type=float, default=60.0)
    options.add_argument("--table", action="store_true")
    given = options.parse_args()
    store = Store(given.home)
    begun = time.monotonic()
    write_shallow(store)
    for name in [] if given.table else given.only or CONFIGURATIONS:
        known = name in done(given.file) and not given.again
        if known or time.monotonic() - begun > 60 * given.minutes:
            continue
        started = time.monotonic()
        found = measured(Jobs(store), configured(store, CONFIGURATIONS[name]))
        result = {"configuration": name, **found, "seconds": round(time.monotonic() - started)}
        with given.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(result, ensure_ascii=False) + "\n")
        print(result, flush=True)
    if given.table:
        table(store, given.file)


if __name__ == "__main__":
    main()
