"""Does the starter model learn the sample task? python -m tests.bench.sample [--home DIR] [--set train.epochs=1 …]

Trains on assets/samples/support-train.jsonl with the recommended settings, as the page does, and asks base and tuned
model for the tickets of all held-out rows (greedy). 'Format' is a JSON object with the three keys in order and allowed
values, 'exact' is the wanted answer to the letter.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

from studio.domain.config import merge, parse_config
from studio.engine.assets import ASSETS
from studio.services.jobs import Jobs
from studio.services.store import Store

CATEGORIES = {"billing", "delivery", "returns", "account", "technical", "feedback"}
URGENCIES = {"low", "normal", "high"}
SAMPLES = ASSETS / "samples"


def right_format(answer: str) -> dict[str, Any] | None:
    """The ticket, if the answer is one."""
    try:
        ticket = json.loads(answer)
    except ValueError:
        return None
    fits = (
        isinstance(ticket, dict)
        and list(ticket) == ["category", "urgency", "order"]
        and ticket["category"] in CATEGORIES
        and ticket["urgency"] in URGENCIES
        and isinstance(ticket["order"], (str, type(None)))
    )
    return ticket if fits else None


def score(model: Any, tokenizer: Any, rows: Sequence[list[dict[str, str]]]) -> dict[str, float]:
    """Shares over all rows: right format, exact, and each field right."""
    found = {"format": 0, "exact": 0, "category": 0, "urgency": 0, "order": 0}
    for start in range(0, len(rows), 12):
        part = rows[start : start + 12]
        prompts = [
            tokenizer.apply_chat_template(row[:2], tokenize=False, add_generation_prompt=True) for row in part
        ]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        outputs = model.generate(**inputs, max_new_tokens=48, do_sample=False)
        for row, output in zip(part, outputs, strict=True):
            answer = tokenizer.decode(output[inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            wanted, ticket = json.loads(row[2]["content"]), right_format(answer)
            found["format"] += ticket is not None
            found["exact"] += answer == row[2]["content"]
            for key in wanted:
                found[key] += ticket is not None and ticket[key] == wanted[key]
    return {name: count / len(rows) for name, count in found.items()}


def main() -> None:
    """Train, score, print."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = argparse.ArgumentParser()
    options.add_argument("--home")
    options.add_argument("--set", action="append", default=[])
    given = options.parse_args()
    store = Store(given.home)
    values = dict(item.split("=", 1) for item in given.set)
    data = {
        "data": {
            "path": str(SAMPLES / "support-train.jsonl"),
            "held_out_path": str(SAMPLES / "support-heldout.jsonl"),
        }
    }
    jobs, begun = Jobs(store), time.monotonic()
    run = jobs.submit(parse_config(merge(data, values)))
    for event in jobs.watch(run):
        if event.type == "metric" and event.eval_loss is not None:
            print(f"step {event.step}: held-out loss {event.eval_loss:.3f}", flush=True)
    print(f"{jobs.get(run).state} after {time.monotonic() - begun:.0f} s: {jobs.get(run).metrics}")
    path = store.models_dir / "starter"
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    base = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16).eval()
    with (SAMPLES / "support-heldout.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line)["messages"] for line in lines]
    print("base ", score(base, tokenizer, rows), flush=True)
    print("tuned", score(PeftModel.from_pretrained(base, jobs.files(run).adapter).eval(), tokenizer, rows))


if __name__ == "__main__":
    main()
