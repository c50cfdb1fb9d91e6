"""Results that are kept in memory by what they were made of, within a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Kept(Generic[Result]):
    """Of what does not fit into `room` bytes, the results that were not asked for the longest go first.

    The last one stays even where it alone is larger: it is being looked at, and would be made anew at every look.
    """

    def __init__(self, room: int, size: Callable[[Result], int]) -> None:
        self.room = room
        self._size = size
        self._held: OrderedDict[Hashable, tuple[Result, int]] = OrderedDict()
        self._lock = Lock()

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._held

    def get(self, key: Hashable, make: Callable[[], Result]) -> Result:
        """The result kept under the key, or that of `make`, which runs outside of the lock."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][0]
        result = make()
        size = self._size(result)
        with self._lock:
            self._held[key] = result, size
            self._held.move_to_end(key)
            taken = sum(size for _, size in self._held.values())
            while taken > self.room and len(self._held) > 1:
                _, (_, freed) = self._held.popitem(last=False)
                taken -= freed
        return result
