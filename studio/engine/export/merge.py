"""Adapter into base: each weight of 16 or 32 bits plus its update, summed in float32 and rounded once.

Never rounded to 4 bits again: that undoes most of what a QLoRA run has learnt. Its update is added to the original
weights, or to the de-quantised ones that it was learnt on.
"""

from __future__ import annotations

import json
import math
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from studio.domain.errors import StudioError
from studio.engine.export.four_bit import FourBit
from studio.engine.export.writing import ahead
from studio.engine.hub import ID
from studio.engine.machine import default_device
from studio.engine.model_files import INDEX, WEIGHTS, Tensor, read_header, weight_files
from studio.engine.models import four_bit_layers, load_base
from studio.engine.tuned import ADAPTER_WEIGHTS, TunedRun, adapter_folder, with_adapter

Way = Literal["original", "dequantised"]
"""The weights that an update is added to: the base's own, or what 4 bits made of them."""
Wrote = Callable[[float, float], None]
"""Called with bytes done and bytes in all."""

_WIDTHS = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_FLOATS = frozenset({"BF16", "F16", "F32", "F64"})
_NAMES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
"""Of the number formats in safetensors' headers."""
_AT_ONCE = 1 << 18
"""Numbers that are merged at once: so many in float32 stay in a core's own cache."""
_PREFIX = "base_model.model."
_MAGNITUDE = ".lora_magnitude_vector"


