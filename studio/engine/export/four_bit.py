"""A 4-bit base's weights as training and chat had them: rounded to NF4 and unpacked again, one tensor at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from studio.engine.machine import default_device


@dataclass(frozen=True)
class FourBit:
    """Which of a model's tensors a QLoRA run held in 4 bits, and how to get the numbers that they stood for."""

    transposed: Mapping[str, bool]
    """By a tensor's name in the base's files: whether it is stored as (inputs, outputs), as GPT-2's are."""
    dtype: torch.dtype
    """What the weights were read in before they were rounded."""

    def unpacked(self, name: str, stored: torch.Tensor) -> torch.Tensor:
        """The weight as bitsandbytes gives it back, in the shape that it is stored in; others as they are.

        Rounded on the device that the chat rounds on, so that it is the same to the last bit (Dettmers et al. 2023:
        NF4 in blocks of 64, their scales in 8 bits).
        """
        if name not in self.transposed:
            return stored
        from bitsandbytes.functional import dequantize_4bit
        from bitsandbytes.nn import Params4bit

        weight = stored.to(self.dtype)
        # Blocks run along the rows of (outputs, inputs), however the file has it.
        weight = weight.T if self.transposed[name] else weight
        packed = Params4bit(
            weight.contiguous(), requires_grad=False, quant_type="nf4", compress_statistics=True
        ).to(default_device())
        numbers: torch.Tensor = dequantize_4bit(packed.data, packed.quant_state).cpu()
        return numbers.T if self.transposed[name] else numbers
