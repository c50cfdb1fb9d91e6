"""Models ready to answer: what runs have made, base and tuned over one copy of the weights, or a base model alone."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from studio.domain.answer import BASE, TUNED, Side
from studio.domain.chat import Message
from studio.domain.config import RunConfig
from studio.domain.errors import StudioError
from studio.domain.loading import Step, overall
from studio.engine.encode import Encoder
from studio.engine.machine import default_device
from studio.engine.templates import Template
from studio.engine.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch

    from studio.engine.adapter_rows import Stretch, Switch
    from studio.engine.models import Dtype
    from studio.engine.narrow import Narrow

ADAPTER_WEIGHTS = "adapter_model.safetensors"
_PEFT_PREFIX = "base_model.model."
_NO_LIMIT = 1 << 20
"""The context of a model whose config names none."""


@dataclass(frozen=True)
class TunedRun:
    """What a run has made and how, read without loading a model."""

    id: str
    name: str
    config: RunConfig
    """Resolved: nothing in it is left to be chosen."""
    model_path: Path
    template: Template
    tokenizer: Tokenizer
    kind: Literal["adapter", "model", "checkpoint"]
    weights: Path
    """The folder adapter/ or model/, or the latest checkpoint of a run that did not reach its end."""
    for_texts: Template | None = None
    """By which rows that are plain texts were written."""

    @property
    def full(self) -> bool:
        """Whether every weight was trained, so that there is no adapter."""
        return self.config.train.method == "full"

    @property
    def four_bit(self) -> bool:
        """Whether its adapter was trained on a base whose layers were held in 4 bits."""
        return self.config.train.method == "qlora"

    @cached_property
    def encoder(self) -> Encoder:
        """Writes prompts and rows as they were in training."""
        return Encoder(self.template, self.tokenizer, self.config.template, self.for_texts)

    @property
    def stop_ids(self) -> list[int]:
        return self.encoder.stop_ids

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids that either side is given to answer."""
        return self.encoder.prompt(messages)


@dataclass
class Pair:
    """Base and tuned model, with other runs and checkpoints beside them if they were asked for; or a base model alone.

    With adapters all are one: the base is the same model with every adapter switched off.
    """

    sides: dict[Side, Any]
    """A side's model, without PEFT around it."""
    device: str
    context: int
    """Tokens that prompt and answer may have together."""
    adapters: dict[Side, str] = field(default_factory=dict)
    """The names of the adapters that sides have."""
    switch: Switch | None = None
    """Which adapter a token passes; None where there is no adapter."""
    by_rows: dict[int, bool] = field(default_factory=dict)
    """Whether a model, by its id, can be read by rows (`decoding.is_exact`), where it was tried."""
    narrow: dict[int, Narrow] = field(default_factory=dict)
    """How a float32 model on a CPU, by its id, is read by rows that write."""
    fewest: dict[int, int] = field(default_factory=dict)
    """How many tokens another model on a CPU, by its id, is to be given at least (`narrow.exact_from`)."""

    @property
    def models(self) -> list[Any]:
        """Each model once."""
        return [*{id(model): model for model in self.sides.values()}.values()]

    def model(self, side: Side) -> Any:
        """A side's model; its adapter is on or off until another side is asked for."""
        if self.switch is not None:
            self.switch.turn(self.adapters.get(side))
        return self.sides[side]

    @contextmanager
    def by_row(self, stretches: Sequence[Stretch]) -> Iterator[None]:
        """Adapters chosen by stretches of one flattened batch, as long as it lasts."""
        if self.switch is not None:
            self.switch.turn_by(stretches)
        try:
            yield
        finally:
            if self.switch is not None:
                self.switch.turn_by(())

    def logits(
        self, side: Side, ids: list[int], cache: Any = None, *, last: int = 1
    ) -> tuple[torch.Tensor, Any]:
        """Logits after the `last` tokens of `ids`, which follow on what `cache` has seen, and the new cache.

        Shape (last, vocabulary), float32, on the CPU, so that drawing from them is the same on every device.
        """
        import torch

        model = self.model(side)
        with torch.inference_mode():
            inputs = torch.tensor([ids], device=self.device)
            output = model(input_ids=inputs, past_key_values=cache, use_cache=True, **only_last(model, last))
        return output.logits[0, -last:].float().cpu(), output.past_key_values


def only_last(model: Any, last: int) -> dict[str, int]:
    """Keep a model from computing logits that are not asked for, where it knows how to."""
    known = "logits_to_keep" in inspect.signature(model.forward).parameters
    return {"logits_to_keep": last} if known else {}


