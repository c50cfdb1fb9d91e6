"""What each remedy against forgetting saves and costs: python -m tests.bench.forgetting FILE.jsonl [--seeds N]

Tunes the starter on the sample task, once for every remedy and seed, with the recommended settings otherwise, and notes
the held-out loss, the sample task's scores, and what the gauge reads over all English rows of the general set that are
kept for it. Results are lines of FILE.jsonl; what is there already is not done again. `--table` prints their means,
`--plot FILE.svg` draws what is learnt against what is forgotten.

The rows of `replay` are written by the starter itself: `studio data write --rows 60 --out replay.jsonl`, then
`--replay replay.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from studio.domain.config import merge, parse_config
from studio.services.jobs import Jobs
from studio.services.store import Store
from tests.bench.sample import SAMPLES, score

REMEDIES: dict[str, dict[str, Any]] = {
    "none": {},
    "general data, 5 %": {"data.general_share": 0.05},
    "general data, 10 %": {"data.general_share": 0.1},
    "self-written replay, 10 %": {"data.general_share": 0.1},
    "EWC, strength 100": {"train.ewc": 100.0},
    "EWC, strength 1000": {"train.ewc": 1000.0},
    "rank 2": {"train.rank": 2, "train.alpha": 4.0},
    "a third of the rate": {"train.learning_rate": 3.3e-4},
}
MEASURED = ("held_out", "format", "exact", "general", "forgetting", "divergence", "seconds")


def done(file: Path) -> Iterator[dict[str, Any]]:
    """The results so far."""
    if file.is_file():
        yield from map(json.loads, file.read_text(encoding="utf-8").splitlines())


def run(store: Store, changes: Mapping[str, Any], rows: int) -> dict[str, float]:
    """One run to its end, and its tuned model's scores on the first `rows` held-out rows."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    data = {
        "data.path": str(SAMPLES / "support-train.jsonl"),
        "data.held_out_path": str(SAMPLES / "support-heldout.jsonl"),
        "evaluate.general_rows": 25,
        "train.eval_steps": 10_000,
    }
    jobs = Jobs(store)
    run_id = jobs.submit(parse_config(merge({}, {**data, **changes})))
    last: dict[str, float] = {}
    for event in jobs.watch(run_id):
        if event.type == "metric" and event.general_loss is not None:
            assert event.divergence is not None
            assert event.forgetting is not None
            last = {
                "general": event.general_loss,
                "forgetting": event.forgetting,
                "divergence": event.divergence,
                "held_out": event.eval_loss or 0.0,
            }
    state = jobs.get(run_id)
    assert state.state == "finished", state
    path = store.models_dir / "starter"
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    base = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16).eval()
    with (SAMPLES / "support-heldout.jsonl").open(encoding="utf-8") as lines:
        asked = [json.loads(line)["messages"] for line in lines][:rows]
    tuned = PeftModel.from_pretrained(base, jobs.files(run_id).adapter).eval()
    return {**last, **score(tuned, tokenizer, asked), "seconds": state.metrics["train_seconds"]}


def table(file: Path) -> None:
    """Means over the seeds, and the standard deviation of what is forgotten."""
    print("| remedy | seeds | " + " | ".join(MEASURED) + " |")
    print("|---" * (len(MEASURED) + 2) + "|")
    for remedy in REMEDIES:
        found = [result for result in done(file) if result["remedy"] == remedy]
        if not found:
            continue
        means = {name: statistics.mean(result[name] for result in found) for name in MEASURED}
        shown = [f"{means[name]:.3f}" if name != "seconds" else f"{means[name]:.0f}" for name in MEASURED]
        if len(found) > 1:
            spread = statistics.stdev(result["forgetting"] for result in found)
            shown[MEASURED.index("forgetting")] += f" ± {spread:.3f}"
        print(f"| {remedy} | {len(found)} | " + " | ".join(shown) + " |")


