"""The shape of a model as its config.json tells it: what estimates and defaults are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from studio.domain.errors import StudioError


@dataclass(frozen=True)
class ModelFacts:
    """Sizes of a decoder. `linear` are the weights in its layers' linear modules, which adapters sit on."""

    parameters: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_size: int
    """Width of the keys, and of the values, of one position in one layer."""
    vocabulary: int
    context: int

    @property
    def query_size(self) -> int:
        return self.head_size * self.heads

    head_size: int = 64

    @property
    def layer_shapes(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of the seven linear modules of one layer."""
        h, i, q, kv = self.hidden, self.intermediate, self.query_size, self.key_value_size
        return [(h, q), (h, kv), (h, kv), (q, h), (h, i), (h, i), (i, h)]

    @property
    def linear(self) -> int:
        return self.layers * sum(inputs * outputs for inputs, outputs in self.layer_shapes)

    @property
    def linear_outputs(self) -> int:
        """Rows of all linear weights: DoRA's magnitudes."""
        return self.layers * sum(outputs for _, outputs in self.layer_shapes)

    def adapter_parameters(self, rank: int) -> int:
        """Of a LoRA of this rank on every linear layer."""
        return self.layers * sum(rank * (inputs + outputs) for inputs, outputs in self.layer_shapes)


def facts(config: dict[str, Any], parameters: int) -> ModelFacts:
    """From a parsed config.json; StudioError where it lacks the sizes of a decoder."""
    text = {**config, **(config.get("text_config") or {})}

    def size(*names: str) -> int:
        for name in names:
            if isinstance(text.get(name), int):
                return int(text[name])
        raise StudioError(
            "The model's config.json has no {name}: it does not describe a text model that the studio knows.",
            "Choose a decoder-only language model such as Llama, Qwen, Mistral or Gemma.",
            name=names[0],
        )

    hidden, heads = size("hidden_size", "n_embd", "d_model"), size("num_attention_heads", "n_head")
    head_size = text.get("head_dim") or hidden // heads
    key_value_heads = text.get("num_key_value_heads") or heads
    return ModelFacts(
        parameters=parameters,
        hidden=hidden,
        intermediate=text.get("intermediate_size") or 4 * hidden,
        layers=size("num_hidden_layers", "n_layer"),
        heads=heads,
        key_value_size=head_size * key_value_heads,
        vocabulary=size("vocab_size"),
        context=text.get("max_position_embeddings") or text.get("n_positions") or 2048,
        head_size=head_size,
    )
