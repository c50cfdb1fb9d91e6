"""Every setting of a run, declared once: default, bounds, unit, help and where the recommended value comes from.

The form, the command line, run.json, docs/settings.md and the translations' keys are all derived from these classes.
A value of `None` (or "auto") means 'what fits this data, model and machine'; `studio.engine.defaults` fills it.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from studio.domain.errors import StudioError

Format = Literal[
    "auto", "messages", "sharegpt", "alpaca", "prompt_completion", "preference", "text", "columns"
]
Method = Literal["auto", "qlora", "lora", "full"]
Dtype = Literal["auto", "bfloat16", "float32"]
Scheduler = Literal["cosine", "linear", "constant", "warmup_stable_decay"]
AdapterStart = Literal["zero", "pissa"]
Optimizer = Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"]
Result = Literal["best", "last"]
Target = Literal["merged", "adapter", "gguf", "script"]
Into = Literal["closer", "original", "dequantised"]
Quantization = Literal["q8_0", "f16", "q4_1", "q4_0"]
LogTo = Literal["tensorboard", "trackio", "wandb"]
Overlong = Literal["cut", "drop", "split", "keep"]
Turns = Literal["all", "last"]
Where = Literal["local", "torchrun", "ray"]
Strategy = Literal["data_parallel", "fsdp"]


def setting(
    default: Any,
    label: str,
    help: str,
    *,
    advanced: bool = True,
    unit: str = "",
    source: str = "",
    recommended: tuple[float, float] | None = None,
    by_method: Mapping[str, tuple[float, float]] | None = None,
    only_with: tuple[str, tuple[str, ...]] | None = None,
    empty: str = "fitting",
    lines: int = 1,
    **bounds: Any,
) -> Any:
    """A pydantic field that also knows how it is shown: its label, unit, recommended range and that range's source.

    `by_method` is the recommended range where it depends on the method. `only_with` names another setting of the
    section, and its values under which this one does something. `empty` is what no value means: what is "fitting", or
    "none". `lines` are those that a text is written in.
    """
    extra: dict[str, Any] = {
        "advanced": advanced,
        "unit": unit,
        "source": source,
        "recommended": recommended,
        "by_method": by_method or {},
        "only_with": only_with,
        "empty": empty,
        "lines": lines,
    }
    return Field(default, title=label, description=help, json_schema_extra=extra, **bounds)


_ADAPTERS = ("method", ("lora", "qlora"))
"""For settings of an adapter, which full tuning has none of."""


class Section(BaseModel):
    """One part of a configuration; knows no unknown keys and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ModelConfig(Section):
    id: str = setting(
        "starter",
        "Model",
        "`starter` (SmolLM2-135M-Instruct), a local folder, or a hub id such as `Qwen/Qwen3-0.6B`.",
        advanced=False,
        min_length=1,
    )
    revision: str | None = setting(
        None, "Revision", "Branch, tag or commit on the hub. A commit makes the run repeatable."
    )
    adapter: str | None = setting(
        None,
        "Continue from run",
        "A finished run whose adapter is trained further (continual tuning), on the same base model. Empty: a new one.",
    )


