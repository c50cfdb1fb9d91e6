"""Adapters: put on a base, begun (at zero, as PiSSA, as an earlier one), and written in PEFT's format.

PiSSA begins as the r largest singular directions B0 A0 of each weight W and trains B A on W - B0 A0. Here W stays as it
is and the adapter is B A - B0 A0: a LoRA of twice the rank whose second half is fixed. That is the same function, works
on a 4-bit base too, and chat, merge, export and a run that goes on from it need not know how it began.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils import parametrize

from studio.domain.config import TrainConfig
from studio.domain.errors import StudioError
from studio.engine.models import target_modules
from studio.engine.tuned import ADAPTER_WEIGHTS

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel

_TRAINED, _FIXED = ".parametrizations.weight.original", ".parametrizations.weight.0.fixed"
_MAGNITUDE = ".lora_magnitude_vector"
_EXACT_SIDE = 512
"""Weights whose shorter side is longer are decomposed by a randomised method: the exact one takes minutes for each."""
_POWER_ITERATIONS = 16
"""Of that method; Meng et al. 2024 find it as good as exact with so many."""


def add(base: PreTrainedModel, config: TrainConfig, begin_with: Path | None = None) -> torch.nn.Module:
    """The base with an adapter on it that begins as `config` says, or with the weights in the folder `begin_with`."""
    from peft import get_peft_model

    modules = config.target_modules or target_modules(base)
    try:
        model = get_peft_model(base, lora_config(config, modules))
    except ValueError as error:
        raise StudioError(
            "No adapter can be put on {modules}: {problem}",
            "Leave the target modules empty: every linear layer is then found by itself.",
            modules=", ".join(config.target_modules or []),
            problem=str(error).splitlines()[0],
        ) from error
    if begin_with is not None:
        _copy(model, begin_with)
    elif config.adapter_start == "pissa":
        _begin_as_pissa(model)
    return model


def lora_config(config: TrainConfig, modules: Iterable[str]) -> LoraConfig:
    """PEFT's description of the adapter that is trained."""
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(modules),
        use_rslora=config.rank_stabilized,
        use_dora=config.dora,
        bias="none",
    )


def fixed(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The halves of a PiSSA adapter that are not trained, by name."""
    return {name: tensor for name, tensor in model.named_buffers() if name.endswith(_FIXED)}


def write(state: Mapping[str, torch.Tensor], trained: LoraConfig, folder: Path) -> None:
    """An adapter in PEFT's format: `state` holds its tensors by their names in the model that `trained` was put on."""
    from safetensors.torch import save_file

    described = trained
    if any(name.endswith(_FIXED) for name in state):
        described = _of_twice_the_rank(trained)
    described.inference_mode = True
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _named_as_saved(state).items()}
    save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    described.save_pretrained(str(folder))


def _of_twice_the_rank(trained: LoraConfig) -> LoraConfig:
    """With the alpha that keeps the scale."""
    from copy import copy

    doubled = copy(trained)
    doubled.r = 2 * trained.r
    doubled.lora_alpha = trained.lora_alpha * (math.sqrt(2) if trained.use_rslora else 2)
    return doubled


def _named_as_saved(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """By PEFT's names in files, PiSSA's halves joined: A's one above the other, B's side by side."""
    saved = {}
    for name, tensor in state.items():
        if name.endswith(_FIXED):
            continue
        if name.endswith(_TRAINED):
            other = state[name.removesuffix(_TRAINED) + _FIXED]
            tensor = torch.cat([tensor, other], dim=0 if ".lora_A." in name else 1)
            name = name.removesuffix(_TRAINED) + ".weight"
        plain = name.replace(".default.", ".")
        saved[plain.removesuffix(".weight") if _MAGNITUDE in plain else plain] = tensor
    return saved


def _copy(model: Any, folder: Path) -> None:
    """Copy an adapter's weights. Raises StudioError where they are those of another shape."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    try:
        loaded = set_peft_model_state_dict(model, load_file(folder / ADAPTER_WEIGHTS))
    except RuntimeError:
        loaded = None
    if loaded is None or loaded.unexpected_keys:
        raise StudioError(
            "The adapter in {path} does not fit this base model and its settings.",
            "Continue from it with its own base model, rank and target modules.",
            path=str(folder),
        )


class _Beside(torch.nn.Module):
    """A weight whose first part is trained and whose other part is fixed."""

    fixed: torch.Tensor

    def __init__(self, fixed: torch.Tensor, dim: int) -> None:
        super().__init__()
        self.register_buffer("fixed", fixed)
        self._dim = dim

    def forward(self, trained: torch.Tensor) -> torch.Tensor:
        return torch.cat([trained, self.fixed.to(trained.dtype)], self._dim)


def _begin_as_pissa(model: torch.nn.Module) -> None:
    from peft.tuners.lora import LoraLayer
    from peft.utils.integrations import dequantize_module_weight

    for name, layer in model.named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        a, b, scale = layer.lora_A["default"], layer.lora_B["default"], layer.scaling["default"]
        weight = dequantize_module_weight(layer.get_base_layer()).detach().float()
        if getattr(layer, "fan_in_fan_out", False):
            weight = weight.T
        rank = a.weight.shape[0]
        if rank > min(weight.shape):
            raise StudioError(
                "PiSSA cannot begin {module} at rank {rank}: its weights have only {limit} directions.",
                "Choose a rank of {limit} or less, or let the adapter begin at zero.",
                module=name.rsplit(".", 1)[-1],
                rank=rank,
                limit=min(weight.shape),
            )
        left, values, right = _largest(weight, rank)
        root = torch.sqrt(values / scale)
        with torch.no_grad():
            a.weight.copy_(root[:, None] * right)
            b.weight.copy_(left * root)
        _hold(a, a.weight.detach().clone(), 0)
        _hold(b, -b.weight.detach(), 1)


def _largest(weight: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The largest `rank` singular values of (outputs, inputs): left (outputs, rank), values, right (rank, inputs)."""
    if min(weight.shape) <= _EXACT_SIDE:
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        return left[:, :rank], values[:rank], right[:rank]
    left, values, right = torch.svd_lowrank(weight, rank, niter=_POWER_ITERATIONS)
    return left, values, right.T


def _hold(linear: torch.nn.Module, other: torch.Tensor, dim: int) -> None:
    parametrize.register_parametrization(linear, "weight", _Beside(other, dim), unsafe=True)
