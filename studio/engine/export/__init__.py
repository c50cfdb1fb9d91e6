"""A run's result as a folder that plain transformers loads, with the proof that it answers as the chat did."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from studio.domain.chat import Conversation
from studio.domain.config import ExportConfig
from studio.domain.errors import Stopped, StudioError
from studio.engine.export.card import RunFacts, model_card
from studio.engine.export.gguf.write import file_name, gguf_bytes, write_gguf
from studio.engine.export.merge import (
    Way,
    Wrote,
    adapter_bytes,
    merged_bytes,
    write_adapter,
    write_merged,
)
from studio.engine.export.ollama import write_modelfile
from studio.engine.export.package import write_configs, write_licence, write_tokenizer
from studio.engine.export.script import Recipe, check_repeatable, script_bytes, write_script
from studio.engine.export.verify import Verified, closer, verify
from studio.engine.integrity import sha256
from studio.engine.proof_files import CARD, RECEIPT, VERIFICATION
from studio.engine.tuned import TunedRun

__all__ = ["RECEIPT", "VERIFICATION", "Exported", "Recipe", "RunFacts", "Verified", "export"]

Phase = Literal["merging", "saving", "verifying"]
Progress = Callable[[Phase, float, float], None]

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
    verified: Verified | None
    """None for a script, which says itself how near its result comes."""
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
            "verified": self.verified.to_json() if self.verified else None,
            "seconds": self.seconds,
        }


def export(
    run: TunedRun,
    config: ExportConfig,
    out: Path,
    *,
    rows: Sequence[Conversation],
    facts: RunFacts,
    recipe: Recipe | None = None,
    progress: Progress = lambda phase, done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Exported:
    """Write the export to `out`, whole or not at all, and compare it with the live model on prompts from `rows`.

    One that fails the comparison is kept, and says so in its card and its verification.json. Of two merges of a QLoRA
    run, the closer one is kept. A script is written from the run's `recipe`. Raises StudioError where it cannot be
    written, Stopped once `should_stop()` is true.
    """
    begun = time.monotonic()
    out = out.expanduser().absolute()
    _check(run, config, out, recipe)
    folder = out.parent / f".{out.name}.partial"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except (FileNotFoundError, FileExistsError, NotADirectoryError) as error:
        raise StudioError(
            "The folder {path} cannot be made: {problem}.",
            "Choose another folder.",
            path=str(out),
            problem=error.strerror,
        ) from None

    def said(phase: Phase, done: float, total: float) -> None:
        if should_stop():
            raise Stopped
        progress(phase, done, total)

    try:
        _check_space(folder, expected_bytes(run, config, recipe) * len(merged_ways(run, config)))
        verified = None
        if recipe is not None:
            said("saving", 0, 0)
            kept = folder / config.to
            kept.mkdir()
            write_script(run, recipe, kept)
        else:
            folders = _write(run, config, folder, said)
            proofs = verify(run, folders, config, rows, partial(progress, "verifying"), should_stop)
            way = closer(proofs)
            verified, kept = proofs[way], folders[way]
            _write_proof(run, config, facts, verified, kept)
        files = {
            path.relative_to(kept).as_posix(): path.stat().st_size
            for path in sorted(kept.rglob("*"))
            if path.is_file()
        }
        _sync(kept)
        if out.exists():
            out.rmdir()
        kept.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Exported(out, config.to, config.precision, files, verified, round(time.monotonic() - begun, 1))


def merged_ways(run: TunedRun, config: ExportConfig) -> tuple[Way, ...]:
    """The weights that the update will be added to, one after the other."""
    if config.to not in ("merged", "gguf") or not run.four_bit:
        return ("original",)
    return ("original", "dequantised") if config.into == "closer" else (config.into,)


def expected_bytes(run: TunedRun, config: ExportConfig, recipe: Recipe | None) -> int:
    """How large the exported weights will be."""
    if recipe is not None:
        return script_bytes(run, recipe)
    if config.to == "gguf":
        return gguf_bytes(run, config.quantization)
    return merged_bytes(run, config.dtype) if config.to == "merged" else adapter_bytes(run, config.dtype)


def _write(run: TunedRun, config: ExportConfig, folder: Path, said: Progress) -> dict[Way, Path]:
    """The export in a folder of its own for each way of merging."""
    ways = merged_ways(run, config)
    folders = {way: folder / way for way in ways}
    for number, way in enumerate(ways):

        def wrote(done: float, total: float, before: int = number) -> None:
            said("merging", before * total + done, len(ways) * total)

        folders[way].mkdir()
        _write_weights(run, config, folders[way], way, wrote)
    said("saving", 0, 0)
    for made in folders.values():
        _write_beside(run, config, made)
    return folders


def _write_weights(run: TunedRun, config: ExportConfig, folder: Path, way: Way, wrote: Wrote) -> None:
    if config.to == "gguf":
        write_gguf(run, folder, config.quantization, wrote, way)
    elif config.to == "merged":
        write_merged(run, folder, config.dtype, wrote, way)
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


def _write_proof(
    run: TunedRun, config: ExportConfig, facts: RunFacts, verified: Verified, folder: Path
) -> None:
    (folder / VERIFICATION).write_text(json.dumps(verified.to_json(), indent=2) + "\n", encoding="utf-8")
    (folder / CARD).write_text(model_card(run, config, facts, verified), encoding="utf-8")
    sums = {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    given = config.model_dump(mode="json", include={"to", "into"})
    receipt = {**facts.receipt, "export": {**given, "precision": config.precision, "files": sums}}
    (folder / RECEIPT).write_text(json.dumps(receipt, indent=2) + "\n", encoding="utf-8")


def _check(run: TunedRun, config: ExportConfig, out: Path, recipe: Recipe | None) -> None:
    if recipe is not None:
        check_repeatable(run, recipe)
    if config.to == "adapter" and run.full:
        raise StudioError(
            "The run {run} trained every weight, so it has no adapter.",
            "Export it as `merged`.",
            run=run.name,
        )
    if config.into == "dequantised" and not run.four_bit and config.to in ("merged", "gguf"):
        raise StudioError(
            "The run {run} was not trained on a 4-bit base, so there are no de-quantised weights to merge into.",
            "Leave `into` as it is.",
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
    for path in filter(Path.is_file, folder.rglob("*")):
        with path.open("rb") as file:
            os.fsync(file.fileno())
