"""What lies beside the weights: tokenizer, the run's chat template, model and generation config, licence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from studio.engine.tuned import TunedRun

_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
_LICENCE = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")


def write_tokenizer(run: TunedRun, folder: Path) -> None:
    """Copy the base's tokenizer and its licence; the chat template is the one that the run was trained with."""
    write_licence(run, folder)
    for name in _TOKENIZER:
        if (run.model_path / name).is_file():
            shutil.copyfile(run.model_path / name, folder / name)
    config = _read(folder / "tokenizer_config.json")
    if config.pop("chat_template", None) is not None:  # else two templates would lie there
        _write(folder / "tokenizer_config.json", config)
    (folder / "chat_template.jinja").write_text(run.template.source, encoding="utf-8", newline="\n")


def write_licence(run: TunedRun, folder: Path) -> None:
    """Copy the base's licence, which holds for what is made from it."""
    for path in (path for pattern in _LICENCE for path in run.model_path.glob(pattern)):
        if path.is_file():
            shutil.copyfile(path, folder / path.name)


def write_configs(run: TunedRun, folder: Path, dtype: str | None) -> None:
    """generation_config.json, and for a whole model (`dtype` given) config.json."""
    generation = _read(run.model_path / "generation_config.json")
    generation.pop("transformers_version", None)
    stop_ids = run.stop_ids
    generation["eos_token_id"] = stop_ids[0] if len(stop_ids) == 1 else stop_ids
    generation.setdefault("pad_token_id", run.tokenizer.pad_id)
    _write(folder / "generation_config.json", generation)
    if dtype is None:
        return
    config = _read(run.model_path / "config.json")
    for part in (config, config["text_config"]) if "text_config" in config else (config,):
        part.pop("torch_dtype", None)  # the name before transformers 4.56
        part["dtype"] = dtype
    _write(folder / "config.json", config)


def _read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return data


def _write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
