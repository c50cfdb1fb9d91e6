"""Fetch a model from the hub into huggingface's cache, and say in one sentence why it could not be."""

from __future__ import annotations

import re
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from studio.domain.errors import StudioError
from studio.engine.hub_failures import failure_of, failures
from studio.engine.model_files import check_names, checked
from studio.engine.wheel import Progress

ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "LICENSE*"]
LEFT_OUT = ["*/*", "consolidated*", "adapter_*"]


def locate(model_id: str, revision: str | None, download: bool, progress: Progress | None) -> Path:
    """Return the folder of a hub model in huggingface's cache: as it lies there if whole, else fetched."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        cached = snapshot_download(
            model_id,
            revision=revision,
            local_files_only=True,
            allow_patterns=WANTED,
            ignore_patterns=LEFT_OUT,
        )
        return checked(Path(cached), model_id)
    except LocalEntryNotFoundError as error:
        if not download:
            raise StudioError(
                "The model {model} is not on this machine yet, or not whole.",
                "Run `studio models get {model}` to fetch it.",
                model=model_id,
            ) from error
    except StudioError:
        if not download:
            raise
    except failures() as error:
        raise explain(error, model_id, revision) from error
    return checked(_fetch(model_id, revision, progress), model_id)


def _fetch(model_id: str, revision: str | None, progress: Progress | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    try:
        offered = HfApi().model_info(model_id, revision=revision, files_metadata=True).siblings or []
        check_names([file.rfilename for file in offered if "/" not in file.rfilename], model_id)
        total = sum(file.size or 0 for file in offered if _wanted(file.rfilename))
        _check_space(total, model_id)
        fetched = snapshot_download(
            model_id,
            revision=revision,
            allow_patterns=WANTED,
            ignore_patterns=LEFT_OUT,
            tqdm_class=_bar(progress, total) if progress else None,
        )
    except failures() as error:
        raise explain(error, model_id, revision) from error
    if progress:
        progress("download", float(total), float(total))
    return Path(fetched)


def _wanted(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in WANTED) and not any(
        fnmatch(name, pattern) for pattern in LEFT_OUT
    )


def _check_space(needed: int, model_id: str) -> None:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StudioError(
            "There is not room enough for {model}: it needs {needed} GB and {folder} has {free} GB free.",
            "Free some space, or set HF_HOME to a folder on a larger disk.",
            model=model_id,
            needed=f"{needed / 1e9:.1f}",
            folder=str(folder),
            free=f"{free / 1e9:.1f}",
        )


def _bar(progress: Progress, total: int) -> type:
    """A progress bar for huggingface_hub that draws nothing and reports the bytes written."""
    from tqdm.auto import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            # Bytes are told twice, as received and as written: the latter count
            self.counts = options.get("unit") == "B" and str(options.get("desc", "")).startswith(
                "Reconstructing"
            )
            self.written = 0.0
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            if self.counts:
                self.written += n or 0
                progress("download", min(self.written, float(total)), float(total))
            return None

    return Bar


def explain(error: Exception, model_id: str, revision: str | None = None) -> StudioError:
    """Say in one sentence what went wrong between us and the hub."""
    failure = failure_of(error)
    match failure.kind:
        case "gated":
            return StudioError(
                "The model {model} is gated: its owner asks you to accept a licence first.",
                "Accept it on the model's page at the hub, then set HF_TOKEN to an access token of your account.",
                model=model_id,
            )
        case "unknown":
            return StudioError(
                "The hub has no model {model}, or it is private.",
                "Check the spelling (owner/name); for a private model set HF_TOKEN to an access token.",
                model=model_id,
            )
        case "no_revision":
            return StudioError(
                "The model {model} has no revision {revision}.",
                "Use a branch, tag or commit that its page at the hub lists, or leave it out.",
                model=model_id,
                revision=revision or "main",
            )
        case "refused":
            return StudioError(
                "The hub refuses access to {model} (status {status}).",
                "Accept its licence if its page asks for that, then set HF_TOKEN to an access token.",
                model=model_id,
                status=failure.status,
            )
        case "offline":
            return StudioError(
                "The model {model} is not on this machine, and HF_HUB_OFFLINE forbids fetching it.",
                "Unset HF_HUB_OFFLINE, or use `starter` or a local folder.",
                model=model_id,
            )
        case "name":
            return StudioError(
                "{model} is no name that the hub could have.",
                "Write a hub id as owner/name, such as `Qwen/Qwen3-0.6B`.",
                model=model_id,
            )
        case "unreached":
            return StudioError(
                "The model {model} could not be fetched from the hub: it cannot be reached ({reason}).",
                "Check the connection and try again (what is there is kept), or use `starter` or a local folder.",
                model=model_id,
                reason=failure.reason,
            )
    return StudioError(
        "The model {model} could not be fetched from the hub: {reason}.",
        "Check the connection and try again (what is there is kept), or use `starter` or a local folder.",
        model=model_id,
        reason=failure.reason,
    )


def reachable(seconds: float = 3.0) -> bool:
    """Whether the hub answers at all; asked by `studio doctor` only."""
    import httpx
    from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        return False
    try:
        return httpx.head(ENDPOINT, timeout=seconds).status_code < 500
    except httpx.HTTPError:
        return False
