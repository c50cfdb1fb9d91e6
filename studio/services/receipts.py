"""A run's receipt, by which it can be repeated and known again; and runs of another machine's folder, checked by it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.domain.errors import StudioError
from studio.domain.run import ALIVE
from studio.domain.text import Text
from studio.engine import models
from studio.engine.integrity import sha256
from studio.engine.model_files import weight_files
from studio.services.files import explained
from studio.services.jobs import Jobs
from studio.services.packing import Packed
from studio.services.run_files import RunFiles
from studio.services.store import Store
from studio.services.trained import result_sums, weight_stamps

_LEFT_BEHIND = ("exports", "endpoint", "stop", "place", ".reserve", ".meeting")
"""Not copied: exports are made and served anew, and the rest was between a worker and its machine."""


def receipt(files: RunFiles) -> dict[str, Any]:
    """What a run was made from and by, and what came of it, with the hash of each."""
    run, env, config = files.run(), files.env(), files.config()
    if not env:
        raise StudioError(
            "The run {run} has not begun yet.", "Its receipt is there once it trains.", run=run["name"]
        )
    return {
        "run": files.id,
        "name": run["name"],
        "created": run["created"],
        "seed": config.train.seed,
        "versions": env["versions"],
        "hardware": env.get("hardware", {}),
        "rows": env.get("rows", {}),
        "mixture": files.mixture(),
        "sha256": {**env["sha256"], "result": result_sums(files)},
        "config": config.model_dump(mode="json"),
    }


def for_others(files: RunFiles) -> dict[str, Any]:
    """The receipt as it goes out with an export: of this machine's folders only the last part of each."""
    found = receipt(files)
    return {**found, **{part: _without_folders(found[part]) for part in ("config", "mixture")}}


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_folders(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_folders(part) for part in value]
    if isinstance(value, str) and (value.startswith("~") or Path(value).is_absolute()):
        return Path(value).name
    return value


def packed(store: Store, run_id: str) -> Packed:
    """A run's folder as an archive that another machine can import. StudioError where it is still at work."""
    Jobs(store).at_rest(run_id)
    return Packed.of(store.run_dir(run_id), run_id, _LEFT_BEHIND)


def import_run(store: Store, folder: Path, base: Path | None = None) -> str:
    """Copy a run's folder of another machine into the store and return its id; nothing that is there is overwritten.

    A folder that was unpacked in the store's own scratch is not copied but moved. `base` is where its base model lies,
    if not where its configuration says. Raises StudioError where rows, template, trained weights or base model are not
    those of its receipt.
    """
    given = RunFiles(folder.expanduser().resolve())
    _check_whole(given)
    run_id = str(given.run()["id"])
    target = store.free_run_dir(run_id)
    model_path, env = _base(store, given, base), given.env()
    copying = store.tmp_dir / f"import-{run_id}"
    shutil.rmtree(copying, ignore_errors=True)
    try:
        with explained(target):
            if given.folder.is_relative_to(store.tmp_dir.resolve()):
                given.folder.rename(copying)
                for name in _LEFT_BEHIND:
                    _remove(copying / name)
            else:
                shutil.copytree(given.folder, copying, ignore=shutil.ignore_patterns(*_LEFT_BEHIND))
            copied = RunFiles(copying)
            copied.write_env({**env, "model_path": str(model_path), "base_files": weight_stamps(model_path)})
            state = copied.state()
            copied.write_state(
                replace(state, pid=None, started=None)
            )  # of the other machine: here it is another's
            copying.rename(target)
    finally:
        shutil.rmtree(copying, ignore_errors=True)
    return run_id


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _check_whole(given: RunFiles) -> None:
    """StudioError where it is no run, one at work, or its rows, template or weights are not as they were written."""
    name = given.run()["name"]
    if given.state().state in ALIVE:
        raise StudioError(
            "The run {run} was still at work when its folder was copied.",
            "Stop it there, or let it finish, and copy it again.",
            run=name,
        )
    sums = given.env().get("sha256", {})
    data = given.folder / "data"
    found: dict[str, Callable[[], Any]] = {
        "train_rows": lambda: sha256(data / "train.jsonl"),
        "held_out_rows": lambda: sha256(data / "held_out.jsonl"),
        "template": lambda: hashlib.sha256(given.template.read_text(encoding="utf-8").encode()).hexdigest(),
    }
    if "result" in sums:  # not yet where a run has no result, or is of a version that wrote none down
        found["result"] = lambda: result_sums(given)
    for part, hashed in found.items():
        try:
            same = hashed() == sums[part]
        except (OSError, KeyError):
            same = False
        if not same:
            raise StudioError(
                _OTHERS[part].template,
                "Copy the run's whole folder again.",
                folder=str(given.folder),
            )


_OTHERS = {
    "train_rows": Text("The rows in {folder} are not those that the run was trained with."),
    "held_out_rows": Text("The held-out rows in {folder} are not those of the run."),
    "template": Text("The template in {folder} is not the one that the run was trained with."),
    "result": Text("The trained weights in {folder} are not those that the run wrote."),
}


def _base(store: Store, given: RunFiles, base: Path | None) -> Path:
    """Where this machine has the base model. Raises StudioError where it has none, or another."""
    config = given.config()
    if base:
        path = models.locate(str(base), store.models_dir, download=False)
    else:
        path = store.locate(config.model.id, revision=config.model.revision, download=False)
    expected = given.env()["sha256"]["base_model"]
    if {file.name: sha256(file) for file in weight_files(path)} != expected:
        raise StudioError(
            "The model in {path} is not the one that the run {run} was trained on.",
            "Name the right one (`--base` of `studio runs import`, or the field on the page).",
            path=str(path),
            run=given.run()["name"],
        )
    return path
