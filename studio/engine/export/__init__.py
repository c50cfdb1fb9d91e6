"""A run's result as a folder that plain transformers loads, with the proof that it answers as the chat did."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from studio.domain.chat import Conversation
from studio.domain.config import ExportConfig
from studio.domain.errors import Stopped, StudioError
from studio.engine.export.card import RunFacts, model_card
from studio.engine.export.gguf.write import file_name, gguf_bytes, write_gguf
from studio.engine.export.merge import adapter_bytes, merged_bytes, write_adapter, write_merged
from studio.engine.export.ollama import write_modelfile
from studio.engine.export.package import write_configs, write_licence, write_tokenizer
from studio.engine.export.verify import Verified, verify
from studio.engine.tuned import TunedRun

__all__ = ["VERIFICATION", "Exported", "RunFacts", "Verified", "export"]

Phase = Literal["merging", "saving", "verifying"]
Progress = Callable[[Phase, float, float], None]

VERIFICATION = "verification.json"
_MARGIN = 64 << 20
"""Bytes left free on the disk beyond what the export needs."""


@dataclass(frozen=True)
class Exported:
    """What was written and whether it holds what it promises."""

    path: Path
    to: str
    precision: str
    """The weights' number format, or a GGUF file's quantisation."""
    files: dict[str, int]
    """Name and bytes."""
    verified: Verified
    seconds: float

    @property
    def bytes(self) -> int:
        return sum(self.files.values())

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "bytes": self.bytes,
            "to": self.to,
            "precision": self.precision,
            "files": self.files,
            "verified": self.verified.to_json(),
            "seconds": self.seconds,
        }


def export(
    run: TunedRun,
    config: ExportConfig,
    out: Path,
    *,
    rows: Sequence[Conversation],
    facts: RunFacts,
    progress: Progress = lambda phase, done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Exported:
    """Write the export to `out`, whole or not at all, and compare it with the live model on prompts from `rows`.

    One that fails the comparison is kept, and says so in its card and its verification.json. Raises StudioError where
    it cannot be written, Stopped once `should_stop()` is true.
    """
    begun = time.monotonic()
    out = out.expanduser().absolute()
    _check(run, config, out)
    partial = out.parent / f".{out.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _check_space(partial, expected_bytes(run, config))

        def wrote(done: float, total: float) -> None:
            if should_stop():
                raise Stopped
            progress("saving" if config.to == "adapter" else "merging", done, total)

        _write(run, config, partial, wrote)
        progress("saving", 0, 0)
        _write_beside(run, config, partial)
        verified = verify(
            run,
            partial,
            config,
            rows,
            lambda done, total: progress("verifying", done, total),
            should_stop,
        )
        (partial / VERIFICATION).write_text(json.dumps(verified.to_json(), indent=2) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(model_card(run, config, facts, verified), encoding="utf-8")
        files = {path.name: path.stat().st_size for path in sorted(partial.iterdir())}
        _sync(partial)
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return Exported(out, config.to, config.precision, files, verified, round(time.monotonic() - begun, 1))


def expected_bytes(run: TunedRun, config: ExportConfig) -> int:
    """How large the exported weights will be."""
    if config.to == "gguf":
        return gguf_bytes(run, config.quantization)
    return merged_bytes(run, config.dtype) if config.to == "merged" else adapter_bytes(run, config.dtype)


def _write(run: TunedRun, config: ExportConfig, folder: Path, wrote: Callable[[float, float], None]) -> None:
    if config.to == "gguf":
        write_gguf(run, folder, config.quantization, wrote)
    elif config.to == "merged":
        write_merged(run, folder, config.dtype, wrote)
    else:
        write_adapter(run, folder, config.dtype)


def _write_beside(run: TunedRun, config: ExportConfig, folder: Path) -> None:
    """What the weights need to be used; a GGUF file holds its tokenizer and template itself."""
    if config.to == "gguf":
        write_licence(run, folder)
        write_modelfile(run, folder, file_name(config.quantization))
        return
    write_tokenizer(run, folder)
    write_configs(run, folder, config.dtype if config.to == "merged" else None)


def _check(run: TunedRun, config: ExportConfig, out: Path) -> None:
    if config.to == "adapter" and run.full:
        raise StudioError(
            "The run {run} trained every weight, so it has no adapter.",
            "Export it as `merged`.",
            run=run.name,
        )
    if out.exists() and not out.is_dir():
        raise StudioError("{path} is a file.", "Name a new folder for the export.", path=str(out))
    if out.is_dir() and any(out.iterdir()):
        raise StudioError(
            "The folder {path} is not empty.",
            "Name a new folder, or empty this one: an export never mixes with other files.",
            path=str(out),
        )


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + _MARGIN:
        raise StudioError(
            "The export needs {needed} MB and {free} MB are free in {folder}.",
            "Free some space (old runs and exports are the largest), or export to another disk.",
            needed=-(-(needed + _MARGIN) // 10**6),
            free=free // 10**6,
            folder=str(folder.parent),
        )


def _sync(folder: Path) -> None:
    """Have the files on the disk before they get their name."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