class DataConfig(Section):
    path: str = setting(
        ..., "Data file", "The rows to learn from: JSON, JSONL, CSV or Parquet.", advanced=False
    )
    format: Format = setting("auto", "Format", "How a row becomes a conversation. `auto` recognises it.")
    columns: dict[str, str] | None = setting(
        None,
        "Columns",
        "For `columns`: which column holds `prompt` and `response`, and if there are any `system` and `input`.",
    )
    max_rows: int = setting(
        100_000,
        "Rows of a file at most",
        "Of a file with more rows, so many are drawn at random, the same for the same seed. More take more memory: "
        "some 10 KB each.",
        ge=1,
    )
    read_as: dict[str, str] | None = setting(
        None,
        "Read as",
        "What is not to be recognised by itself: `encoding`, `delimiter`, `sheet`, `split` (or `all`), and `texts` "
        "(`paragraphs` or `documents`).",
    )
    held_out_path: str | None = setting(
        None, "Held-out file", "Rows that are never trained on and that the evaluation loss is measured on."
    )
    held_out_share: float = setting(
        0.1,
        "Held-out share",
        "Without a held-out file, this share of the rows is kept from training to measure on.",
        ge=0.0,
        le=0.5,
        recommended=(0.05, 0.2),
    )
    general_share: float = setting(
        0.0,
        "Share of general data",
        "How much of what is learnt is general instruction data, mixed into your own so that the model does not forget "
        "what it knew. 0: your rows alone.",
        ge=0.0,
        le=0.9,
        recommended=(0.05, 0.1),
        source="Scialom et al. 2022, arXiv:2205.12393: rehearsal of 1 % is enough for T0; 5 to 10 % is common practice",
    )
    general_path: str | None = setting(
        None,
        "General data",
        "The file that general rows are drawn from. Empty: the set that comes with the studio.",
    )
    overlong: Overlong = setting(
        "cut",
        "Rows that are too long",
        "What happens to a row with more tokens than the maximum length: its end is cut off; the row is left out; its "
        "turns are split over several rows, each with the system message; or it is kept whole and costs its memory. "
        "The rows are named before training starts.",
    )


class TemplateConfig(Section):
    name: str = setting(
        "auto",
        "Chat template",
        "How a conversation is written as text. `auto`: the model's own, or ChatML where it has none. `custom`: the "
        "Jinja in `source`.",
        advanced=False,
    )
    source: str | None = setting(
        None, "Your own template", "Jinja that writes `messages` as text, for the template `custom`."
    )
    turns: Turns = setting(
        "all", "Trained turns", "Learn every assistant turn of a conversation, or its last one only."
    )
    reasoning: bool = setting(
        True,
        "Train reasoning",
        "Learn the reasoning text before an answer too. Off: it is read, and the answer after it learnt.",
    )
    tool_calls: bool = setting(
        True,
        "Train tool calls",
        "Learn the calls of tools too. A tool's results are never learnt.",
    )
    prompts: bool = setting(
        False,
        "Train on prompts too",
        "Unusual: learn the system and user turns as well, as in continued pre-training. The model then also learns to "
        "write what its users write.",
    )


