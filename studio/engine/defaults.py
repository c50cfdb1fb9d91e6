"""What fits this data, model and machine: every setting left open gets a value and a reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studio.domain.config import RunConfig, TrainConfig
from studio.domain.machine import Machine
from studio.domain.text import Text
from studio.engine import memory
from studio.engine.model_facts import ModelFacts
from studio.engine.steps import plan_steps

_USUAL_LENGTH = {"cuda": 4096, "mps": 2048, "cpu": 1024}
_FEW_ROWS, _MANY_ROWS = 600, 2000
"""The shipped sample (360 rows) has 32 % of held-out answers right to the letter after one epoch, 58 % after three."""
_FULL_RATES = (1e-5, 5e-5)
_EVALUATION_SHARE = 0.2
"""Held-out loss may take about this share of a run's time; a forward pass is a third of a training step."""


@dataclass(frozen=True)
class Recommended:
    """A configuration without open settings, and why each that was open got its value."""

    config: RunConfig
    reasons: dict[str, Text]


def recommend(
    config: RunConfig,
    machine: Machine,
    model: ModelFacts,
    lengths: Sequence[int],
    held_out_lengths: Sequence[int],
) -> Recommended:
    """Fill every open setting of `config`. `lengths` are tokens a training row, uncut, in the order of the data."""
    train, reasons = config.train, dict[str, Text]()
    for choose in (_method, _dtype, _epochs, _learning_rate):
        train = _apply(train, reasons, choose(train, machine, model, lengths))
    train = _apply(train, reasons, _max_length(train, machine, model, lengths))
    kept = config.data.overlong == "keep"
    cut = [length if kept else min(length, train.max_length or length) for length in lengths]
    train = _apply(train, reasons, _fit(train, machine, model, cut))
    train = _apply(train, reasons, _rhythm(train, config.evaluate.rows, cut, held_out_lengths))
    return Recommended(config.model_copy(update={"train": train}), reasons)


_Choices = dict[str, tuple[Any, Text]]


def _apply(train: TrainConfig, reasons: dict[str, Text], choices: _Choices) -> TrainConfig:
    """Take the choices for the settings that are still open."""
    taken = {name: choice for name, choice in choices.items() if getattr(train, name) in (None, "auto")}
    reasons.update({f"train.{name}": reason for name, (_, reason) in taken.items()})
    return train.model_copy(update={name: value for name, (value, _) in taken.items()})


def _method(train: TrainConfig, machine: Machine, model: ModelFacts, lengths: Sequence[int]) -> _Choices:
    if machine.device == "cuda" and machine.can_qlora:
        return {"method": ("qlora", Text("A GPU is present: a 4-bit base leaves the most room on it."))}
    if machine.device == "cuda":
        return {
            "method": ("lora", Text("bitsandbytes does not work here, so the base stays in full precision."))
        }
    return {
        "method": (
            "lora",
            Text("Without an NVIDIA GPU, 4-bit weights save memory but cost speed and quality."),
        )
    }


def _dtype(train: TrainConfig, machine: Machine, model: ModelFacts, lengths: Sequence[int]) -> _Choices:
    known = [name for name in ("bfloat16", "float32") if name in machine.dtypes]
    fastest = max(known, key=lambda name: machine.flops.get(name, 0.0)) if known else "float32"
    other = "float32" if fastest == "bfloat16" else "bfloat16"
    if machine.flops.get(fastest) and machine.flops.get(other):
        ratio = machine.flops[fastest] / machine.flops[other]
        reason = Text(
            "Measured here: it multiplies {ratio} times as fast as {other}.",
            {"ratio": f"{ratio:.1f}", "other": other},
        )
    else:
        reason = Text("The only one that this machine supports.")
    return {"dtype": (fastest, reason)}


def _epochs(train: TrainConfig, machine: Machine, model: ModelFacts, lengths: Sequence[int]) -> _Choices:
    rows = len(lengths)
    epochs = 1.0 if rows >= _MANY_ROWS else 2.0 if rows >= _FEW_ROWS else 3.0
    return {"epochs": (epochs, Text("Few rows need to be seen more often; here are {rows}.", {"rows": rows}))}


