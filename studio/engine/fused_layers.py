"""What of a decoder layer is made in many passes over memory, in few: norms, rotary embedding, LoRA.

The functions are those of the model; only the order of the sums differs. What is not known stays as it is. SwiGLU and
the LoRA layer after it are one operation for the memory's sake: half as much is kept of them, and the time is the same.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from studio.engine import fused_lora, fused_norm
from studio.engine.fused_rotary import rotate

_ATTENTIONS = ("LlamaAttention", "MistralAttention", "Qwen2Attention", "Qwen3Attention")
"""Those whose forward is: project, norm queries and keys if there are norms for it, rotate, attend, project."""
_GATED = ("LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP")
"""Those whose forward is: down(act(gate) * up)."""


def fuse(model: torch.nn.Module) -> None:
    """Replace what is known in a model, with its adapter on it if it is to have one."""
    fused_lora.fuse(model)
    fused_norm.fuse(model)
    for module in list(model.modules()):
        if type(module).__name__ in _ATTENTIONS:
            _fuse_attention(module)
        if (
            type(module).__name__ in _GATED
            and _is_silu(module.act_fn)
            and fused_lora.is_plain(module.down_proj)
        ):
            module.forward = MethodType(_gated, module)


def _is_silu(act: Any) -> bool:
    return isinstance(act, torch.nn.SiLU) or type(act).__name__ == "SiLUActivation"


def _gated(module: Any, x: torch.Tensor) -> torch.Tensor:
    """down(silu(gate(x)) * up(x))."""
    return fused_lora.gated(module.down_proj, module.gate_proj(x), module.up_proj(x))


def _fuse_attention(module: Any) -> None:
    module.joined = fused_lora.join((module.q_proj, module.k_proj, module.v_proj))
    module.forward = MethodType(_attention, module)


def _attention(
    module: Any,
    hidden_states: torch.Tensor,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    attention_mask: torch.Tensor | None = None,
    past_key_values: Any = None,
    **options: Any,
) -> Any:
    """As in transformers; with a cache, which is to say while it generates, it is transformers' own."""
    if past_key_values is not None:
        return type(module).forward(
            module, hidden_states, position_embeddings, attention_mask, past_key_values, **options
        )
    q, k, v = _projected(module, hidden_states)
    if hasattr(module, "q_norm"):
        q, k = module.q_norm(q), module.k_norm(k)
    cos, sin = position_embeddings
    attend = ALL_ATTENTION_FUNCTIONS[module.config._attn_implementation]
    out, shares = attend(
        module,
        rotate(q.transpose(1, 2), cos, sin),
        rotate(k.transpose(1, 2), cos, sin),
        v.transpose(1, 2),
        attention_mask,
        dropout=module.attention_dropout if module.training else 0.0,
        scaling=module.scaling,
        sliding_window=getattr(module, "sliding_window", getattr(module.config, "sliding_window", None)),
        **options,
    )
    return module.o_proj(out.reshape(*hidden_states.shape[:-1], -1)), shares


def _projected(module: Any, x: torch.Tensor) -> list[torch.Tensor]:
    """Queries, keys and values, each (rows, positions, heads, head size)."""
    parts = (
        module.joined(x).split(module.joined.sizes, -1)
        if module.joined
        else (module.q_proj(x), module.k_proj(x), module.v_proj(x))
    )
    return [part.view(*x.shape[:-1], -1, module.head_dim) for part in parts]