class TrainConfig(Section):
    method: Method = setting(
        "auto",
        "Method",
        "QLoRA: a 4-bit base with a small adapter, least memory. LoRA: the same adapter on the full-precision base. "
        "Full: every weight is trained, most memory and most forgetting.",
        advanced=False,
        source="QLoRA: Dettmers et al. 2023, arXiv:2305.14314; LoRA: Hu et al. 2021, arXiv:2106.09685",
    )
    epochs: float | None = setting(
        None,
        "Epochs",
        "How often every row is seen. A small file needs more than one; more than three mostly learns by rote.",
        advanced=False,
        gt=0,
        le=100,
        recommended=(1, 3),
        source="Touvron et al. 2023 (Llama 2), arXiv:2307.09288: two epochs of SFT",
    )
    learning_rate: float | None = setting(
        None,
        "Learning rate",
        "The size of a step. Too high: the loss jumps or rises. Too low: nothing is learnt. LoRA wants about ten times "
        "the rate of full tuning, a small model more than a large one.",
        advanced=False,
        gt=0,
        le=0.1,
        by_method={"full": (1e-5, 5e-5), "lora": (1e-4, 2e-3), "qlora": (1e-4, 2e-3)},
        source="full tuning: Touvron et al. 2023 (Llama 2), arXiv:2307.09288, with 2e-5; adapters: Schulman et al. "
        "2025, 'LoRA Without Regret', with 5e-4 x (2000 / hidden size)^0.781 and ten times the rate of full tuning",
    )
    batch_size: int = setting(
        8,
        "Batch size",
        "Rows behind one optimizer step (the effective batch).",
        advanced=False,
        unit="rows",
        ge=1,
        le=4096,
        recommended=(8, 32),
        source="Schulman et al. 2025: LoRA tolerates large batches less well than full tuning",
    )
    max_length: int | None = setting(
        None,
        "Maximum length",
        "Tokens of a row that the model sees; what is longer is handled as chosen under Data. Memory grows with it.",
        unit="tokens",
        ge=16,
        le=1_048_576,
    )
    rank: int = setting(
        16,
        "Rank",
        "Size of the adapter: more can learn more, and forgets more.",
        ge=1,
        le=1024,
        recommended=(8, 64),
        only_with=_ADAPTERS,
        source="Biderman et al. 2024, 'LoRA Learns Less and Forgets Less', arXiv:2405.09673",
    )
    alpha: float = setting(
        32.0,
        "Alpha",
        "Scale of the adapter: its output is multiplied by alpha / rank.",
        gt=0,
        le=4096,
        recommended=(16, 64),
        only_with=_ADAPTERS,
        source="Biderman et al. 2024, arXiv:2405.09673: alpha of twice the rank",
    )
    dropout: float = setting(
        0.0,
        "Adapter dropout",
        "Share of the adapter's inputs set to zero in training.",
        ge=0.0,
        lt=1.0,
        recommended=(0, 0.1),
        only_with=_ADAPTERS,
    )
    target_modules: list[str] | None = setting(
        None,
        "Target modules",
        "Layers that get an adapter, by the end of their name. Empty: every linear layer but the head.",
        only_with=_ADAPTERS,
        source="Dettmers et al. 2023, arXiv:2305.14314: adapters on all linear layers match full tuning",
    )
    rank_stabilized: bool = setting(
        False,
        "Rank-stabilised scale (rsLoRA)",
        "The adapter's output is multiplied by alpha / √rank, so that large ranks learn as fast as small ones. With "
        "rank 16 that is four times the usual scale: lower alpha or the rate with it.",
        only_with=_ADAPTERS,
        source="Kalajdzievski 2023, arXiv:2312.03732: at this scale gradients are of one size at every rank",
    )
    dora: bool = setting(
        False,
        "Magnitudes apart (DoRA)",
        "The adapter turns each weight's direction, and its length is learnt apart. Often better at small ranks, and "
        "slower.",
        only_with=_ADAPTERS,
        source="Liu et al. 2024, arXiv:2402.09353",
    )
    adapter_start: AdapterStart = setting(
        "zero",
        "Start of the adapter",
        "Zero: the adapter begins at random and without effect. PiSSA: it begins as the weights' largest directions, "
        "which it then changes: the loss falls faster at first. The result is an adapter of twice the rank on the "
        "unchanged base.",
        only_with=_ADAPTERS,
        source="PiSSA: Meng et al. 2024, arXiv:2404.02948",
    )
    lora_plus_ratio: float = setting(
        1.0,
        "LoRA+ ratio",
        "The second matrix of the adapter, B, and DoRA's magnitudes learn at so many times the rate of the first. 1: "
        "at the same.",
        ge=1.0,
        le=64.0,
        recommended=(2, 16),
        only_with=_ADAPTERS,
        source="Hayou et al. 2024, arXiv:2402.12354: 16, with a lower rate",
    )
    ewc: float = setting(
        0.0,
        "Hold on to general skills",
        "Elastic weight consolidation: changing what general rows rely on costs more, at this strength. At 1 the "
        "penalty is what the loss on general rows is expected to rise by. Needs no general data among your own; "
        "adapters only. On the sample 1000 kept nearly all and 100 a part. 0: off.",
        ge=0.0,
        le=1_000_000.0,
        only_with=_ADAPTERS,
        source="Kirkpatrick et al. 2017, arXiv:1612.00796; factored as in K-FAC, arXiv:1503.05671",
    )
    max_steps: int | None = setting(
        None,
        "Maximum steps",
        "Ends the run after so many optimizer steps, whatever the epochs say.",
        empty="none",
        unit="steps",
        ge=1,
    )
    micro_batch_size: int | None = setting(
        None,
        "Micro-batch size",
        "Rows that pass through the model at once; the rest of the batch is accumulated. Changes memory and speed, not "
        "the result.",
        unit="rows",
        ge=1,
        le=4096,
    )
    packing: bool = setting(
        True,
        "Packing",
        "Rows of a micro-batch lie end to end without padding, each seeing only itself: the same result, faster.",
    )
    plain: bool = setting(
        False,
        "Plain operations",
        "Transformers' and PEFT's own operations, one by one, on padded rows: slower and with more memory. The script "
        "that such a run is exported as then gives the same adapter to the last bit.",
    )
    optimizer: Optimizer = setting(
        "adamw",
        "Optimiser",
        "8 bits: its two averages a weight take a quarter of the memory, and a step on a CPU takes longer. Paged: they "
        "move to main memory while the GPU's is short.",
        source="Dettmers et al. 2021, arXiv:2110.02861 (8 bits); 2023, arXiv:2305.14314 (paged)",
    )
    scheduler: Scheduler = setting("cosine", "Schedule", "How the learning rate falls after warm-up.")
    decay_ratio: float = setting(
        0.1,
        "Decay",
        "Share of the steps over which the rate falls to zero at the end, after having been constant.",
        gt=0.0,
        le=1.0,
        recommended=(0.1, 0.2),
        only_with=("scheduler", ("warmup_stable_decay",)),
        source="Hägele et al. 2024, arXiv:2405.18392: 10 to 20 %",
    )
    warmup_ratio: float = setting(
        0.05,
        "Warm-up",
        "Share of the steps over which the learning rate rises from zero.",
        ge=0.0,
        le=0.5,
        recommended=(0.03, 0.1),
        source="Lambert et al. 2024 (Tülu 3), arXiv:2411.15124: 3 %; Tunstall et al. 2023 (Zephyr), arXiv:2310.16944: "
        "10 %",
    )
    weight_decay: float = setting(
        0.0,
        "Weight decay",
        "Pull of every trained matrix towards zero, a step; biases, norms and magnitudes are left alone.",
        ge=0.0,
        le=1.0,
        recommended=(0, 0.1),
        source="Touvron et al. 2023 (Llama 2), arXiv:2307.09288: 0.1 in full tuning",
    )
    max_grad_norm: float = setting(
        1.0,
        "Gradient clipping",
        "A gradient longer than this is shortened to it. 0 switches it off.",
        ge=0.0,
        le=1000.0,
    )
    neftune_alpha: float = setting(
        0.0,
        "Noise on embeddings (NEFTune)",
        "Random noise of this strength on what the model reads in training: answers grow longer and more natural, "
        "exact formats may suffer. 0 switches it off.",
        ge=0.0,
        le=100.0,
        recommended=(5, 15),
        source="Jain et al. 2023, arXiv:2310.05914",
    )
    seed: int = setting(
        42, "Seed", "Decides the order of rows, the start of the adapter, and noise.", ge=0, le=2**31 - 1
    )
    dtype: Dtype = setting(
        "auto",
        "Number format",
        "Of the base weights in training. `auto`: the one this machine multiplies faster.",
    )
    gradient_checkpointing: bool | None = setting(
        None,
        "Gradient checkpointing",
        "Computes activations twice to store them less: about a third slower, much less memory. Empty: only if needed.",
    )
    save_steps: int | None = setting(
        None,
        "Checkpoint every",
        "A run that is killed goes on from its last checkpoint. Empty: about ten a run.",
        unit="steps",
        ge=1,
    )
    keep_checkpoints: int = setting(
        2,
        "Checkpoints kept",
        "Older ones are deleted. With two or more, a run whose last one is damaged or has diverged goes on from the "
        "one before.",
        ge=1,
        le=100,
    )
    eval_steps: int | None = setting(
        None,
        "Evaluate every",
        "Held-out loss is measured so often. Empty: about ten times a run.",
        unit="steps",
        ge=1,
    )
    patience: int | None = setting(
        None,
        "Stop early after",
        "Ends the run once the held-out loss has not improved in so many evaluations. Empty: it runs to its end.",
        empty="none",
        unit="evaluations",
        ge=1,
        le=1000,
        recommended=(2, 5),
        source="Prechelt 1998, 'Early Stopping - But When?'",
    )
    result: Result = setting(
        "best",
        "Result",
        "Best: the weights of the evaluation with the lowest held-out loss; the last ones are kept as a checkpoint. "
        "Without held-out rows it is the last.",
    )
    report_to: list[LogTo] = setting(
        [],
        "Log to",
        "Other programs that are given the figures of the run too: TensorBoard and trackio keep them on this machine, "
        "Weights & Biases sends figures and settings to its service, or keeps them where it has no key. None: no one.",
    )

    @property
    def packs(self) -> bool:
        """Whether rows of a micro-batch lie end to end."""
        return self.packing and not self.plain


