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


COUNTS = (2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 39, 48, 64)
"""Tokens of the products that `exact_from` tries."""


def exact_from(model: torch.nn.Module) -> int:
    """From how many tokens on a model's linear layers give each token the same numbers, however many there are.

    Two at least: in bfloat16 the long sums of a single token may be added up in another order, which shows in one of
    10,000 numbers, so that no short trial tells. More are tried with one layer of each kind and shape, as no library
    promises anything; 16 where no fewer do, or not even those.
    """
    layers: dict[tuple[Any, ...], Any] = {}
    for name, layer in model.named_modules():
        size, out = getattr(layer, "in_features", None), getattr(layer, "out_features", None)
        if (
            isinstance(size, int)
            and isinstance(out, int)
            and ".lora_" not in name
            and not hasattr(layer, "base_layer")
        ):
            layers.setdefault((type(layer), size, out), layer)
    if not layers:
        return COUNTS[0]
    with torch.inference_mode():
        last = max((count for layer in layers.values() for count in _other_counts(layer)), default=0)
    return min(_MOST, next(count for count in COUNTS if count > last))


_MOST = 16


def _other_counts(layer: Any) -> list[int]:
    """Of `COUNTS`, those whose tokens get other numbers from a layer than among the most."""
    weight = layer.weight
    dtype = weight.dtype if weight.dtype.is_floating_point else torch.bfloat16
    some = torch.randn(COUNTS[-1], layer.in_features, generator=torch.Generator().manual_seed(0))
    rows = some.to(device=weight.device, dtype=dtype)
    together = layer(rows[None])[0]
    return [
        count
        for count in COUNTS[:-1]
        if not all(
            torch.equal(layer(rows[None, first : first + count])[0], together[first : first + count])
            for first in (0, COUNTS[-1] - count)
        )
    ]


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
