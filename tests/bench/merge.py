"""How long merging takes beside copying the same files, and how much memory: python -m tests.bench.merge [--rounds 3]

A Llama of 0.7 billion random bfloat16 weights in several files, with an adapter on every linear layer. Both are timed
until the files are on the disk, one after the other, so that the machine's moods fall on both.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from peft import get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from studio.engine.export.merge import write_merged
from studio.engine.tuned import TunedRun
from tests.runs import lora, tuned_run

SIZES = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 12,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 32000,
    "tie_word_embeddings": True,
}


def made(folder: Path) -> TunedRun:
    """The run to merge; it leaves no model in this process's memory, as another makes it."""
    base = folder / "large"
    if not base.is_dir() and os.fork() == 0:
        torch.set_default_dtype(torch.bfloat16)
        model = LlamaForCausalLM(LlamaConfig(**SIZES))
        model.save_pretrained(base, max_shard_size="300MB")
        get_peft_model(model, lora()).save_pretrained(str(folder / "large-adapter"))
        os._exit(0)
    os.wait()
    return replace(tuned_run(folder / "tiny"), model_path=base, weights=folder / "large-adapter")


def timed(work: Callable[[Path], None], out: Path) -> float:
    """Seconds until what `work` writes into `out` is on the disk."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    begun = time.monotonic()
    work(out)
    os.sync()
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as scratch:
        run = made(Path(scratch))
        files = sorted(run.model_path.glob("*.safetensors"))

        def copy(out: Path) -> None:
            for file in files:
                shutil.copyfile(file, out / file.name)

        def merge(out: Path) -> None:
            write_merged(run, out, "bfloat16", lambda done, total: None)

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        copies, merges = [], []
        for _ in range(rounds):
            copies.append(timed(copy, Path(scratch) / "out"))
            merges.append(timed(merge, Path(scratch) / "out"))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        size = sum(file.stat().st_size for file in files)
        print(f"{len(files)} files, {size / 1e9:.2f} GB")
        print(f"copy {statistics.median(copies):.1f} s, merge {statistics.median(merges):.1f} s")
        print(f"ratio {statistics.median(m / c for m, c in zip(merges, copies, strict=True)):.2f}")
        print(f"memory grew by {grown / 1024:.0f} MiB, with what is mapped of the files")


if __name__ == "__main__":
    main()