class EvalConfig(Section):
    rows: int = setting(
        64,
        "Held-out rows scored",
        "At most so many held-out rows are scored at each evaluation in training.",
        unit="rows",
        ge=1,
        le=100_000,
    )
    general_rows: int = setting(
        12,
        "General rows gauged",
        "So many general rows, which are never learnt, show at each evaluation what the model forgets. 0: none.",
        unit="rows",
        ge=0,
        le=1000,
    )
    sample_rows: int = setting(
        2,
        "Sample answers",
        "So many held-out prompts are answered before, in and after training, so that you see how the answers change. "
        "0: none.",
        ge=0,
        le=20,
    )
    sample_prompts: str | None = setting(
        None,
        "Prompts of your own",
        "Answered beside them, one a line.",
        empty="none",
        lines=3,
        max_length=4000,
    )
    sample_steps: int | None = setting(
        None,
        "Answer every",
        "Sample answers are written so often. Empty: about four times a run, as writing takes time.",
        unit="steps",
        ge=1,
    )
    sample_tokens: int = setting(
        48,
        "Length of sample answers",
        "At most so many tokens of an answer are written.",
        unit="tokens",
        ge=1,
        le=512,
    )


_SEVERAL = ("where", ("torchrun", "ray"))
"""For settings of runs by several processes."""


