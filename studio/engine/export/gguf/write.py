"""The file itself: what is said of the model first, then its tensors one after the other as they are merged."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from studio.domain.config import Quantization
from studio.domain.errors import StudioError
from studio.engine.export.gguf.families import ROPE_FACTORS, Shape, shape_of
from studio.engine.export.gguf.vocabulary import vocabulary_of
from studio.engine.export.merge import Tuned, Way, tuned_tensors
from studio.engine.tuned import TunedRun

_Kind = gguf.GGMLQuantizationType
KINDS = {"f16": _Kind.F16, "q8_0": _Kind.Q8_0, "q4_1": _Kind.Q4_1, "q4_0": _Kind.Q4_0}
_FILE_TYPES = {
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "q4_1": gguf.LlamaFileType.MOSTLY_Q4_1,
    "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
}
_ROWS = 4096
"""Quantised at once."""
_LARGEST = float(np.finfo(np.float16).max)
"""Of a weight: blocks have their scale in sixteen bits."""
_HEADER = 16 << 20
"""Bytes reckoned for the vocabulary and what else is said of the model."""


@dataclass(frozen=True)
class _Info:
    """A tensor as it will lie in the file."""

    name: str
    shape: tuple[int, ...]
    kind: gguf.GGMLQuantizationType

    @property
    def bytes(self) -> int:
        numbers, size = gguf.GGML_QUANT_SIZES[self.kind]
        return math.prod(self.shape) // numbers * size


def file_name(quantization: Quantization) -> str:
    return f"model.{quantization.upper()}.gguf"


def gguf_bytes(run: TunedRun, quantization: Quantization) -> int:
    """How large the file will be, or a little less."""
    tuned, shape = _opened(run)
    return _HEADER + sum(info.bytes for info in _infos(tuned, shape, quantization).values())


def write_gguf(
    run: TunedRun,
    folder: Path,
    quantization: Quantization,
    wrote: Callable[[float, float], None],
    way: Way = "original",
) -> None:
    """Write the tuned model to `folder`, one tensor in memory at a time."""
    tuned, shape = _opened(run, way)
    infos = _infos(tuned, shape, quantization)
    factors = shape.rope_factors()
    writer = gguf.GGUFWriter(folder / file_name(quantization), shape.family.name)
    try:
        _describe(writer, run, shape, quantization)
        if factors is not None:
            _announce(writer, _Info(ROPE_FACTORS, tuple(factors.shape), _Kind.F32))
        for info in infos.values():
            _announce(writer, info)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if factors is not None:
            writer.write_tensor_data(factors.numpy())
        done, total = 0, sum(info.bytes for info in infos.values())
        for name, info in infos.items():
            wrote(done, total)
            writer.write_tensor_data(_packed(shape.laid_out(info.name, tuned.read(name)), info))
            done += info.bytes
        wrote(total, total)
    finally:
        writer.close()


def _opened(run: TunedRun, way: Way = "original") -> tuple[Tuned, Shape]:
    shape, tuned = shape_of(run.model_path), tuned_tensors(run, way)
    if tuned is None:
        raise StudioError(
            "The adapter's parts cannot be found in the base's files by their names.",
            "Export it as `merged`, and convert that folder with llama.cpp's convert_hf_to_gguf.py.",
        )
    return tuned, shape


def _infos(tuned: Tuned, shape: Shape, quantization: Quantization) -> dict[str, _Info]:
    """By the name of a tensor in the base's files, how it will lie in this one."""
    named, infos = shape.tensor_names(), {}
    for name, tensor in tuned.shapes.items():
        found = named(name)
        if found is not None:
            infos[name] = _Info(found, tensor.shape, _kind(found, tensor.shape, quantization, shape))
        elif name != "lm_head.weight":
            raise StudioError(
                "The model has weights {tensor}, which have no place in GGUF.",
                "Export it as `merged`.",
                tensor=name,
            )
    return infos


def _kind(
    name: str, sizes: tuple[int, ...], quantization: Quantization, shape: Shape
) -> gguf.GGMLQuantizationType:
    """Vectors stay whole, and rows that cannot be cut into blocks keep sixteen bits, as llama.cpp has it."""
    kind = KINDS[quantization]
    if len(sizes) < 2:
        return _Kind.F32
    if sizes[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
        return _Kind.F16
    is_output = name == "output.weight" or (name == "token_embd.weight" and shape.config.tie_word_embeddings)
    # The output layer suffers most: llama.cpp keeps it finer than the rest too.
    return _Kind.Q8_0 if is_output and quantization.startswith("q4") else kind


def _announce(writer: gguf.GGUFWriter, info: _Info) -> None:
    writer.add_tensor_info(info.name, info.shape, np.dtype(np.float32), info.bytes, info.kind)


def _describe(writer: gguf.GGUFWriter, run: TunedRun, shape: Shape, quantization: Quantization) -> None:
    """All that is said of the model before its tensors."""
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(run.name)
    writer.add_file_type(_FILE_TYPES[quantization])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    shape.describe(writer)
    vocabulary = vocabulary_of(run.tokenizer, shape.config.vocab_size)
    vocabulary.describe(writer, run.tokenizer, run.stop_ids, run.template.source)


def _packed(tensor: torch.Tensor, info: _Info) -> np.ndarray[Any, Any]:
    """A tensor's bytes in the file, made some rows at a time so that they are never all there in float32."""
    if not bool(torch.isfinite(tensor).all()) or float(tensor.abs().max()) > _LARGEST:
        raise StudioError(
            "The weights {tensor} hold numbers that {dtype} cannot.",
            "Export it as `merged`, in bfloat16 or float32.",
            tensor=info.name,
            dtype="GGUF",
        )
    parts = [gguf.quantize(rows.float().numpy(), info.kind) for rows in tensor.split(_ROWS)]
    return np.ascontiguousarray(np.concatenate(parts))
