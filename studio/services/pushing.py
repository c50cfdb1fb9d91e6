"""A proven export pushed to a model repository of the hub, in the background.

Only what was proven goes out, file by file as its receipt has them. The access token is given to the process that
pushes and to nothing else: it stands in no file, argument or log.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.domain.errors import StudioError
from studio.engine.hub_push import check_repository, check_token
from studio.engine.integrity import sha256
from studio.engine.proof_files import CARD, RECEIPT, VERIFICATION
from studio.services import tasks
from studio.services.files import read_json
from studio.services.run_files import RunFiles
from studio.services.store import Store
from studio.services.trained import result_sums

if TYPE_CHECKING:
    from studio.domain.config import ExportConfig
    from studio.services.surveys import Progress


def start(
    store: Store, folder: Path, repo: str, token: str, *, private: bool = True, over: bool = False
) -> str:
    """Push the export in `folder` in a process of its own; returns the task's id, whose result has `url` and `commit`.

    `over`: what the repository holds may be replaced. StudioError where id, token or export cannot be used.
    """
    repo, token = check_repository(repo.strip()), check_token(token)
    found = proven_files(folder)
    if tasks.running(store, "push") is not None:
        raise StudioError("An export is just being pushed.", "Wait until it is there, or cancel it.")
    request = {"folder": str(folder), "repo": repo, "private": private, "over": over, "files": len(found)}
    return tasks.start(store, "push", request, secret=token)


def run(store: Store, request: Mapping[str, Any], progress: Progress, token: str) -> dict[str, Any]:
    """Do what a request asks, in this process."""
    from dataclasses import asdict

    from studio.engine.hub_push import push

    folder = Path(request["folder"])
    name = (read_json(folder / RECEIPT) or {}).get("name", "")
    return asdict(
        push(
            folder,
            proven_files(folder),
            request["repo"],
            token,
            private=request["private"],
            over=request["over"],
            message=f"Export of {name}",
            progress=progress,
        )
    )


def proven_files(folder: Path) -> dict[str, str]:
    """The files of an export with their SHA-256, as its receipt has them. StudioError where it is not proven."""
    receipt, proof = read_json(folder / RECEIPT), read_json(folder / VERIFICATION)
    if proof is not None and not proof.get("passed"):
        raise StudioError(
            "The export in {folder} failed its comparison with the tuned model, so it is not pushed.",
            "Export with a finer precision, or export the adapter.",
            folder=str(folder),
        )
    files: dict[str, str] = (receipt or {}).get("export", {}).get("files", {})
    if proof is None or CARD not in files or VERIFICATION not in files:
        raise StudioError(
            "{folder} holds no proven export with its card and receipt.",
            "Export the run again: a script, or what was exported by an earlier version, cannot be pushed.",
            folder=str(folder),
        )
    return {**files, RECEIPT: sha256(folder / RECEIPT)}


def check_files(folder: Path) -> None:
    """Raises StudioError where a file of a proven export is not as its receipt has it."""
    for name, expected in proven_files(folder).items():
        file = folder / name
        if not file.is_file() or sha256(file) != expected:
            raise StudioError(
                "The file {file} is not as it was when the export was made.",
                "Export again, into another folder.",
                file=str(file),
            )


def holds(files: RunFiles, config: ExportConfig, folder: Path) -> bool:
    """Whether the folder is this very export of the run as it is now: it need not be made again to be pushed."""
    receipt = read_json(folder / RECEIPT) or {}
    made, now = receipt.get("export", {}), result_sums(files)
    return (
        receipt.get("run") == files.id
        and [made.get(name) for name in ("to", "into", "precision")]
        == [config.to, config.into, config.precision]
        and bool(now)  # of a run that was stopped, its latest checkpoint is exported
        and receipt.get("sha256", {}).get("result") == now
    )