class LaunchConfig(Section):
    where: Where = setting(
        "local",
        "Where it runs",
        "`local`: one process on this machine. `torchrun`: several on this machine, such as one a GPU. `ray`: several "
        "on a Ray cluster. The result is the same, and so are plots, stop and resume.",
    )
    processes: int = setting(
        2,
        "Processes",
        "Each takes its share of a batch's rows. One a GPU; without GPUs they share the cores.",
        ge=1,
        le=1024,
        only_with=_SEVERAL,
    )
    strategy: Strategy = setting(
        "data_parallel",
        "Strategy",
        "`data_parallel`: each process holds the whole model. `fsdp`: each holds a part of it, so that a larger one "
        "fits: of weights, gradients and averages in full tuning, of the frozen base under an adapter.",
        only_with=_SEVERAL,
        source="Zhao et al. 2023 (PyTorch FSDP), arXiv:2304.11277",
    )
    restarts: int = setting(
        3,
        "Restarts",
        "So often a run whose process or machine is lost goes on by itself from its last checkpoint.",
        ge=0,
        le=100,
        only_with=_SEVERAL,
    )
    address: str | None = setting(
        None,
        "Address of the cluster",
        "Of Ray Jobs, as `ray start` says it on its head: http://127.0.0.1:8265, say.",
        empty="none",
        only_with=("where", ("ray",)),
        max_length=400,
    )
    storage: str | None = setting(
        None,
        "Storage",
        "`s3://bucket/folder` (with `?endpoint=…` for a server of your own), over which run and cluster exchange their "
        "files. Empty: the studio's folder, which all machines of the cluster see under the same path.",
        empty="none",
        only_with=("where", ("ray",)),
        max_length=400,
    )

    @property
    def several(self) -> bool:
        return self.where != "local"


