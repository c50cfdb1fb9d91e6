"""A GGUF file as transformers loads it: an independent reader of what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from studio.engine.export.gguf.vocabulary import read_end_ids, read_tokenizer
from studio.engine.tuned import TunedRun

_NOT_READ = (
    "head_dim",
    "rope_parameters",
    "attention_bias",
    "mlp_bias",
    "sliding_window",
    "use_sliding_window",
    "layer_types",
    "query_pre_attn_scalar",
    "attn_logit_softcapping",
    "final_logit_softcapping",
)
"""What llama.cpp reads or knows by itself, and transformers' reader of GGUF does not for every family."""


def load_gguf(run: TunedRun, file: Path, device: str) -> tuple[Any, Any]:
    """(model in float32, tokenizer) from the file; only what transformers does not read in it is the base's."""
    config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
    base = AutoConfig.from_pretrained(run.model_path, local_files_only=True)
    for name in _NOT_READ:
        if hasattr(base, name) and hasattr(config, name):
            setattr(config, name, getattr(base, name))
    model = AutoModelForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        config=config,
        dtype=torch.float32,
        device_map={"": device},
        local_files_only=True,
    ).eval()
    reader = gguf.GGUFReader(file)
    tokenizer = read_tokenizer(reader)
    model.generation_config.eos_token_id = read_end_ids(reader)
    model.generation_config.pad_token_id = run.tokenizer.pad_id
    return model, tokenizer
