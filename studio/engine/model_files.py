"""The files of a model, judged without loading them: whole, safetensors only, and needing no code of its own."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from studio.domain.errors import StudioError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
TOKENIZERS = frozenset({"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"})
TEXT_GENERATORS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


@dataclass(frozen=True)
class Tensor:
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        size = 1
        for length in self.shape:
            size *= length
        return size


def checked(folder: Path, model_id: str) -> Path:
    """Return `folder` when it holds a whole text-generation model in safetensors that needs no code of its own."""
    names = [entry.name for entry in folder.iterdir()]
    check_names(names, model_id)
    config = read_config(folder)
    _check_config(config, model_id)
    for file in weight_files(folder):
        read_header(file)
    if not TOKENIZERS.intersection(names):
        raise StudioError(
            "The model {model} has no tokenizer: {folder} holds neither tokenizer.json nor tokenizer.model.",
            "Copy the tokenizer's files beside its weights.",
            model=model_id,
            folder=str(folder),
        )
    return folder


def check_names(names: list[str], model_id: str) -> None:
    """Judge a model by the names of its files alone, so that a hub model is refused before it is fetched."""
    if "adapter_config.json" in names and "config.json" not in names:
        raise StudioError(
            "{model} is an adapter, not a whole model.",
            "Name the base model that it was trained on.",
            model=model_id,
        )
    if "config.json" not in names:
        raise StudioError(
            "{model} is not a model: it has no config.json.",
            "Choose the folder that holds config.json and *.safetensors files.",
            model=model_id,
        )
    if WEIGHTS in names or INDEX in names:
        return
    pickled = sorted(name for name in names if any(fnmatch(name, pattern) for pattern in PICKLED))
    if pickled:
        raise StudioError(
            "{model} has only pickled weights ({file}), which can run code when they are opened.",
            "Use a version of the model with *.safetensors files.",
            model=model_id,
            file=pickled[0],
        )
    if any(name.endswith((".incomplete", ".part", ".safetensors")) for name in names):
        raise StudioError(
            "{model} is half downloaded: {file} is missing.",
            "Download it again; what is there already is kept.",
            model=model_id,
            file=WEIGHTS,
        )
    raise StudioError(
        "{model} has no weights: there is no {file}.",
        "Use a version of the model with *.safetensors files.",
        model=model_id,
        file=WEIGHTS,
    )


def _check_config(config: dict[str, Any], model_id: str) -> None:
    kind = str(config.get("model_type", ""))
    if config.get("auto_map") and not _known_to_transformers(kind):
        raise StudioError(
            "{model} needs code of its own to run, and the studio runs no code that comes with a model.",
            "Choose a model whose architecture transformers knows.",
            model=model_id,
        )
    quantised = (config.get("quantization_config") or {}).get("quant_method")
    if quantised:
        raise StudioError(
            "{model} is stored already quantised ({method}), which cannot be tuned and merged well.",
            "Use the original weights; the studio quantises them itself for QLoRA.",
            model=model_id,
            method=quantised,
        )
    names = config.get("architectures") or [""]
    if config.get("is_encoder_decoder") or (names[0] and not names[0].endswith(TEXT_GENERATORS)):
        raise StudioError(
            "{model} is no model that continues text: its architecture is {architecture}.",
            "Choose a causal language model, such as Llama, Qwen, Gemma or SmolLM.",
            model=model_id,
            architecture=names[0] or kind,
        )


def _known_to_transformers(model_type: str) -> bool:
    """Whether transformers ships this architecture, seen from its folders: importing its registry imports torch."""
    spec = find_spec("transformers")
    if not spec or not spec.origin or not model_type:
        return False
    return (Path(spec.origin).parent / "models" / model_type.replace("-", "_")).is_dir()


def read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    return _parsed(path, "Download the model again: this file is damaged.")


def _parsed(path: Path, remedy: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudioError(
            "{file} cannot be read: {reason}.",
            "Check the path and its permissions.",
            file=str(path),
            reason=error.strerror or str(error),
        ) from error
    except ValueError as error:
        raise StudioError(
            "{file} is not valid JSON: {reason}.", remedy, file=str(path), reason=str(error)
        ) from error
    if not isinstance(value, dict):
        raise StudioError("{file} holds no JSON object.", remedy, file=str(path))
    return value


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers would load, each present."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = _parsed(folder / INDEX, "Download the model again: this file is damaged.")
    shards = [folder / Path(str(name)).name for name in sorted(set(index.get("weight_map", {}).values()))]
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing or not shards:
        raise StudioError(
            "{folder} is half downloaded: {missing} of {total} weight files are missing, the first is {file}.",
            "Download the model again; what is there already is kept.",
            folder=str(folder),
            missing=len(missing),
            total=len(shards),
            file=missing[0] if missing else INDEX,
        )
    return shards


def read_header(file: Path) -> dict[str, Tensor]:
    """Read the names, types and shapes of a safetensors file, and hold its length against them."""
    length = file.stat().st_size
    try:
        with file.open("rb") as weights:
            (size,) = struct.unpack("<Q", weights.read(8))
            if size > length:
                raise ValueError("its header is cut off")
            header: dict[str, Any] = json.loads(weights.read(size))
        header.pop("__metadata__", None)
        end = 8 + size + max((entry["data_offsets"][1] for entry in header.values()), default=0)
        tensors = {name: Tensor(entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}
    except OSError as error:
        raise StudioError(
            "{file} cannot be read: {reason}.",
            "Check the path and its permissions.",
            file=str(file),
            reason=error.strerror or str(error),
        ) from error
    except (struct.error, ValueError, LookupError, TypeError) as error:
        raise StudioError(
            "{file} is half downloaded or damaged: it does not start as a safetensors file does.",
            "Delete it and download the model again.",
            file=str(file),
        ) from error
    if length < end:
        raise StudioError(
            "{file} is half downloaded: it has {length} of {expected} bytes.",
            "Delete it and download the model again.",
            file=str(file),
            length=length,
            expected=end,
        )
    return tensors