def load_pair(
    run: TunedRun,
    *,
    beside: Mapping[Side, TunedRun] | None = None,
    device: str | None = None,
    quantize: bool | None = None,
    step: Step = lambda share: None,
) -> Pair:
    """Load both sides as they were trained: same number format, and for QLoRA the same 4-bit base.

    `beside` are other adapters on the same copy of the weights; `check_beside` says which can be. `quantize` false
    puts a QLoRA run's adapter on the full-precision base instead. `step` is told how far it is (`domain/loading.py`).
    """
    from studio.engine.models import load_base

    config = run.config.train
    device = device or default_device()
    dtype: Any = config.dtype
    if quantize is None:
        quantize = config.method == "qlora"
    models = 2 if run.full else 1

    def read(share: float, before: int = 0) -> None:
        step(overall("weights", (before + share) / models))

    base = load_base(run.model_path, dtype=dtype, device=device, quantize=quantize, step=read)
    if quantize and device == "cpu":
        # The numbers that 4 bits stand for, unpacked once and not for each token: the same answers in half the time.
        base = base.dequantize()
    if run.full:
        tuned = _load_full(run, dtype, device, lambda share: read(share, before=1))
        return Pair({BASE: base.eval(), TUNED: tuned.eval()}, device, _context(base))
    from studio.engine.adapter_rows import attach

    model = with_adapter(base, run)
    adapters = {TUNED: "default"}
    for number, (side, other) in enumerate((beside or {}).items(), start=1):
        step(overall("adapters", number / (len(beside or {}) + 1)))
        adapters[side] = f"beside_{number}"
        _add_adapter(model, other, adapters[side])
    sides: dict[Side, Any] = {side: model.get_base_model() for side in (BASE, *adapters)}
    return Pair(sides, device, _context(base), adapters, attach(model))


def check_beside(run: TunedRun, other: TunedRun) -> None:
    """StudioError where `other` cannot share one copy of the weights with `run`."""
    for one in (run, other):
        if one.full:
            raise StudioError(
                "The run {run} trained every weight: it shares none with another run.",
                "Put runs beside each other that trained an adapter.",
                run=one.name,
            )
    if other.model_path.resolve() != run.model_path.resolve():
        raise StudioError(
            "The run {other} was trained on the model {its}, and {run} on {own}.",
            "Put runs of one base model beside each other.",
            other=other.name,
            its=other.config.model.id,
            run=run.name,
            own=run.config.model.id,
        )
    if _reading(other) != _reading(run):
        raise StudioError(
            "The run {other} reads its base in {its}, and {run} in {own}: one copy of the weights cannot be both.",
            "Put runs beside each other that read the base alike, or compare them one after the other.",
            other=other.name,
            its=_reading(other),
            run=run.name,
            own=_reading(run),
        )


def _reading(run: TunedRun) -> str:
    """How a run has its base's weights in memory."""
    return f"4-bit {run.config.train.dtype}" if run.config.train.method == "qlora" else run.config.train.dtype


def _load_full(run: TunedRun, dtype: Dtype, device: str, step: Step) -> Any:
    from studio.engine.models import load_base

    folder = run.model_path if run.kind == "checkpoint" else run.weights
    tuned = load_base(folder, dtype=dtype, device=device, quantize=False, step=step)
    if run.kind == "checkpoint":
        _put(tuned, run.weights / "weights.safetensors")
    return tuned


def load_alone(
    model_path: Path, dtype: Dtype, *, device: str | None = None, step: Step = lambda share: None
) -> Pair:
    """Load a base model that no run has tuned; `step` as in `load_pair`."""
    from studio.engine.models import load_base

    device = device or default_device()
    base = load_base(
        model_path,
        dtype=dtype,
        device=device,
        quantize=False,
        step=lambda share: step(overall("weights", share)),
    ).eval()
    return Pair({BASE: base}, device, _context(base))


def _context(model: Any) -> int:
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or _NO_LIMIT


def with_adapter(base: Any, run: TunedRun) -> Any:
    """A PeftModel of the base and the run's adapter."""
    from peft import PeftModel

    with tempfile.TemporaryDirectory() as scratch:
        return PeftModel.from_pretrained(base, str(adapter_folder(run, Path(scratch)))).eval()


def _add_adapter(model: Any, run: TunedRun, name: str) -> None:
    """Load another run's adapter into a PeftModel under a name of its own; none becomes active by it."""
    with tempfile.TemporaryDirectory() as scratch:
        model.load_adapter(str(adapter_folder(run, Path(scratch))), adapter_name=name)
    model.eval()


def adapter_folder(run: TunedRun, scratch: Path) -> Path:
    """The adapter in PEFT's format: adapter/, or a checkpoint's weights written so into `scratch`."""
    if run.kind == "adapter":
        return run.weights
    from safetensors.torch import load_file

    from studio.engine import adapters

    state = load_file(run.weights / "weights.safetensors")
    modules = {name.removeprefix(_PEFT_PREFIX).split(".lora_")[0].rsplit(".", 1)[-1] for name in state}
    described = adapters.lora_config(run.config.train, sorted(modules))
    described.base_model_name_or_path = str(run.model_path)
    adapters.write(state, described, scratch)
    return scratch


def _put(model: Any, file: Path) -> None:
    """Copy trained weights into a model by the names of its parameters."""
    import torch
    from safetensors import safe_open

    parameters = dict(model.named_parameters())
    with torch.no_grad(), safe_open(file, framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118 (a file, not a dict)
            parameters[name].copy_(weights.get_tensor(name))
