"""Adapters chosen by row: one pass over the base's weights serves rows of the base and of several adapters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import torch
from torch.nn import functional

FLOAT32_TOKENS = 16
"""So many are multiplied at once in float32 at least: a CPU adds up products of fewer rows in an order of their own."""

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

    A plain LoRA layer makes its base's product once for all rows, and adds scale (x A^T) B^T to those of an adapter.
    Other layers (DoRA, an embedding) are asked as PEFT has
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
    def forward(self: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        out: torch.Tensor = self.get_base_layer()(x, *args, **kwargs)
        flat, rows = x.reshape(-1, x.shape[-1]), out.view(-1, out.shape[-1])
        for stretch in switch.of(len(flat)):
            if stretch.adapter is not None and stretch.adapter in self.lora_A:
                part = slice(stretch.start, stretch.end)
                rows[part] = (rows[part] + _update(self, stretch.adapter, flat[part])).to(out.dtype)
        return out

    return forward


def _update(layer: Any, adapter: str, x: torch.Tensor) -> torch.Tensor:
    """What an adapter adds for inputs (tokens, size), computed as PEFT does."""
    a, b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    tokens = len(x)
    x = x.to(a.dtype)
    if tokens < FLOAT32_TOKENS and a.dtype == torch.float32:
        x = functional.pad(x, (0, 0, 0, FLOAT32_TOKENS - tokens))
    up: torch.Tensor = functional.linear(functional.linear(x, a), b)[:tokens]
    return up * layer.scaling[adapter]


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