@dataclass(frozen=True)
class Update:
    """What an adapter makes of one weight W (outputs, inputs): W + scale x B A, with DoRA at the lengths it learnt."""

    a: torch.Tensor
    b: torch.Tensor
    scale: float
    magnitude: torch.Tensor | None
    """DoRA's length of each row of the result, (outputs,)."""
    transposed: bool
    """Whether the weight is stored as (inputs, outputs), as GPT-2's are."""

    def rows(self, stored: torch.Tensor) -> Iterator[torch.Tensor]:
        """The merged weight (outputs, inputs) in float32, some rows after the other."""
        weight = stored.T if self.transposed else stored
        a, b = self.a.float(), self.b.float()
        count = max(1, _AT_ONCE // weight.shape[1])
        for start in range(0, len(weight), count):
            part = slice(start, start + count)
            summed = weight[part].to(torch.float32, copy=True).addmm_(b[part], a, alpha=self.scale)
            if self.magnitude is not None:
                summed *= (self.magnitude[part].float() / torch.linalg.norm(summed, dim=1))[:, None]
            yield summed

    def applied(self, stored: torch.Tensor) -> torch.Tensor:
        """The merged weight as it is stored, in float32."""
        merged = torch.empty(stored.shape)
        torch.cat([*self.rows(stored)], out=merged.T if self.transposed else merged)
        return merged


@dataclass(frozen=True)
class Tuned:
    """The tuned model's tensors one at a time: read from the base's files, with the adapter's update added."""

    files: Mapping[str, Path]
    """By a tensor's name, in the order of the source files."""
    shapes: Mapping[str, Tensor]
    updates: Mapping[str, Update]
    four_bit: FourBit | None = None
    """Where the updates are added to what 4 bits made of the weights."""

    def read(self, name: str) -> torch.Tensor:
        """A tensor as the base has it, or in float32 where the adapter changes it."""
        stored, update = self._stored(name), self.updates.get(name)
        return update.applied(stored) if update else stored

    def parts(self, name: str) -> Iterator[torch.Tensor]:
        """The same, one part after the other in the order of the file."""
        update = self.updates.get(name)
        if update is None or update.transposed:
            yield from self.read(name).reshape(-1).split(_AT_ONCE)
        else:
            yield from update.rows(self._stored(name))

    def _stored(self, name: str) -> torch.Tensor:
        with safe_open(self.files[name], framework="pt") as weights:
            tensor: torch.Tensor = weights.get_tensor(name)
        return self.four_bit.unpacked(name, tensor) if self.four_bit else tensor


def tuned_tensors(run: TunedRun, way: Way = "original") -> Tuned | None:
    """None where a module is named otherwise than the tensor it belongs to."""
    found = list(_tensors(_sources(run)))
    names = {name for _, name, _ in found}
    rounded = _four_bit(run, names)
    updates = {} if run.full else _updates(run, names)
    if updates is None or rounded is None:
        return None
    for name in updates.keys() & rounded.transposed.keys():
        # PEFT saw a plain layer there, whatever the file has.
        updates[name] = replace(updates[name], transposed=rounded.transposed[name])
    return Tuned(
        {name: file for file, name, _ in found},
        {name: tensor for _, name, tensor in found},
        updates,
        rounded if way == "dequantised" else None,
    )


def _four_bit(run: TunedRun, names: set[str]) -> FourBit | None:
    """What the run held in 4 bits, which may be nothing; None where a layer is named otherwise than its tensor."""
    dtype: Any = run.config.train.dtype
    layers = four_bit_layers(run.model_path, dtype) if run.four_bit else {}
    transposed = {_find(f"{layer}.weight", names): swapped for layer, swapped in layers.items()}
    if None in transposed:
        return None
    return FourBit({name: swapped for name, swapped in transposed.items() if name}, getattr(torch, dtype))


def merged_bytes(run: TunedRun, dtype: str) -> int:
    """How large the weights of a merged export will be."""
    return sum(_size(tensor, dtype) for _, _, tensor in _tensors(_sources(run)))


def adapter_bytes(run: TunedRun, dtype: str) -> int:
    """How large the weights of an exported adapter will be."""
    name = "weights.safetensors" if run.kind == "checkpoint" else ADAPTER_WEIGHTS
    return sum(_size(tensor, dtype) for tensor in read_header(run.weights / name).values())


def write_merged(run: TunedRun, folder: Path, dtype: str, wrote: Wrote, way: Way = "original") -> None:
    """Write the tuned model's weights to `folder`, one tensor in memory at a time."""
    tuned = tuned_tensors(run, way)
    if tuned is None:
        return _merge_loaded(run, folder, dtype, way)
    _write(tuned, folder, dtype, wrote)


def write_adapter(run: TunedRun, folder: Path, dtype: str) -> None:
    """Write the adapter in PEFT's format; a base from the hub is named by its id, another one by its folder."""
    with tempfile.TemporaryDirectory() as scratch:
        source = adapter_folder(run, Path(scratch))
        weights = load_file(source / ADAPTER_WEIGHTS)
        config = json.loads((source / "adapter_config.json").read_text(encoding="utf-8"))
    converted = {name: _converted(name, tensor, dtype).contiguous() for name, tensor in weights.items()}
    save_file(converted, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    model = run.config.model
    config["base_model_name_or_path"] = model.id if is_hub_id(run) else str(run.model_path)
    config["revision"] = model.revision if is_hub_id(run) else None
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def is_hub_id(run: TunedRun) -> bool:
    """Whether the base can be named so that it is found on another machine."""
    model_id = run.config.model.id
    return bool(ID.fullmatch(model_id)) and not Path(model_id).expanduser().exists()


def _sources(run: TunedRun) -> list[Path]:
    """The files whose tensors the merged model consists of."""
    if not run.full:
        return weight_files(run.model_path)
    return [run.weights / "weights.safetensors"] if run.kind == "checkpoint" else weight_files(run.weights)


def _tensors(files: Sequence[Path]) -> Iterator[tuple[Path, str, Tensor]]:
    for file in files:
        for name, tensor in read_header(file).items():
            yield file, name, tensor


def _size(tensor: Tensor, dtype: str) -> int:
    return tensor.size * _width(tensor, dtype)


def _width(tensor: Tensor, dtype: str) -> int:
    """Bytes a number; those that are not fractions stay as they are."""
    if tensor.dtype in _FLOATS:
        return 4 if dtype == "float32" else 2
    return _WIDTHS.get(tensor.dtype, 8)


def _updates(run: TunedRun, names: set[str]) -> dict[str, Update] | None:
    """The adapter's updates by the name of the tensor each belongs to; None where one cannot be found by its name."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = adapter_folder(run, Path(scratch))
        weights = load_file(folder / ADAPTER_WEIGHTS)
        config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    scale = config["lora_alpha"] / (math.sqrt(config["r"]) if config["use_rslora"] else config["r"])
    updates = {}
    for key, a in weights.items():
        module, is_a, _ = key.removeprefix(_PREFIX).partition(".lora_A.")
        if not is_a:
            if ".lora_B." in key or key.endswith(_MAGNITUDE):
                continue
            return None
        name = _find(f"{module}.weight", names)
        if name is None:
            return None
        updates[name] = Update(
            a=a,
            b=weights[key.replace(".lora_A.", ".lora_B.")],
            scale=scale,
            magnitude=weights.get(f"{_PREFIX}{module}{_MAGNITUDE}"),
            transposed=bool(config["fan_in_fan_out"]),
        )
    return updates


def _find(name: str, names: set[str]) -> str | None:
    """A module's weight in the model's files, which may lack the first part of its name, or have more before it.

    >>> _find("transformer.h.0.attn.c_attn.weight", {"h.0.attn.c_attn.weight"})
    'h.0.attn.c_attn.weight'
    """
    shorter = name.partition(".")[2]
    for candidate in (name, shorter):
        if candidate in names:
            return candidate
    longer = [candidate for candidate in names if candidate.endswith(f".{name}")]
    return longer[0] if len(longer) == 1 else None


def _write(tuned: Tuned, folder: Path, dtype: str, wrote: Wrote) -> None:
    """In files as the base's are, each tensor written as soon as it is merged."""
    total = sum(_size(tensor, dtype) for tensor in tuned.shapes.values())
    done = 0
    shards: dict[Path, list[str]] = {}
    for name, file in tuned.files.items():
        shards.setdefault(file, []).append(name)
    places = {}
    for source, names in shards.items():
        file_name = WEIGHTS if len(shards) == 1 else source.name
        places.update(dict.fromkeys(names, file_name))
        # Wider numbers first, as the library itself writes them: so each stands at a multiple of its own width.
        names.sort(key=lambda name: -_width(tuned.shapes[name], dtype))
        with ahead(folder / file_name) as out, _one_core():
            out.write(memoryview(_header({name: tuned.shapes[name] for name in names}, dtype)))
            for name in names:
                wrote(done, total)
                for part in tuned.parts(name):
                    numbers = _converted(name, part, dtype).contiguous().reshape(-1)
                    out.write(numbers.view(torch.uint8).numpy().data)
                done += _size(tuned.shapes[name], dtype)
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": places}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    wrote(total, total)


@contextmanager
def _one_core() -> Iterator[None]:
    """Sums on one core, beside the one that writes: several spend more on waiting for each other than on summing."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _header(tensors: Mapping[str, Tensor], dtype: str) -> bytes:
    """What a safetensors file of these tensors begins with: the length of a JSON text, and that."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + _size(tensor, dtype)
        kind = _NAMES[dtype] if tensor.dtype in _FLOATS else tensor.dtype
        entries[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _converted(name: str, tensor: torch.Tensor, dtype: str) -> torch.Tensor:
    if not tensor.is_floating_point():
        return tensor
    converted = tensor.to(getattr(torch, dtype))
    if dtype == "float16" and not bool(torch.isfinite(torch.stack(torch.aminmax(converted))).all()):
        raise StudioError(
            "The weights {tensor} hold numbers that {dtype} cannot.",
            "Export as bfloat16 or float32.",
            tensor=name,
            dtype=dtype,
        )
    return converted


def _merge_loaded(run: TunedRun, folder: Path, dtype: str, way: Way) -> None:
    """For architectures whose modules are named otherwise than their files: load the whole model and merge it there."""
    if way == "original":
        base = load_base(run.model_path, dtype="float32", device="cpu", quantize=False)
    else:
        read_as: Any = run.config.train.dtype
        rounded = load_base(run.model_path, dtype=read_as, device=default_device(), quantize=True)
        base = rounded.dequantize().cpu().float()
    with_adapter(base, run).merge_and_unload().to(getattr(torch, dtype)).save_pretrained(folder)