class ExportConfig(Section):
    """Not part of a run: asked for when a finished run is exported."""

    to: Target = setting(
        "merged",
        "Export as",
        "`merged`: one model that needs no adapter. `adapter`: the small file of differences. `gguf`: one file for "
        "llama.cpp, Ollama and LM Studio. `script`: the run as a Python script that trains it again by itself.",
        advanced=False,
    )
    dtype: Literal["bfloat16", "float16", "float32"] = setting(
        "bfloat16", "Number format", "Of the exported weights.", only_with=("to", ("merged", "adapter"))
    )
    quantization: Quantization = setting(
        "q8_0",
        "GGUF precision",
        "`q8_0`: half the size of `f16`, hardly a difference. `q4_1` and `q4_0`: a quarter, with losses that small "
        "models feel; the proof says how large.",
        only_with=("to", ("gguf",)),
    )
    into: Into = setting(
        "closer",
        "Merge into",
        "Of a run on a 4-bit base (QLoRA). `original`: the weights as they were published. `dequantised`: the rounded "
        "ones that it was trained on, unpacked. `closer`: makes and measures both and keeps the one that answers more "
        "like the chat; this takes twice the time, and twice the room while it works.",
        only_with=("to", ("merged", "gguf")),
    )

    @property
    def precision(self) -> str:
        """How the exported weights are written; a script has none."""
        return {"gguf": self.quantization, "script": ""}.get(self.to, self.dtype)


