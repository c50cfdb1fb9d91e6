"""A frozen base in parts: each process keeps its share of every layer's weights, and holds one layer whole at a time.

Nothing of it is trained, so there are no gradients to scatter: the adapter stays whole on every process. A weight's
storage is emptied and filled again where it lies, as torch's first FSDP did (Zhao et al. 2023, arXiv:2304.11277). So
whatever looks at it stays valid: 4-bit weights, layers joined to one product, what the backward pass will need.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from studio.engine.ranks import Ranks


class FrozenShards:
    """The frozen weights of layers, from now on in parts. All processes call the layers alike.

    A layer is made whole when it is called, and when the backward pass comes to it; that gives up the one before. All
    that uses a layer's weights is on the backward pass's way to the layer below, and done when it comes there.
    """

    def __init__(
        self,
        layers: Sequence[torch.nn.Module],
        ranks: Ranks,
        prepare: Callable[[torch.nn.Module], None] = lambda layer: None,
    ) -> None:
        """`prepare` is called with each layer while it is whole."""
        seen = Counter(id(weight) for layer in layers for weight in _frozen(layer))
        self._parts = []
        self._whole: _Part | None = None
        for layer in layers:
            own = [weight for weight in _frozen(layer) if seen[id(weight)] == 1]
            prepare(layer)
            part = _Part(own, ranks)
            self._parts.append(part)
            layer.register_forward_pre_hook(self._opening(part))
            layer.register_full_backward_pre_hook(self._opening(part))

    @property
    def bytes(self) -> int:
        """That this process holds for good."""
        return sum(part.kept.numel() for part in self._parts)

    def _opening(self, part: _Part) -> Callable[..., None]:
        def opened(*_: Any) -> None:
            if self._whole is part:
                return
            if self._whole is not None:
                self._whole.give_up()
            self._whole = None
            part.make_whole()
            self._whole = part

        return opened


class _Part:
    """This process's share of the weights of one layer."""

    def __init__(self, weights: Sequence[torch.nn.Parameter], ranks: Ranks) -> None:
        self._ranks = ranks
        self._storages = _storages(weights)
        self._sizes = [storage.nbytes() for storage in self._storages]
        share = -(-sum(self._sizes) // ranks.size)
        device = weights[0].device if weights else torch.device(ranks.device)
        flat = torch.zeros(share * ranks.size, dtype=torch.uint8, device=device)
        for place, storage in zip(self._places(flat), self._storages, strict=True):
            place.copy_(_seen(storage))
        self.kept = flat[share * ranks.rank : share * (ranks.rank + 1)].clone()
        """Bytes."""
        self.give_up()

    def make_whole(self) -> None:
        if not self._storages:
            return
        flat = self._ranks.end_to_end(self.kept)
        for place, storage, size in zip(self._places(flat), self._storages, self._sizes, strict=True):
            storage.resize_(size)
            _seen(storage).copy_(place)

    def give_up(self) -> None:
        for storage in self._storages:
            storage.resize_(0)

    def _places(self, flat: torch.Tensor) -> Sequence[torch.Tensor]:
        rest = flat.numel() - sum(self._sizes)
        return flat.split([*self._sizes, rest])[:-1]


def _frozen(layer: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The matrices; norms and biases are small, and stay whole."""
    return [weight for weight in layer.parameters() if not weight.requires_grad and weight.ndim > 1]


def _storages(weights: Sequence[torch.nn.Parameter]) -> list[torch.UntypedStorage]:
    """What the weights lie in, each once; a weight in a storage that holds more, or has a fixed size, gets its own."""
    together: dict[int, list[torch.nn.Parameter]] = {}
    for weight in weights:
        together.setdefault(weight.untyped_storage().data_ptr(), []).append(weight)
    found = []
    for members in together.values():
        storage = members[0].untyped_storage()
        if storage.resizable() and storage.nbytes() == sum(weight.nbytes for weight in members):
            found.append(storage)
            continue
        for weight in members:
            weight.data = weight.data.clone()
            found.append(weight.untyped_storage())
    return found


def _seen(storage: torch.UntypedStorage) -> torch.Tensor:
    """A storage's bytes. Writing here counts as no change of the weights: autograd finds in them what it left there."""
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
