"""What a family's models are called in GGUF, what is said of their shape, and how their tensors lie there.

After llama.cpp's convert_hf_to_gguf.py, which writes what llama.cpp's loader expects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import torch
from transformers import AutoConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from studio.domain.errors import StudioError

ROPE_FACTORS = "rope_freqs.weight"
"""Llama 3's divisors of the rotary frequencies, (head size / 2,): a tensor of the file, not of the model."""


@dataclass(frozen=True)
class Family:
    """One architecture of transformers as llama.cpp knows it."""

    architecture: gguf.MODEL_ARCH
    interleaved: bool = False
    """llama.cpp rotates neighbours here, transformers halves: rows of queries and keys change places."""
    norm_offset: float = 0.0
    """Added to the weights of norms: Gemma's are kept as their distance from one."""

    @property
    def name(self) -> str:
        return str(gguf.MODEL_ARCH_NAMES[self.architecture])


FAMILIES = {
    "llama": Family(gguf.MODEL_ARCH.LLAMA, interleaved=True),
    "mistral": Family(gguf.MODEL_ARCH.LLAMA, interleaved=True),
    "qwen2": Family(gguf.MODEL_ARCH.QWEN2),
    "qwen3": Family(gguf.MODEL_ARCH.QWEN3),
    "gemma2": Family(gguf.MODEL_ARCH.GEMMA2, norm_offset=1.0),
    "gemma3_text": Family(gguf.MODEL_ARCH.GEMMA3, norm_offset=1.0),
}
"""By transformers' `model_type`."""
_SCALINGS = ("default", "linear", "llama3")


@dataclass(frozen=True)
class Shape:
    """A model's architecture with its sizes."""

    family: Family
    config: Any
    """As transformers reads config.json."""

    @property
    def head_size(self) -> int:
        given = getattr(self.config, "head_dim", None)
        return int(given or self.config.hidden_size // self.config.num_attention_heads)

    @property
    def rope(self) -> dict[str, Any]:
        """Rotary parameters of the layers that see the whole text."""
        parameters: dict[str, Any] = self.config.rope_parameters
        return parameters.get("full_attention", parameters)

    def tensor_names(self) -> Callable[[str], str | None]:
        """From a tensor's name in transformers to that in GGUF; None for one that has no place there."""
        known = gguf.get_tensor_name_map(self.family.architecture, self.config.num_hidden_layers)

        def named(name: str) -> str | None:
            if name == "lm_head.weight" and self.config.tie_word_embeddings:
                return None
            found: str | None = known.get_name(name, try_suffixes=(".weight", ".bias"))
            return found

        return named

    def laid_out(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor by its GGUF name as llama.cpp wants it, of the same shape."""
        if self.family.interleaved and ".attn_q." in name:
            return _interleaved(tensor, self.config.num_attention_heads)
        if self.family.interleaved and ".attn_k." in name:
            return _interleaved(tensor, self.config.num_key_value_heads)
        if self.family.norm_offset and name.endswith("norm.weight"):
            return tensor.float() + self.family.norm_offset
        return tensor

    def rope_factors(self) -> torch.Tensor | None:
        """By what Llama 3 divides the rotary frequencies; None where they are as they always were."""
        if self.rope["rope_type"] != "llama3":
            return None
        scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](self.config, torch.device("cpu"))
        exponents = torch.arange(0, self.head_size, 2).float() / self.head_size
        return (1.0 / self.rope["rope_theta"] ** exponents) / scaled

    def describe(self, writer: gguf.GGUFWriter) -> None:
        """Write the sizes and constants that the architecture is computed with."""
        config = self.config
        writer.add_vocab_size(config.vocab_size)
        writer.add_context_length(config.max_position_embeddings)
        writer.add_embedding_length(config.hidden_size)
        writer.add_block_count(config.num_hidden_layers)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count(config.num_attention_heads)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_key_length(self.head_size)
        writer.add_value_length(self.head_size)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_dimension_count(self.head_size)
        writer.add_rope_freq_base(self.rope["rope_theta"])
        if self.rope["rope_type"] == "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(self.rope["factor"])
        if self.family.name.startswith("gemma"):
            self._describe_gemma(writer)

    def _describe_gemma(self, writer: gguf.GGUFWriter) -> None:
        """Layers that see a window, and scores that are capped."""
        config = self.config
        writer.add_sliding_window(config.sliding_window)
        if "sliding_attention" in config.rope_parameters:
            writer.add_rope_freq_base_swa(config.rope_parameters["sliding_attention"]["rope_theta"])
        if config.attn_logit_softcapping:
            writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        if config.final_logit_softcapping:
            writer.add_final_logit_softcapping(config.final_logit_softcapping)


def shape_of(model_path: Path) -> Shape:
    """Raises StudioError where this architecture, or something in it, is not written."""
    config = AutoConfig.from_pretrained(model_path, local_files_only=True)
    if config.model_type not in FAMILIES:
        raise StudioError(
            "A model of the architecture {architecture} cannot be written as GGUF here.",
            "Export it as `merged`: llama.cpp's own convert_hf_to_gguf.py knows more. Written are: {known}.",
            architecture=config.model_type,
            known=", ".join(FAMILIES),
        )
    shape = Shape(FAMILIES[config.model_type], config)
    if shape.rope["rope_type"] not in _SCALINGS:
        raise StudioError(
            "The model scales its positions by {scaling}, which is not written as GGUF here.",
            "Export it as `merged`: llama.cpp's own convert_hf_to_gguf.py may know it.",
            scaling=shape.rope["rope_type"],
        )
    return shape


def _interleaved(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of each head from (half, place) to (place, half); a bias too."""
    halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape)
