"""One process against several here, on the same run: python -m tests.bench.scaling FILE.jsonl [--processes 2]

Told are real tokens a second in optimizer steps, and the peak of memory of all processes that train: one, several that
each hold the whole base, and several that each hold a part of it (FSDP). The runs are done one after the other on the
starter model, LoRA, in bfloat16; on a CPU several processes share the cores that one had.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import psutil

from studio.domain.config import RunConfig, parse_config
from studio.domain.run import ALIVE
from studio.services.jobs import Jobs
from studio.services.store import Store, default_home


def measured(store: Store, config: RunConfig) -> tuple[float, int]:
    """Tokens a second, and bytes."""
    jobs, peak = Jobs(store), 0
    run = jobs.submit(config)
    while (now := jobs.get(run)).state in ALIVE:
        if now.pid and psutil.pid_exists(now.pid):
            try:
                family = [psutil.Process(now.pid), *psutil.Process(now.pid).children(recursive=True)]
                peak = max(peak, sum(process.memory_info().rss for process in family))
            except psutil.Error:
                pass
        time.sleep(0.5)
    if now.state != "finished":
        raise SystemExit(f"{now.state}: {now.reason}")
    return now.metrics["tokens"] / now.metrics["train_seconds"], peak


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()
    store = Store(default_home())
    config = parse_config(
        {
            "data": {"path": str(options.file.resolve()), "held_out_share": 0.0},
            "train": {
                "method": "lora",
                "dtype": "bfloat16",
                "batch_size": 8,
                "micro_batch_size": 4,
                "max_length": 256,
                "max_steps": options.steps,
                "save_steps": options.steps,
            },
            "evaluate": {"general_rows": 0, "sample_rows": 0},
        }
    )
    print(f"load before the start: {psutil.getloadavg()[0]:.1f}")
    one, held = measured(store, config)
    print(f"1 process: {one:.0f} tokens/s, {1000 / one:.2f} ms a token, {held / 1e9:.2f} GB")
    several = {"launch.where": "torchrun", "launch.processes": options.processes, "name": "several"}
    many, held = measured(store, config.with_values(several))
    print(
        f"{options.processes} processes: {many:.0f} tokens/s, {1000 / many:.2f} ms a token, {held / 1e9:.2f} GB"
    )
    print(f"ratio: {many / one:.2f}")
    parts, held = measured(store, config.with_values({**several, "launch.strategy": "fsdp"}))
    print(f"with the base in parts: {parts:.0f} tokens/s, {held / 1e9:.2f} GB, ratio {parts / one:.2f}")


if __name__ == "__main__":
    main()
