"""Products of a few tokens, as those are by which answers are written, at the speed at which a CPU reads the weights.

`torch.nn.functional.linear` gives BLAS a float32 product of few tokens the way round in which it is slow: of four,
2.5 times as slow as of one. The other way round (weights times tokens) four cost what one does. Four or eight at a time
get the same numbers each, wherever they stand and whatever stands beside them, which other counts do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch.nn import functional

FEW, AT_A_TIME = 4, 8
"""Tokens of one product."""


def filled(tokens: int) -> int:
    """How many tokens there have to be, of which the last may be anything, for so many to be multiplied exactly."""
    return FEW if tokens <= FEW else -(-tokens // AT_A_TIME) * AT_A_TIME


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """`linear(x, weight, bias)` for inputs (…, tokens, size); fastest for as many tokens as `filled` says."""
    flat = x.reshape(-1, x.shape[-1]).contiguous()
    tokens = len(flat)
    if filled(tokens) > tokens:
        flat = functional.pad(flat, (0, 0, 0, filled(tokens) - tokens))
    parts = [torch.mm(weight, part.T) for part in flat.split(AT_A_TIME)]
    out = (parts[0] if len(parts) == 1 else torch.cat(parts, 1)).T[:tokens].contiguous()
    if bias is not None:
        out += bias
    return out.view(*x.shape[:-1], -1)


class Narrow:
    """A model's linear layers, which make narrow products as long as `few` lasts."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._on = False
        layers = _linear_layers(model)
        self.works = bool(layers) and _is_exact(layers)
        """Whether this machine's products are exact by the tokens that `filled` says, and there are no others."""
        if self.works:
            for layer in layers:
                self._take(layer)

    def _take(self, layer: Any) -> None:
        def forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
            if self._on:
                return product(x, layer.weight, layer.bias)
            return functional.linear(x, layer.weight, layer.bias)

        layer.forward = MethodType(forward, layer)

    @contextmanager
    def few(self) -> Iterator[None]:
        """All tokens that pass now are those of rows that write, filled up."""
        self._on = True
        try:
            yield
        finally:
            self._on = False


def _linear_layers(model: torch.nn.Module) -> list[Any]:
    """All that multiply, beside an adapter's own parts; none where a layer multiplies in another way (GPT-2's Conv1D,
    experts in one piece)."""
    found = []
    for name, layer in model.named_modules():
        if ".lora_" in name:
            continue
        if type(layer) is torch.nn.Linear:
            found.append(layer)
        elif not isinstance(layer, torch.nn.Embedding) and any(
            weight.ndim > 1 for own, weight in layer.named_parameters(recurse=False) if "lora_" not in own
        ):
            return []
    return found


def _is_exact(layers: list[Any]) -> bool:
    """Tried with one layer of each shape: BLAS libraries promise nothing of the kind."""
    weights = {(layer.weight.shape, layer.weight.stride()): layer.weight for layer in layers}
    with torch.inference_mode():
        return all(map(_same, weights.values()))


def _same(weight: torch.Tensor) -> bool:
    if weight.dtype != torch.float32 or weight.device.type != "cpu":
        return False
    some = torch.randn(AT_A_TIME, weight.shape[1], generator=torch.Generator().manual_seed(0))
    together = product(some, weight, None)
    places = (some.roll(turn, 0) for turn in (3, 6))
    turned = all(
        torch.equal(product(rows, weight, None), together.roll(turn, 0))
        for rows, turn in zip(places, (3, 6), strict=True)
    )
    return turned and torch.equal(product(some[:FEW], weight, None), together[:FEW])