class RunConfig(Section):
    name: str | None = setting(
        None, "Name", "Shown in the list of runs. Empty: made from the data file's name.", max_length=80
    )
    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig
    template: TemplateConfig = Field(default_factory=TemplateConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    evaluate: EvalConfig = Field(default_factory=EvalConfig)
    launch: LaunchConfig = Field(default_factory=LaunchConfig)

    def with_values(self, values: Mapping[str, Any]) -> RunConfig:
        """A copy with `section.key` settings replaced, checked as if read from a file."""
        return parse_config(merge(self.model_dump(mode="json"), values))


SECTIONS: dict[str, type[Section]] = {
    "model": ModelConfig,
    "data": DataConfig,
    "template": TemplateConfig,
    "train": TrainConfig,
    "evaluate": EvalConfig,
    "launch": LaunchConfig,
}


@dataclass(frozen=True)
class Setting:
    """A field of the configuration with all that is shown of it."""

    section: str
    name: str
    label: str
    help: str
    default: Any
    kind: Literal["choice", "several", "integer", "number", "boolean", "text", "list", "mapping"]
    choices: tuple[str, ...]
    optional: bool
    """Whether empty means 'what fits'."""
    advanced: bool
    unit: str
    source: str
    recommended: tuple[float, float] | None
    by_method: Mapping[str, tuple[float, float]]
    """The recommended range by method, where it depends on it."""
    only_with: tuple[str, tuple[str, ...]] | None
    """The setting, and its values, under which this one does something; None: under all."""
    empty: str
    """What no value means: what is "fitting", or "none"."""
    lines: int
    """That a text is written in."""
    minimum: float | None
    maximum: float | None

    @property
    def key(self) -> str:
        """`train.learning_rate`: the name on the command line, in errors and of the translation."""
        return f"{self.section}.{self.name}" if self.section else self.name


def settings(section: str) -> Iterator[Setting]:
    """The settings of one section in the order they are declared."""
    for name, info in SECTIONS[section].model_fields.items():
        yield describe(section, name, info)


def value_of(config: RunConfig, key: str) -> Any:
    """A setting's value in a configuration, by its dotted key."""
    section, _, name = key.rpartition(".")
    return getattr(getattr(config, section) if section else config, name)


def applies(setting: Setting, config: RunConfig) -> bool:
    """Whether the setting does anything in this configuration; what is still open may become anything."""
    if setting.only_with is None:
        return True
    other, values = setting.only_with
    return value_of(config, other) in (*values, "auto")


def describe(section: str, name: str, info: FieldInfo) -> Setting:
    extra = typing.cast("dict[str, Any]", info.json_schema_extra or {})
    optional, kind, choices = _kind(info.annotation)
    bounds = {type(item).__name__.lower(): item for item in info.metadata}
    minimum = next((getattr(bounds[k], k) for k in ("ge", "gt") if k in bounds), None)
    maximum = next((getattr(bounds[k], k) for k in ("le", "lt") if k in bounds), None)
    return Setting(
        section=section,
        name=name,
        label=info.title or name,
        help=info.description or "",
        default=None if info.is_required() else info.get_default(call_default_factory=True),
        kind=kind,
        choices=choices,
        optional=optional,
        advanced=bool(extra.get("advanced")),
        unit=extra.get("unit", ""),
        source=extra.get("source", ""),
        recommended=extra.get("recommended"),
        by_method=extra.get("by_method", {}),
        only_with=_dotted(section, extra.get("only_with")),
        empty=extra.get("empty", "fitting"),
        lines=extra.get("lines", 1),
        minimum=minimum,
        maximum=maximum,
    )


def _dotted(
    section: str, only_with: tuple[str, tuple[str, ...]] | None
) -> tuple[str, tuple[str, ...]] | None:
    return (f"{section}.{only_with[0]}", only_with[1]) if only_with else None


def _kind(annotation: Any) -> tuple[bool, Any, tuple[str, ...]]:
    """(optional, kind, choices) of a field's type."""
    optional = False
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [part for part in get_args(annotation) if part is not type(None)]
        optional, annotation = len(inner) < len(get_args(annotation)), inner[0]
    if get_origin(annotation) is Literal:
        return optional, "choice", get_args(annotation)
    if get_origin(annotation) is list and get_origin(get_args(annotation)[0]) is Literal:
        return optional, "several", get_args(get_args(annotation)[0])
    if get_origin(annotation) is list:
        return optional, "list", ()
    if get_origin(annotation) is dict:
        return optional, "mapping", ()
    kinds = {bool: "boolean", int: "integer", float: "number"}
    return optional, kinds.get(annotation, "text"), ()


def parse_config(data: Any, *, source: str = "config") -> RunConfig:
    """A RunConfig from a parsed YAML or JSON document.

    Raises StudioError that names the key, what is wrong with it and, for an unknown key, the nearest known one.
    """
    if not isinstance(data, Mapping):
        raise StudioError(
            "{source} is not a list of settings: it holds {kind}.",
            "Write sections such as `model: {{id: starter}}` and `data: {{path: rows.jsonl}}`.",
            source=source,
            kind=type(data).__name__,
        )
    return parse_section(RunConfig, data, source=source)


SectionT = typing.TypeVar("SectionT", bound=Section)


def parse_section(
    kind: type[SectionT], data: Mapping[str, Any], *, source: str = "config", prefix: str = ""
) -> SectionT:
    """One section from its parsed settings; StudioError as for `parse_config`."""
    try:
        return kind.model_validate(dict(data))
    except ValidationError as error:
        raise _explain(kind, error, source, prefix) from None


def _explain(kind: type[Section], error: ValidationError, source: str, prefix: str) -> StudioError:
    first = error.errors(include_url=False)[0]
    path = tuple(str(part) for part in first["loc"])
    key = ".".join((prefix, *path) if prefix else path)
    if first["type"] == "extra_forbidden":
        nearest = _nearest(kind, path)
        if nearest is None:
            return StudioError(
                "{source}: there is no setting {key}.",
                "See docs/settings.md for all settings.",
                source=source,
                key=key,
            )
        near = ".".join((prefix, *path[:-1], nearest) if prefix else (*path[:-1], nearest))
        return StudioError(
            "{source}: there is no setting {key}.",
            "Did you mean {nearest}?",
            source=source,
            key=key,
            nearest=near,
        )
    if first["type"] == "missing":
        return StudioError("{source}: the setting {key} is missing.", "Add it.", source=source, key=key)
    return StudioError(
        "{source}: {key} is {value}, {problem}.",
        "Change it and try again.",
        source=source,
        key=key,
        value=repr(first["input"]),
        problem=_said(first),
    )


_NOT_A_NUMBER = "which is not a number"
_NOT_WHOLE = "which is not a whole number"
_NOT_YES_OR_NO = "which is neither true nor false"
_NOT_A_MAPPING = "which is not a list of names with values"
_PROBLEMS = {
    "float_type": _NOT_A_NUMBER,
    "float_parsing": _NOT_A_NUMBER,
    "finite_number": _NOT_A_NUMBER,
    "int_type": _NOT_WHOLE,
    "int_parsing": _NOT_WHOLE,
    "int_parsing_size": _NOT_WHOLE,
    "int_from_float": _NOT_WHOLE,
    "bool_type": _NOT_YES_OR_NO,
    "bool_parsing": _NOT_YES_OR_NO,
    "string_type": "which is not text",
    "list_type": "which is not a list",
    "dict_type": _NOT_A_MAPPING,
    "model_type": _NOT_A_MAPPING,
    "literal_error": "but it should be {bound}",
    "greater_than": "but it should be greater than {bound}",
    "greater_than_equal": "but it should be {bound} or more",
    "less_than": "but it should be less than {bound}",
    "less_than_equal": "but it should be {bound} or less",
    "string_too_short": "but it should have {bound} or more characters",
    "string_too_long": "but it should have {bound} or fewer characters",
}
"""What pydantic's kinds of error mean to a person, with the bound that each of them carries."""
_BOUNDS = frozenset({"expected", "gt", "ge", "lt", "le", "min_length", "max_length"})


def _said(error: Mapping[str, Any]) -> str:
    """What is wrong with a value, as the end of a sentence that begins with it."""
    template = _PROBLEMS.get(error["type"])
    if template is None:
        return f"but {error['msg'][:1].lower()}{error['msg'][1:]}"
    bound = next((value for name, value in error.get("ctx", {}).items() if name in _BOUNDS), "")
    return template.format(bound=f"{bound:.15g}" if isinstance(bound, float) else bound)


def _nearest(kind: type[Section], path: tuple[str, ...]) -> str | None:
    current: Any = kind
    for part in path[:-1]:
        field = current.model_fields.get(part)
        current = field.annotation if field else None
        if not (isinstance(current, type) and issubclass(current, BaseModel)):
            return None
    names = list(current.model_fields)
    close = difflib.get_close_matches(path[-1], names, n=1, cutoff=0.4)
    return close[0] if close else None


def merge(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with dotted `section.key` values put in; unknown sections are kept so that parsing can name them.

    >>> merge({"train": {"seed": 1}}, {"train.seed": 2, "name": "x"})
    {'train': {'seed': 2}, 'name': 'x'}
    """
    merged = {key: dict(value) if isinstance(value, Mapping) else value for key, value in base.items()}
    for dotted, value in values.items():
        section, _, key = dotted.partition(".")
        if not key:
            merged[section] = value
            continue
        inner = merged.setdefault(section, {})
        if not isinstance(inner, dict):
            raise StudioError(
                "There is no setting {key}.", "See docs/settings.md for all settings.", key=dotted
            )
        inner[key] = value
    return merged
