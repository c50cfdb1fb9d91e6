"""Adapters chosen by row: one pass over the base's weights serves rows of the base and of several adapters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


Parts = tuple[tuple[Adapter, float], ...]
"""Adapters that lie beside each other in one layer, each with the number that its product is multiplied with."""


@dataclass(frozen=True)
class Turned:
    """Which of a layer's adapters are passed, and by which tokens."""

    adapters: slice
    """From the first that any token passes to the last."""
    scales: torch.Tensor
    """(adapters, tokens, 1): an adapter's scale where a token passes it, 0 elsewhere."""


@dataclass(frozen=True)
class Each:
    """Tokens that write, each of a row of its own, and the adapter of a layer that each of them passes."""

    tokens: slice | torch.Tensor
    """Those that pass one."""
    adapters: slice | torch.Tensor
    """As many, in the order of the tokens, or the one that all pass."""
    scales: torch.Tensor
    """(tokens, 1, 1)"""


class Switch:
    """What the layers of one model look at to know which adapter a token passes; at first the base for all."""

    def __init__(self) -> None:
        self.adapter: Adapter = None
        """Of all tokens, unless there are stretches."""
        self.stretches: Sequence[Stretch] = ()
        self._turned: dict[tuple[Parts, int], tuple[Turned | None, Each | None]] = {}

    def turn(self, adapter: Adapter) -> None:
        """All tokens pass one adapter from now on."""
        self.adapter = adapter
        self._turned.clear()

    def turn_by(self, stretches: Sequence[Stretch]) -> None:
        """Each stretch passes its own; none gives all tokens to the one adapter again."""
        self.stretches = stretches
        self._turned.clear()

    def turned(self, parts: Parts, tokens: int, like: torch.Tensor) -> tuple[Turned | None, Each | None]:
        """Of prompts and of rows that write; None where none of them passes an adapter. Layers share it until
        something else is turned."""
        if (parts, tokens) not in self._turned:
            self._turned[parts, tokens] = self._made(parts, tokens, like)
        return self._turned[parts, tokens]

    def _made(self, parts: Parts, tokens: int, like: torch.Tensor) -> tuple[Turned | None, Each | None]:
        places = {adapter: place for place, (adapter, _) in enumerate(parts)}
        stretches = self.stretches or (Stretch(0, tokens, self.adapter),)
        passed = [(places[stretch.adapter], stretch) for stretch in stretches if stretch.adapter in places]
        wide = [one for one in passed if not self._writes(one[1])]
        single = [one for one in passed if self._writes(one[1])]
        turned = _wide(parts, wide, tokens, like) if wide else None
        return turned, _each(parts, single, like) if single else None

    def _writes(self, stretch: Stretch) -> bool:
        return bool(self.stretches) and stretch.end - stretch.start == 1


Passed = list[tuple[int, Stretch]]
"""Stretches, each with the place of its adapter."""


def _wide(parts: Parts, passed: Passed, tokens: int, like: torch.Tensor) -> Turned:
    scales = like.new_zeros(len(parts), tokens, 1)
    for place, stretch in passed:
        scales[place, stretch.start : stretch.end] = parts[place][1]
    used = sorted(place for place, _ in passed)
    adapters = slice(used[0], used[-1] + 1)
    return Turned(adapters, scales[adapters])


def _each(parts: Parts, passed: Passed, like: torch.Tensor) -> Each:
    places = [place for place, _ in passed]
    return Each(
        _index([stretch.start for _, stretch in passed], like),
        slice(places[0], places[0] + 1) if len({*places}) == 1 else _index(places, like),
        like.new_tensor([parts[place][1] for place in places])[:, None, None],
    )


def _index(places: list[int], like: torch.Tensor) -> slice | torch.Tensor:
    """A slice, which copies nothing, where the places follow each other."""
    if places == list(range(places[0], places[0] + len(places))):
        return slice(places[0], places[0] + len(places))
    return torch.tensor(places, device=like.device)


def attach(model: torch.nn.Module) -> Switch:
    """Let every adapter layer of a PeftModel obey the switch that is returned.

    A plain LoRA layer makes its base's product once for all rows, and those of its adapters in one batch: more sides
    are no more operations, which cost more than their numbers do. Of prompts each token keeps its own adapter's; of
    rows that write each is multiplied with its own alone. Other layers (DoRA, an embedding) are asked as PEFT has them,
    once for each stretch.
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
    groups = _groups(layer)

    def forward(self: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        out: torch.Tensor = self.get_base_layer()(x, *args, **kwargs)
        flat = x.reshape(-1, x.shape[-1])
        for group in groups:
            wide, each = switch.turned(group.parts, len(flat), group.a)
            if wide is not None:
                out.add_(group.update(flat, wide).view_as(out))
            if each is not None:
                group.update_each(flat, each, out.view(-1, out.shape[-1]))
        return out

    return forward


@dataclass(frozen=True)
class _Group:
    """A layer's adapters of one rank, in one piece each of A and B."""

    parts: Parts
    a: torch.Tensor
    """(adapters, size, rank)"""
    b: torch.Tensor
    """(adapters, rank, size of the output)"""

    def update(self, x: torch.Tensor, turned: Turned) -> torch.Tensor:
        """What the adapters add for inputs (tokens, size), computed as PEFT does.

        Batched products give an adapter's the same numbers alone and beside others, as one wide product does not.
        """
        tokens = len(x)
        x = x.to(self.a.dtype)
        if tokens < FLOAT32_TOKENS and self.a.dtype == torch.float32:
            x = functional.pad(x, (0, 0, 0, FLOAT32_TOKENS - tokens))
        a, b = self.a[turned.adapters], self.b[turned.adapters]
        up = torch.bmm(torch.bmm(x.expand(len(a), *x.shape), a), b)[:, :tokens] * turned.scales
        # What is not a number, in an adapter that diverged, times 0 is none either: it must not reach others' tokens.
        up = up.where(turned.scales != 0, 0)
        return up.sum(0) if len(a) > 1 else up[0]

    def update_each(self, x: torch.Tensor, each: Each, out: torch.Tensor) -> None:
        """Add to `out` (tokens, size of the output) what each token's adapter makes of its input (tokens, size).

        A product of one token is the same alone and beside others.
        """
        own = x[each.tokens].to(self.a.dtype)[:, None]
        a, b = (part[each.adapters].expand(len(own), -1, -1) for part in (self.a, self.b))
        up = torch.bmm(torch.bmm(own, a), b).mul_(each.scales)[:, 0]
        if isinstance(each.tokens, slice):
            out[each.tokens].add_(up)
        else:
            out[each.tokens] = (out[each.tokens] + up).to(out.dtype)  # rounded once, as above


def _groups(layer: Any) -> list[_Group]:
    """The layer's own weights become views of the groups', so that nothing is held twice."""
    by_rank: dict[int, list[str]] = {}
    for name, part in layer.lora_A.items():
        by_rank.setdefault(len(part.weight), []).append(name)
    return [
        _Group(
            tuple((name, layer.scaling[name]) for name in names),
            _together([layer.lora_A[name] for name in names]),
            _together([layer.lora_B[name] for name in names]),
        )
        for names in by_rank.values()
    ]


def _together(layers: Sequence[torch.nn.Linear]) -> torch.Tensor:
    """(layers, size of the input, size of the output)"""
    weights = torch.stack([layer.weight.detach().T for layer in layers])
    for layer, weight in zip(layers, weights, strict=True):
        layer.weight.data = weight.T
    return weights


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
