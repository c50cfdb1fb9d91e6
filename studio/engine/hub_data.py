"""Fetch a dataset's files from the hub into huggingface's cache, and say in one sentence why they could not be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from studio.domain.errors import StudioError
from studio.engine.hub_failures import failure_of, failures
from studio.engine.sources import DATA, PACKED, Chosen, SourceFile, chosen, data_suffix
from studio.engine.wheel import Progress

CONVERTED = "refs/convert/parquet"
"""Where the hub keeps what it made of a dataset: CONFIG/SPLIT/0000.parquet."""
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_ADDRESS = re.compile(r"(?:https://huggingface\.co/|hf://)datasets/([^/]+/[^/?#]+).*")


def dataset_id(source: str) -> str | None:
    """The id that a source names, as owner/name or by its address; None for what is rather a file.

    >>> dataset_id("https://huggingface.co/datasets/owner/name"), dataset_id("data/rows.jsonl")
    ('owner/name', None)
    """
    address = _ADDRESS.fullmatch(source.strip())
    name = address[1] if address else source.strip()
    if not _ID.fullmatch(name) or (not address and _is_data_file(name)):
        return None
    return name


def _is_data_file(name: str) -> bool:
    return data_suffix(name) in (*DATA, ".txt", ".md") or PurePosixPath(name.lower()).suffix in PACKED


def fetch(
    dataset: str,
    config: str | None = None,
    revision: str | None = None,
    split: str | None = None,
    progress: Progress | None = None,
) -> Chosen:
    """The data files of a hub dataset: what the hub made Parquet of, or its own. StudioError where it fails.

    Only those of the split are fetched: the wanted one, or by default the one for training.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import RevisionNotFoundError

    api = HfApi()
    try:
        try:
            info = api.dataset_info(dataset, revision=revision or CONVERTED, files_metadata=True)
        except RevisionNotFoundError:
            if revision:
                raise
            info = api.dataset_info(dataset, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
        names = _of_config([name for name in sizes if _wanted(name)], dataset, config)
        found = chosen([SourceFile(Path(name), name) for name in names], dataset, split)
        names = [file.name for file in found.files]
        total, done = sum(sizes[name] for name in names), 0
        files = []
        for name in names:
            path = hf_hub_download(
                dataset, name, repo_type="dataset", revision=info.sha, tqdm_class=_silent_bar()
            )
            files.append(SourceFile(Path(path), name))
            done += sizes[name]
            if progress:
                progress("download", float(done), float(total))
    except failures() as error:
        raise _explained(error, dataset, revision) from error
    return replace(found, files=files)


def _wanted(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return (data_suffix(name) in DATA or parts[-1].endswith(PACKED)) and not any(
        part.startswith(".") for part in parts
    )


def _of_config(names: Sequence[str], dataset: str, config: str | None) -> list[str]:
    """The files of one configuration, where the folders are configurations."""
    configs = {PurePosixPath(name).parts[0] for name in names if len(PurePosixPath(name).parts) == 3}
    if not names:
        raise StudioError(
            "The hub dataset {dataset} has no file that can be read.",
            "Download its files yourself, and save its rows as JSONL, CSV or Parquet.",
            dataset=dataset,
        )
    if not configs or any(len(PurePosixPath(name).parts) != 3 for name in names):
        return sorted(names)
    if config is None and len(configs) == 1:
        config = next(iter(configs))
    elif config is None and "default" in configs:
        config = "default"
    if config not in configs:
        raise StudioError(
            "The hub dataset {dataset} has several configurations: {configs}.",
            "Say which one is meant.",
            dataset=dataset,
            configs=", ".join(sorted(configs)),
        )
    return sorted(name for name in names if PurePosixPath(name).parts[0] == config)


def _silent_bar() -> type:
    from tqdm.auto import tqdm

    class Silent(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})

    return Silent


def _explained(error: Exception, dataset: str, revision: str | None) -> StudioError:
    failure = failure_of(error)
    match failure.kind:
        case "gated":
            return StudioError(
                "The hub dataset {dataset} is gated: its owner asks you to accept terms first.",
                "Accept them on its page at the hub, then set HF_TOKEN to an access token of your account.",
                dataset=dataset,
            )
        case "unknown":
            return StudioError(
                "The hub has no dataset {dataset}, or it is private; nor is there a file of that name.",
                "Check the spelling (owner/name); for a private dataset set HF_TOKEN to an access token.",
                dataset=dataset,
            )
        case "no_revision":
            return StudioError(
                "The hub dataset {dataset} has no revision {revision}.",
                "Use a branch, tag or commit that its page at the hub lists, or leave it out.",
                dataset=dataset,
                revision=revision or "main",
            )
        case "refused":
            return StudioError(
                "The hub refuses access to the dataset {dataset} (status {status}).",
                "Set HF_TOKEN to an access token of an account that may read it.",
                dataset=dataset,
                status=failure.status,
            )
        case "offline":
            return StudioError(
                "There is no file {dataset}, and HF_HUB_OFFLINE forbids asking the hub for a dataset of that name.",
                "Check the name, or unset HF_HUB_OFFLINE.",
                dataset=dataset,
            )
    return StudioError(
        "The hub dataset {dataset} could not be fetched: {reason}.",
        "Check the connection and try again (what is there is kept), or download its files yourself.",
        dataset=dataset,
        reason=failure.reason,
    )
