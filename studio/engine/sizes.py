"""Few sizes instead of many: what varies from step to step is computed with a size that comes again.

On a CPU a kernel is made for each size of a matrix product. That takes a millisecond or more, and the kernel stays
between the large tensors of its step, which leaves the heap with holes that the next ones do not fit into.
"""

from __future__ import annotations


def rounded(count: int) -> int:
    """What a row's tokens, or the positions of a chunk, are filled up to.

    >>> [rounded(count) for count in (1, 85, 300, 600)]
    [16, 96, 320, 640]
    """
    step = 16 if count <= 256 else 32 if count <= 512 else 64
    return -(-count // step) * step


def filled_up(tokens: int) -> int:
    """The next of sixteen sizes between one power of two and the next: 3 % more on average.

    >>> [filled_up(tokens) for tokens in (5, 17, 33, 700, 1025)]
    [5, 17, 34, 704, 1088]
    """
    step = 1 << max(0, tokens.bit_length() - 5)
    return -(-tokens // step) * step
