"""What a run will need in memory and time, before it starts; the formulas are in docs/estimates.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from studio.domain.config import RunConfig, TrainConfig
from studio.domain.machine import Machine
from studio.engine.model_facts import ModelFacts
from studio.engine.steps import micro_batches, plan_steps

_BYTES = {"bfloat16": 2, "float32": 4}
_NF4_BYTES = 0.516
"""A weight: 4 bits, an 8-bit scale for each 64 weights, and a float32 for each 256 scales (double quantisation)."""
_RUNTIME = {"cpu": 480_000_000, "mps": 1_000_000_000, "cuda": 600_000_000}
"""The libraries themselves (resident, measured), or a CUDA context with its kernels."""
_HEAP = {"cpu": 1.2, "mps": 1.0, "cuda": 1.1}
"""What activations take of the heap, over their own size: freed blocks that are not given back. A CPU's is measured
(`tests.bench.memory`; docs/estimates.md has the table); a GPU's is not."""
_OF_VARIED_ROWS = 1.3
"""How much more that is on a CPU where rows differ in length: what a step frees seldom fits the next one's tensors."""
_ALIKE = 1.1
"""The longest row over the shortest, up to which rows count as equally long."""
_HEAP_4_BIT = 1.35
"""The same of QLoRA on a CPU, whose layers' weights are made anew each time."""
_LAYERS_AT_ONCE, _OF_LAYERS, _OF_LAYERS_4_BIT = 3.0, 1 / 6, 0.4
"""With checkpointing on a CPU, the heap grows by so many layers' activations and by those of this share of all layers,
though only one's are in use: each layer leaves its blocks elsewhere."""
_AVERAGES = {"adamw": 8.0, "adamw_8bit": 2.04, "paged_adamw": 8.0, "paged_adamw_8bit": 2.04}
"""Bytes of AdamW's two averages a weight; in 8 bits with a float32 for each 256 of them."""
_SHARE_TO_USE = 0.9
_CHUNK = 256
"""Positions whose logits exist at once, as in `studio.engine.loss`."""
_BLOCK, _KEPT = 256, 512
"""Queries of a block of attention, and tokens up to which a row's shares are held, as in `studio.engine.attention`."""
_EFFICIENCY = {
    ("cpu", "bfloat16"): 0.42,
    ("cpu", "float32"): 0.45,
    ("cuda", "bfloat16"): 0.35,
    ("mps", "bfloat16"): 0.2,
}
"""Useful share of the measured matmul FLOP/s; those of a CPU were measured on the starter model."""
_STEPS_LOOKED_AT = 2000


@dataclass(frozen=True)
class Estimate:
    """Before a run. `memory` has bytes by part and `total`; `seconds` is None where nothing like it was measured."""

    memory: dict[str, int]
    fits: bool
    steps: int
    tokens: int
    """Real tokens trained over in all."""
    trained_tokens: int
    seconds: float | None
    measured: bool = False
    """Whether `seconds` comes from an earlier run here rather than from the speed of matrix products."""


def estimate(
    config: RunConfig,
    machine: Machine,
    model: ModelFacts,
    lengths: Sequence[int],
    trained: Sequence[int],
    held_out: Sequence[int] = (),
    general: tuple[int, int] = (0, 0),
    sampled: int = 0,
    tokens_per_second: float | None = None,
) -> Estimate:
    """For a resolved configuration. `lengths` and `trained` are tokens and trained tokens a row, after cutting.

    `held_out` are tokens of the rows that are measured on, and `general` all tokens of general rows at each evaluation,
    which take a forward pass: a third of the work of training; and those that are trained over, so to speak, once.
    `sampled` are tokens of training that take as long as the sample answers of the whole run.
    """
    train = config.train
    steps = plan_steps(len(lengths), train.batch_size, train.epochs or 1.0, train.max_steps, train.seed)
    epochs, rest = divmod(steps.count, steps.steps_an_epoch)
    partial = (
        [row for step in range(epochs * steps.steps_an_epoch, steps.count) for row in steps.batch(step)]
        if rest
        else []
    )
    tokens = epochs * sum(lengths) + sum(lengths[row] for row in partial)
    trained_tokens = epochs * sum(trained) + sum(trained[row] for row in partial)
    by_part = needs(config, machine, model, lengths)
    return Estimate(
        memory={**by_part, "total": sum(by_part.values())},
        fits=fits(by_part, machine),
        steps=steps.count,
        tokens=tokens,
        trained_tokens=trained_tokens,
        seconds=_seconds(
            train,
            machine,
            model,
            tokens + general[1] + sampled + _measured_tokens(config, steps.count, held_out, general[0]) // 3,
            tokens_per_second,
        ),
        measured=tokens_per_second is not None,
    )


