"""From a run's folder to what it has trained, for the chat and the export."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from studio.domain.config import RunConfig
from studio.domain.errors import StudioError
from studio.engine.integrity import known_sha256
from studio.engine.model_files import weight_files
from studio.engine.templates import Template
from studio.engine.tokenizer import load_tokenizer
from studio.engine.tuned import ADAPTER_WEIGHTS, TunedRun
from studio.services.run_files import RunFiles


def read_trained(files: RunFiles, checkpoint: str = "") -> TunedRun:
    """What a run ended with, or one of its checkpoints by the name of its folder.

    Raises StudioError where the run has trained nothing yet, or its base model is gone.
    """
    name = str(files.run()["name"])
    config, model_path = files.resolved_config(), files.env().get("model_path")
    if config is None or model_path is None or not files.template.is_file():
        raise _nothing_yet(files.id)
    kind, weights = _checkpoint(files, name, checkpoint) if checkpoint else _weights(files, name)
    if not (Path(model_path) / "config.json").is_file():
        raise StudioError(
            "The base model of the run {run} is no longer in {path}.",
            "Put it back there; the starter in the studio's own folder comes with `studio models get starter`.",
            run=name,
            path=model_path,
        )
    _check_base(files, Path(model_path), name)
    template, for_texts = kept_templates(files, config)
    assert template is not None
    tokenizer = load_tokenizer(Path(model_path))
    return TunedRun(files.id, name, config, Path(model_path), template, tokenizer, kind, weights, for_texts)


def kept_templates(files: RunFiles, config: RunConfig) -> tuple[Template | None, Template | None]:
    """The templates for conversations and for plain texts as the run began with them; None where it has none."""

    def kept(file: Path) -> Template | None:
        if not file.is_file():
            return None
        return Template(config.template.name, "The run's own", file.read_text(encoding="utf-8"))

    return kept(files.template), kept(files.text_template)


def _check_base(files: RunFiles, model_path: Path, name: str) -> None:
    """An adapter on other weights than it was trained on answers nonsense, and an export of it would prove itself."""
    trained_on = files.env().get("base_files")
    if trained_on is not None and trained_on != weight_stamps(model_path):
        raise StudioError(
            "The base model in {path} changed since the run {run} was trained on it.",
            "Put the model back as it was, or train again.",
            path=str(model_path),
            run=name,
        )


def check_result(files: RunFiles) -> None:
    """Raises StudioError where the weights that the run ended with are not those that are there now."""
    ended_with = files.env().get("sha256", {}).get("result")
    if ended_with and result_sums(files) != ended_with:
        raise StudioError(
            "The trained weights of the run {run} are not those that it wrote.",
            "Put back its folder {folder}, or train again.",
            run=str(files.run()["name"]),
            folder=str(files.adapter if files.adapter.is_dir() else files.model),
        )


def result_sums(files: RunFiles) -> dict[str, str]:
    """The SHA-256 of each file of weights that the run ended with."""
    folders = (files.adapter, files.model)
    return {
        file.name: known_sha256(file) for folder in folders for file in sorted(folder.glob("*.safetensors"))
    }


def weight_stamps(model_path: Path) -> dict[str, list[int]]:
    """Size and time of change of each weight file: quick to read, and changed whenever the weights are."""
    return {file.name: [file.stat().st_size, file.stat().st_mtime_ns] for file in weight_files(model_path)}


def _weights(files: RunFiles, name: str) -> tuple[Literal["adapter", "model", "checkpoint"], Path]:
    if (files.adapter / ADAPTER_WEIGHTS).is_file():
        return "adapter", files.adapter
    if (files.model / "config.json").is_file():
        return "model", files.model
    kept = checkpoints(files)
    if not kept:
        raise _nothing_yet(files.id)
    return "checkpoint", files.checkpoints / kept[-1]


def checkpoints(files: RunFiles) -> list[str]:
    """The names of a run's whole checkpoints, in the order of their steps."""
    return sorted(marker.parent.name for marker in files.checkpoints.glob("step-*/progress.json"))


def _checkpoint(files: RunFiles, name: str, checkpoint: str) -> tuple[Literal["checkpoint"], Path]:
    kept = checkpoints(files)
    if checkpoint not in kept:
        raise StudioError(
            "The run {run} has no checkpoint {checkpoint}.",
            "It has: {known}.",
            run=name,
            checkpoint=checkpoint,
            known=", ".join(kept) or "–",
        )
    return "checkpoint", files.checkpoints / checkpoint


def _nothing_yet(run_id: str) -> StudioError:
    return StudioError(
        "The run {run} has no trained weights yet.", "Let it train until its first checkpoint.", run=run_id
    )
