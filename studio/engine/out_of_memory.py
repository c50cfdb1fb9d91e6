"""Memory that runs out in mid-run: the same rows again, half as many of them at once."""

from __future__ import annotations

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
