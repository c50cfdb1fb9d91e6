"""A fixed number of texts out of a million, chosen by their hash: the same whatever the order, and joined from shards.

The texts with the smallest hashes are kept (a bottom-k sample: Cohen and Kaplan 2007, 'Summarizing data using bottom-k
sketches'). Where the k-th hash stands among all possible ones tells how many different texts there are (Bar-Yossef et
al. 2002, 'Counting distinct elements in a data stream').
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

Item = TypeVar("Item", bound="Ordered")


class Ordered(Protocol):
    """What has a lesser one of two."""

    def __lt__(self, other: Any, /) -> bool: ...


_ALL = float(2**64)


def text_hash(text: str) -> int:
    """64 bits of a text that are the same in every process and on every machine."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


class HashSample(Generic[Item]):
    """Of all hashes offered, the `size` smallest, each with one item and how often it came."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._kept: dict[int, tuple[Item, int]] = {}
        self._largest: list[int] = []
        """The kept hashes, negated: a heap whose first is the largest."""

    def __len__(self) -> int:
        return len(self._kept)

    def wants(self, key: int) -> bool:
        """Whether an item with this hash would be kept: to make the item only then."""
        return len(self._kept) < self.size or key <= -self._largest[0]

    def add(self, key: int, item: Item, times: int = 1) -> None:
        """Offer an item. Of two with one hash the lesser stays, so that their order does not matter."""
        held = self._kept.get(key)
        if held is not None:
            self._kept[key] = (item if item < held[0] else held[0], held[1] + times)
        elif len(self._kept) < self.size:
            self._kept[key] = (item, times)
            heapq.heappush(self._largest, -key)
        elif key < -self._largest[0]:
            self._kept[key] = (item, times)
            del self._kept[-heapq.heapreplace(self._largest, -key)]

    def merge(self, other: HashSample[Item]) -> None:
        for key, (item, times) in other._kept.items():
            self.add(key, item, times)

    def items(self) -> Iterator[tuple[Item, int]]:
        """Items and how often each came, by their hash."""
        return (self._kept[key] for key in sorted(self._kept))

    def distinct(self) -> int:
        """How many different hashes were offered: exact below `size`, else with a deviation of 1/sqrt(size)."""
        if len(self._kept) < self.size:
            return len(self._kept)
        return round((self.size - 1) / (-self._largest[0] / _ALL))
