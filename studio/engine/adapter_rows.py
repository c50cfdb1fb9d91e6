"""Adapters chosen by row: one pass over the base's weights serves rows of the base and of several adapters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import torch
from torch.nn import functional

Adapter = str | None
"""The name of an adapter that a model carries; None for the base."""


@dataclass(frozen=True)
class Stretch:
    """Tokens of a flattened batch, from `start` to `end`, that pass the same adapter."""

    start: int
    end: int
    adapter: Adapter


@dataclass
class Switch:
    """What the layers of one model look at to know which adapter a token passes."""

    adapter: Adapter = None
    """Of all tokens, unless there are stretches."""
    stretches: Sequence[Stretch] = field(default_factory=tuple)

    def of(self, tokens: int) -> Sequence[Stretch]:
        return self.stretches or (Stretch(0, tokens, self.adapter),)


def attach(model: torch.nn.Module) -> Switch:
    """Let every adapter layer of a PeftModel obey the switch that is returned; all tokens pass the base at first.

    A plain LoRA layer makes its base's product once for all rows, and adds scale (x A^T) B^T to those of an adapter, in
    the base's number format, as in training (`fused_lora`). Other layers (DoRA, an embedding) are asked as PEFT has
    them, once for each stretch.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    switch = Switch()
    for layer in model.modules():
        if isinstance(layer, BaseTunerLayer):
            forward = _plain(layer, switch) if _is_plain(layer) else _any(layer, switch)
            layer.forward = MethodType(forward, layer)
    return switch


def _is_plain(layer: Any) -> bool:
    from peft.tuners.lora import LoraLayer

    return (
        isinstance(layer, LoraLayer)
        and isinstance(layer.get_base_layer(), torch.nn.Linear)
        and not layer.lora_variant
        and not layer.merged
        and not getattr(layer, "fan_in_fan_out", False)
        and all(part.bias is None for part in layer.lora_B.values())
    )


def _plain(layer: Any, switch: Switch) -> Callable[..., torch.Tensor]:
    factors: dict[str, tuple[torch.Tensor, torch.Tensor, float]] = {}

    def of(name: str, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
        if name not in factors or factors[name][0].dtype != like.dtype:
            down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
            factors[name] = (down.detach().to(like), up.detach().to(like).T, layer.scaling[name])
        return factors[name]

    def forward(self: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        out: torch.Tensor = self.get_base_layer()(x, *args, **kwargs)
        flat, rows = x.reshape(-1, x.shape[-1]), out.view(-1, out.shape[-1])
        for stretch in switch.of(len(flat)):
            if stretch.adapter is not None and stretch.adapter in self.lora_A:
                a, b, scale = of(stretch.adapter, out)
                down = functional.linear(flat[stretch.start : stretch.end].to(out.dtype), a)
                rows[stretch.start : stretch.end].addmm_(down, b, alpha=scale)
        return out

    return forward


def _any(layer: Any, switch: Switch) -> Callable[..., torch.Tensor]:
    own = layer.forward

    def part(self: Any, x: torch.Tensor, adapter: Adapter, *args: Any, **kwargs: Any) -> torch.Tensor:
        # PEFT's own switches also walk all parameters for their gradients: milliseconds, once a token.
        self._disable_adapters = adapter is None
        if adapter is not None:
            self._active_adapter = [adapter]
        out: torch.Tensor = own(x, *args, **kwargs)
        return out

    def forward(self: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if not switch.stretches:
            return part(self, x, switch.adapter, *args, **kwargs)
        # Stretches are of batches of one flattened sequence: (1, tokens, size), or (1, tokens) of an embedding's ids.
        parts = [
            part(self, x[:, stretch.start : stretch.end], stretch.adapter, *args, **kwargs)
            for stretch in switch.stretches
        ]
        return torch.cat(parts, 1)

    return forward
