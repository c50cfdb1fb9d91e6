"""NEFTune: uniform noise on the embeddings of the rows that are learnt from (Jain et al. 2023, arXiv:2310.05914)."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch


class Noise:
    """Noise of a row with L tokens of size d, uniform within alpha / sqrt(L d).

    Each row's is drawn from a seed of its own: how a batch is cut up, and stopping and going on, do not change it.
    """

    def __init__(self, embeddings: torch.nn.Module, alpha: float) -> None:
        self._alpha = alpha
        self._seeds: Sequence[int] = ()
        self._lengths: Sequence[int] = ()
        embeddings.register_forward_hook(self._add)

    def of(self, lengths: Sequence[int], seeds: Sequence[int]) -> None:
        """What the next forward passes read: each row's tokens, and its seed; without seeds there is no noise."""
        self._lengths, self._seeds = lengths, seeds

    def _add(
        self, _: torch.nn.Module, __: tuple[torch.Tensor, ...], embedded: torch.Tensor
    ) -> torch.Tensor | None:
        """`embedded` is (1, tokens, size) with the rows end to end, or (rows, longest, size)."""
        if not self._seeds:
            return None
        noise = torch.zeros_like(embedded)
        packed = len(embedded) == 1
        start = 0
        for row, (length, seed) in enumerate(zip(self._lengths, self._seeds, strict=True)):
            drawn = self._drawn(seed, length, embedded)
            if packed:
                noise[0, start : start + length] = drawn
                start += length
            else:
                noise[row, :length] = drawn
        return embedded + noise

    def _drawn(self, seed: int, length: int, like: torch.Tensor) -> torch.Tensor:
        size = like.shape[-1]
        generator = torch.Generator(like.device).manual_seed(seed)
        limit = self._alpha / math.sqrt(length * size)
        uniform = torch.rand(length, size, generator=generator, device=like.device, dtype=torch.float32)
        return ((2 * uniform - 1) * limit).to(like.dtype)


def seeds(seed: int, step: int, rows: int) -> list[int]:
    """One for each row of a step's batch, unlike those of other steps and runs."""
    return [random.Random(f"{seed} {step} {row}").getrandbits(63) for row in range(rows)]
