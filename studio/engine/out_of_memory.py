"""Memory that runs out in mid-run: the same rows again, half as many of them at once."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
_SAID = (
    "can't allocate memory",  # PyTorch's allocator for the CPU, which has no type of its own
    "std::bad_alloc",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Python's, a GPU's, or that of a library that has no type for it."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(words in str(error) for words in _SAID)


def fitting(work: Callable[[int], T], size: int, halved: Callable[[int], None]) -> T:
    """`work(size)`; where memory runs out, again from the same random state with half the rows at once.

    `halved(size)` is told so before each new try. Where one row at once does not fit either, the error is raised.
    """
    while True:
        random = _random_state()
        try:
            return work(size)
        except Exception as error:
            if size == 1 or not is_out_of_memory(error):
                raise
        # Only here, outside of `except`, is the error gone, and with it the tensors that it held on to.
        size //= 2
        halved(size)
        _free(random)


def _random_state() -> list[torch.Tensor]:
    import torch

    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if torch.cuda.is_available() else [])]


def _free(random: list[torch.Tensor]) -> None:
    import torch

    torch.set_rng_state(random[0])
    gc.collect()
    if len(random) > 1:
        torch.cuda.set_rng_state(random[1])
        torch.cuda.empty_cache()