def _learning_rate(
    train: TrainConfig, machine: Machine, model: ModelFacts, lengths: Sequence[int]
) -> _Choices:
    adapter = 5e-4 * (2000 / model.hidden) ** 0.781
    if train.method == "full":
        low, high = _FULL_RATES
        rate = min(high, max(low, adapter / 10))
        reason = Text(
            "A tenth of the adapter's rate for a hidden size of {hidden}, between 1e-5 and 5e-5.",
            {"hidden": model.hidden},
        )
    elif train.adapter_start == "pissa":
        rate = adapter / 10
        reason = Text("A tenth of the usual adapter's rate: PiSSA begins with large weights.")
    else:
        rate = adapter
        reason = Text("For an adapter on a hidden size of {hidden}.", {"hidden": model.hidden})
    return {"learning_rate": (float(f"{rate:.0e}"), reason)}


def _max_length(train: TrainConfig, machine: Machine, model: ModelFacts, lengths: Sequence[int]) -> _Choices:
    longest = max(lengths, default=0)
    length = usual_length(machine.device, model.context, longest)
    if longest <= length:
        reason = Text("The longest row has {longest} tokens: nothing is cut.", {"longest": longest})
    else:
        reason = Text(
            "Rows that are longer: {over} of {rows} (the longest {longest}); more would cost memory for few rows.",
            {"over": sum(n > length for n in lengths), "rows": len(lengths), "longest": longest},
        )
    return {"max_length": (length, reason)}


def usual_length(device: str, context: int, longest: int) -> int:
    """Tokens of the longest row that a run trains on whole, unless it is told otherwise.

    >>> usual_length("cpu", 8192, 130), usual_length("cpu", 8192, 5000), usual_length("cuda", 2048, 5000)
    (192, 1024, 2048)
    """
    return min(context, _USUAL_LENGTH[device], max(64, math.ceil(longest / 64) * 64))


def _fit(train: TrainConfig, machine: Machine, model: ModelFacts, lengths: Sequence[int]) -> _Choices:
    """The largest micro-batch that fits; activations are kept unless not even a single row fits with them."""
    sizes = [train.micro_batch_size] if train.micro_batch_size else memory.halvings(train.batch_size)
    kept_choices = (
        [train.gradient_checkpointing] if train.gradient_checkpointing is not None else [False, True]
    )
    size, recompute = sizes[-1], kept_choices[-1]
    for recompute, size in ((r, s) for r in kept_choices for s in sizes):
        trial = train.model_copy(update={"micro_batch_size": size, "gradient_checkpointing": recompute})
        if memory.fits(memory.parts(trial, machine, model, lengths), machine):
            reason = Text("The most rows at once that fit into memory.")
            break
    else:
        reason = Text("Nothing fits into memory; this needs the least.")
    return {
        "micro_batch_size": (size, reason),
        "gradient_checkpointing": (
            recompute,
            Text("Activations do not fit into memory otherwise.")
            if recompute
            else Text("Activations fit into memory."),
        ),
    }


def _rhythm(train: TrainConfig, eval_rows: int, lengths: Sequence[int], held_out: Sequence[int]) -> _Choices:
    steps = plan_steps(len(lengths), train.batch_size, train.epochs or 1.0, train.max_steps, train.seed).count
    measured = sum(min(length, train.max_length or length) for length in held_out[:eval_rows])
    trained = sum(lengths) / max(1, math.ceil(len(lengths) / train.batch_size)) * steps
    often = int(_EVALUATION_SHARE * 3 * trained / measured) if measured else 1
    evaluations = max(2, min(10, often))
    return {
        "save_steps": (
            max(1, math.ceil(steps / 10)),
            Text("About ten checkpoints in {steps} steps.", {"steps": steps}),
        ),
        "eval_steps": (
            max(1, math.ceil(steps / evaluations)),
            Text("Measuring takes about a fifth of the time at most."),
        ),
    }