def usable(machine: Machine) -> int:
    """Bytes that a run may need; what is left over is for everything else."""
    return int(_SHARE_TO_USE * machine.memory_bytes)


def _measured_tokens(config: RunConfig, steps: int, held_out: Sequence[int], general: int) -> int:
    """Over all evaluations: at the start, every `eval_steps`, and at the end."""
    every = config.train.eval_steps or steps
    evaluations = 1 + steps // every + (steps % every > 0)
    return evaluations * (sum(held_out[: config.evaluate.rows]) + general)


def halvings(rows: int) -> list[int]:
    """What micro-batch sizes to try, the largest first.

    >>> halvings(6)
    [6, 3, 2, 1]
    """
    sizes = [rows]
    while sizes[-1] > 1:
        sizes.append(-(-sizes[-1] // 2))
    return sizes


def fits(by_part: dict[str, int], machine: Machine) -> bool:
    return sum(by_part.values()) <= usable(machine)


def needs(config: RunConfig, machine: Machine, model: ModelFacts, lengths: Sequence[int]) -> dict[str, int]:
    """Bytes by part that a run takes of this machine's memory, or of each GPU where its processes have one each."""
    train, launch = config.train, config.launch
    if not launch.several:
        return parts(train, machine, model, lengths)
    rows = min(train.micro_batch_size or train.batch_size, -(-train.batch_size // launch.processes))
    each = parts(train.model_copy(update={"micro_batch_size": rows}), machine, model, lengths)
    if launch.strategy == "fsdp":
        whole, each = each, held_in_parts(each, train, model, launch.processes)
        if train.method == "qlora":  # quantised as a whole, before each gives up what is not its part
            loading = whole["weights"] + whole["runtime"] - sum(each.values())
            each["whole"] += max(0, loading)
    together = launch.processes if shares_memory(config, machine) else 1
    return {part: together * size for part, size in each.items()}


def shares_memory(config: RunConfig, machine: Machine) -> bool:
    """Whether the processes of a run are all in this machine's memory."""
    return config.launch.where == "torchrun" and machine.device != "cuda"


def held_in_parts(
    by_part: dict[str, int], train: TrainConfig, model: ModelFacts, processes: int
) -> dict[str, int]:
    """What one of several processes needs that hold a model in parts (`launch.strategy: fsdp`); docs/scaling.md has
    the formulas."""
    outside = model.parameters - model.linear
    if train.method == "full":
        layer = model.linear / model.layers
        divided = {part: by_part[part] // processes for part in ("weights", "gradients", "optimizer")}
        return {**by_part, **divided, "whole": int((4 + 4 + 2 + 4) * layer + (4 + 2 + 4) * outside)}
    whole = outside * _BYTES.get(train.dtype, 4)
    layers = by_part["weights"] - whole
    # The layer that is whole lies there twice for a moment: as it came, and in its place.
    return {**by_part, "weights": whole + layers // processes, "whole": 2 * layers // model.layers}


def parts(train: TrainConfig, machine: Machine, model: ModelFacts, lengths: Sequence[int]) -> dict[str, int]:
    """Bytes by part at the peak of the run's largest micro-batch."""
    full = train.method == "full"
    trainable = model.parameters if full else _adapter(train, model)
    held = model.adapter_parameters(train.rank) if train.adapter_start == "pissa" else 0
    rows = _largest_micro_batch(train, lengths)
    tokens = sum(rows)
    return {
        "weights": _weights(train, model) + _left_behind(train, machine, model),
        "adapter": 0 if full else 4 * (trainable + held),
        "gradients": 4 * trainable,
        "optimizer": _optimizer(train, trainable),
        "activations": _activations(train, machine, model, rows, _varied(lengths)),
        "logits": _logits(train, model, tokens),
        "runtime": _RUNTIME[machine.device],
    }


def _adapter(train: TrainConfig, model: ModelFacts) -> int:
    """Trained parameters."""
    return model.adapter_parameters(train.rank) + (model.linear_outputs if train.dora else 0)


def _optimizer(train: TrainConfig, trainable: int) -> int:
    """What is paged makes room when the GPU is short of it; bitsandbytes pages no tensor as small as an adapter's."""
    if train.method == "full" and train.optimizer.startswith("paged"):
        return 0
    return int(_AVERAGES[train.optimizer] * trainable)


def _weights(train: TrainConfig, model: ModelFacts) -> int:
    working = _BYTES.get(train.dtype, 4)
    if train.method == "full":
        return model.parameters * (
            4 if working == 4 else 4 + working
        )  # autocast keeps copies in the working type
    if train.method == "qlora":
        return int(model.linear * _NF4_BYTES + (model.parameters - model.linear) * working)
    return model.parameters * working


def _left_behind(train: TrainConfig, machine: Machine, model: ModelFacts) -> int:
    """Where joined layers had their weights before they were joined: a CPU's heap seldom fills these places again."""
    if machine.device != "cpu" or not _is_joined(train):
        return 0
    joined = model.query_size + 2 * model.key_value_size
    return _BYTES.get(train.dtype, 4) * model.layers * model.hidden * joined


def _largest_micro_batch(train: TrainConfig, lengths: Sequence[int]) -> list[int]:
    """Tokens of each row of the largest micro-batch, padding included; the order of rows is known from the seed."""
    if not lengths:
        return []
    size = train.micro_batch_size or train.batch_size
    steps = plan_steps(len(lengths), train.batch_size, train.epochs or 1.0, train.max_steps, train.seed)
    largest: list[int] = []
    for step in range(min(steps.count, _STEPS_LOOKED_AT)):
        for rows in micro_batches(steps.batch(step), size):
            sizes = [lengths[row] for row in rows]
            if not train.packs:
                sizes = [max(sizes)] * len(sizes)
            largest = max(largest, sizes, key=sum)
    return largest


def _varied(lengths: Sequence[int]) -> bool:
    return bool(lengths) and max(lengths) > _ALIKE * min(lengths)


def _activations(
    train: TrainConfig, machine: Machine, model: ModelFacts, rows: Sequence[int], varied: bool
) -> int:
    """What the backward pass needs, and the heap that this takes; see docs/estimates.md.

    With checkpointing only each layer's input is kept, and one layer's activations at a time.
    """
    layer = _kept_by_layer(train, machine, model, rows)
    working, tokens = _BYTES.get(train.dtype, 4), sum(rows)
    on_cpu, in_4_bit = machine.device == "cpu", train.method == "qlora"
    heap = _HEAP_4_BIT if on_cpu and in_4_bit else _HEAP[machine.device]
    if on_cpu and varied and not in_4_bit:
        heap *= _OF_VARIED_ROWS
    if not train.gradient_checkpointing:
        return int(heap * model.layers * layer) + (_passing(train, model, rows) if on_cpu else 0)
    inputs = tokens * model.layers * working * model.hidden
    if not on_cpu:
        return int(heap * (inputs + layer))
    share = _OF_LAYERS_4_BIT if in_4_bit else _OF_LAYERS
    return int(inputs + (_LAYERS_AT_ONCE + share * model.layers) * layer)


def _passing(train: TrainConfig, model: ModelFacts, rows: Sequence[int]) -> int:
    """What a layer's backward pass makes on its way: most of it in the MLP, and the scores of a block of queries."""
    numbers = sum(rows) * (4 * model.intermediate + 6 * model.hidden)
    if train.packs and rows:
        numbers += 4 * model.heads * _BLOCK * max(rows)
    return _BYTES.get(train.dtype, 4) * numbers


def _kept_by_layer(train: TrainConfig, machine: Machine, model: ModelFacts, rows: Sequence[int]) -> int:
    """Bytes that one layer keeps for the backward pass: every tensor by its width, as autograd holds them."""
    working = _BYTES.get(train.dtype, 4)
    h, i, q, kv = model.hidden, model.intermediate, model.query_size, model.key_value_size
    full = train.method == "full"
    widths = (
        (h + h)  # what the two norms are given
        + (h + h + q)  # inputs of the linear layers: both norms' outputs, and attention's
        + (q + kv)  # queries and keys, rotated
    )
    if _is_joined(train):
        widths += (q + 2 * kv) + 2 * i  # what the joined layers give: queries, keys and values; gate and up
        fixed = 4 * train.rank * (3 * h + 3 * (q + 2 * kv))  # the joined layers' adapters, side by side
    else:
        widths += kv + 4 * i  # values; gate, its activation, up, and their product
        fixed = 0
    widths += 0 if full else 7 * train.rank  # what each adapter's first matrix gives
    wide = 2  # the norms' scales
    if full and working == 2:
        wide, widths = (
            wide + 2 * h,
            widths + h,
        )  # autocast: the norms' inputs stay wide, linear inputs are copied
    more, square = _kept_by_peft(train, model, working)
    scores = sum(_kept_by_attention(train, machine, model, row) for row in rows)
    return sum(rows) * (working * widths + 4 * wide + more) + scores + fixed + square


def _is_joined(train: TrainConfig) -> bool:
    """Whether LoRA layers on one input are one operation, as in `studio.engine.fused_lora`."""
    return train.method == "lora" and not (train.dropout or train.dora or train.plain)


def _kept_by_peft(train: TrainConfig, model: ModelFacts, working: int) -> tuple[int, int]:
    """What PEFT's own layers keep besides, in bytes a token and in bytes at all.

    Dropout: its outputs and masks, both in float32. A 4-bit base in bfloat16: the adapters' inputs in float32. DoRA:
    what base and adapter give, each by itself, and the identity matrices by which it works out its norms.
    """
    if train.method == "full":
        return 0, 0
    inputs, outputs = (sum(sizes) for sizes in zip(*model.layer_shapes, strict=True))
    each = 8 * inputs if train.dropout else 0
    if train.method == "qlora" and working == 2:
        each = max(each, 4 * inputs)
    if not train.dora:
        return each, 0
    return each + 2 * working * outputs, 4 * sum(size * size for size, _ in model.layer_shapes)


def _kept_by_attention(train: TrainConfig, machine: Machine, model: ModelFacts, row: int) -> int:
    """Of one row: by products, each head's shares while it is short, and nothing of a longer one; of the flash kernel,
    its output, and a float32 a head and position."""
    working = _BYTES.get(train.dtype, 4)
    if train.packs and machine.device == "cpu":
        if row > _KEPT:
            return 0
        ends = [*range(_BLOCK, row, _BLOCK), row]
        looked_at = sum(end * (end - start) for start, end in zip([0, *ends], ends, strict=False))
        return working * model.heads * looked_at
    return row * (working * model.query_size + 4 * model.heads)


def _logits(train: TrainConfig, model: ModelFacts, tokens: int) -> int:
    """A chunk's logits in float32, and those before them. In full tuning the gradient of the output layer besides, and
    the products that add up to it. Plain operations hold all of them, their gradient, and both in the working type."""
    if train.plain:
        chunk = (8 + 2 * _BYTES.get(train.dtype, 4)) * tokens * model.vocabulary
    else:
        chunk = 8 * min(_CHUNK, tokens) * model.vocabulary
    return chunk + (8 * model.vocabulary * model.hidden if train.method == "full" else 0)


def _seconds(
    train: TrainConfig, machine: Machine, model: ModelFacts, tokens: int, tokens_per_second: float | None
) -> float | None:
    if tokens_per_second:
        return tokens / tokens_per_second
    speed = machine.flops.get(train.dtype)
    efficiency = _EFFICIENCY.get((machine.device, train.dtype))
    if not speed or not efficiency:
        return None
    products = 6 if train.method == "full" else 4  # forward and backward; without gradients of frozen weights
    products += 1 if train.gradient_checkpointing else 0
    return tokens * products * model.parameters / (speed * efficiency)