_WIDTH, _HEIGHT, _LEFT, _TOP, _ROOM = 720, 400, 70, 20, 50
_COLOURS = ("#b3261e", "#7fa8d9", "#255fb0", "#2e7d32", "#c9a227", "#8a6d00", "#7b4fa3", "#5f6368")


def plot(file: Path, target: Path) -> None:
    """As SVG: each remedy at the mean of its seeds, which are the small dots."""
    found = [*done(file)]
    most = max(result["forgetting"] for result in found)
    least = min(0.0, *(result["forgetting"] for result in found))
    best = 0.6

    def place(forgotten: float, exact: float) -> tuple[float, float]:
        across = (forgotten - least) / (most - least)
        return (
            round(_LEFT + across * (_WIDTH - _LEFT - 150), 1),
            round(_TOP + (1 - exact / best) * (_HEIGHT - _TOP - _ROOM), 1),
        )

    bottom, zero = place(least, 0)[1], place(0, 0)[0]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="#fff"/>',
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{_WIDTH - 20}" fill="none" stroke="#777"/>',
        f'<path d="M{zero} {_TOP}V{bottom}" stroke="#bbb" stroke-dasharray="4"/>',
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}">rise of the loss on general rows, nats a token (lower is better)</text>',
        f'<text transform="translate(16 {bottom}) rotate(-90)">exact answers on the sample task</text>',
    ]
    for exact in (0.0, 0.2, 0.4, 0.6):
        parts.append(
            f'<text x="{_LEFT - 8}" y="{place(least, exact)[1] + 4}" text-anchor="end">{exact:.0%}</text>'
        )
    for forgotten in (0.0, 0.5, 1.0, 1.5):
        parts.append(
            f'<text x="{place(forgotten, 0)[0]}" y="{bottom + 18}" text-anchor="middle">{forgotten:g}</text>'
        )
    taken: list[tuple[float, float]] = []
    for remedy, colour in zip(REMEDIES, _COLOURS, strict=True):
        seeds = [
            place(result["forgetting"], result["exact"]) for result in found if result["remedy"] == remedy
        ]
        if not seeds:
            continue
        x, y = (statistics.mean(values) for values in zip(*seeds, strict=True))
        parts += [f'<circle cx="{a}" cy="{b}" r="2.5" fill="{colour}" opacity=".5"/>' for a, b in seeds]
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{colour}"/>')
        label = y + 4
        while any(abs(x - across) < 180 and abs(label - down) < 13 for across, down in taken):
            label += 13
        taken.append((x, label))
        parts.append(f'<text x="{x + 11:.1f}" y="{label:.1f}" fill="{colour}">{remedy}</text>')
    target.write_text("\n".join([*parts, "</svg>\n"]), encoding="utf-8")


def main() -> None:
    """Run what is missing, then print the table."""
    options = argparse.ArgumentParser()
    options.add_argument("file", type=Path)
    options.add_argument("--home")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=float, default=1.0)
    options.add_argument("--rows", type=int, default=36)
    options.add_argument("--replay", type=Path)
    options.add_argument("--only", action="append", choices=[*REMEDIES])
    options.add_argument("--table", action="store_true")
    options.add_argument("--plot", type=Path)
    given = options.parse_args()
    store = Store(given.home)
    for seed in range(0 if given.table or given.plot else given.seeds):
        for remedy in given.only or REMEDIES:
            changes = {**REMEDIES[remedy], "train.seed": seed, "train.epochs": given.epochs}
            if remedy.startswith("self-written"):
                if not given.replay:
                    continue
                changes["data.general_path"] = str(given.replay)
            if any((result["remedy"], result["seed"]) == (remedy, seed) for result in done(given.file)):
                continue
            found = {"remedy": remedy, "seed": seed, **run(store, changes, given.rows)}
            with given.file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(found, ensure_ascii=False) + "\n")
            print(found, flush=True)
    table(given.file)
    if given.plot:
        plot(given.file, given.plot)


if __name__ == "__main__":
    main()
