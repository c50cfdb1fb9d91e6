"""Exports of a run: each in a process and a folder of its own, which say how far it is."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from studio.domain.config import ExportConfig
from studio.domain.errors import StudioError
from studio.domain.events import Failed, Finished, Phase
from studio.domain.text import Text
from studio.engine.integrity import known_sha256, sha256
from studio.engine.proof_files import RECEIPT
from studio.engine.readers import on_the_hub
from studio.services import process
from studio.services.files import explained, now, read_json, write_json
from studio.services.jobs import Jobs
from studio.services.log import tail
from studio.services.mixture import origin_of
from studio.services.receipts import for_others
from studio.services.run_files import RunFiles
from studio.services.store import Store
from studio.services.trained import check_result, read_trained

if TYPE_CHECKING:
    from studio.engine.export import Exported, RunFacts

Progress = Callable[[str, float, float], None]

_GRACE = 10.0
"""Seconds between an export's being written and its process's being written down; within them it counts as running."""


@dataclass(frozen=True)
class ExportStatus:
    """One export as it is now; made anew from its folder each time."""

    name: str
    to: str
    precision: str
    created: str
    state: Literal["running", "finished", "failed", "interrupted"]
    """`failed` with a `result`: it is there, but did not pass the comparison with the live model."""
    phase: str
    done: float
    total: float
    files: Path
    """Where the exported files lie once it is finished."""
    result: dict[str, Any] | None
    text: Text | None = None
    remedy_text: Text | None = None

    @property
    def message(self) -> str:
        return str(self.text) if self.text else ""

    @property
    def remedy(self) -> str:
        return str(self.remedy_text) if self.remedy_text else ""

    @property
    def progress(self) -> float:
        """Share of the present phase, 0 to 1."""
        return self.done / self.total if self.total else 0.0


@dataclass(frozen=True)
class ExportFiles:
    """One export's folder, runs/<id>/exports/<name>/."""

    folder: Path

    @property
    def request(self) -> Path:
        """What was asked for; written first."""
        return self.folder / "export.json"

    @property
    def process(self) -> Path:
        return self.folder / "process.json"

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    @property
    def result(self) -> Path:
        return self.folder / "result.json"

    @property
    def exported(self) -> Path:
        return self.folder / "files"

    def config(self) -> ExportConfig:
        data = read_json(self.request)
        if data is None:
            raise _no_such(self.folder.name)
        return ExportConfig(**data["config"])


def start(store: Store, run_id: str, config: ExportConfig) -> str:
    """Start an export in the background and return its name; one that is just being made is not started again."""
    files = ready(store, run_id)
    if config.to == "script":
        _check_repeatable(store, run_id)
    for status in list_exports(store, run_id):
        if status.state == "running" and _export(store, run_id, status.name).config() == config:
            return status.name
    export = ExportFiles(_fresh(files.exports, "-".join(filter(None, (config.to, config.precision)))))
    write_json(export.request, {"schema": 1, "config": config.model_dump(mode="json"), "created": now()})
    process.start_detached(
        ["studio.services.export_worker", str(files.folder), export.folder.name],
        export.log,
        lambda pid, started: write_json(export.process, {"pid": pid, "started": started}),
    )
    return export.folder.name


def status(store: Store, run_id: str, name: str) -> ExportStatus:
    """An export as it is now. StudioError where there is none."""
    export = _export(store, run_id, name)
    request = read_json(export.request)
    if request is None:
        raise _no_such(name)
    config, result = ExportConfig(**request["config"]), read_json(export.result)
    events, _ = tail(export.events)
    phase = next((event for event in reversed(events) if isinstance(event, Phase)), Phase(name="loading"))
    alive = _is_alive(export, request["created"])
    state, text, remedy = _judged(result, events[-1] if events else None, alive)
    if state == "finished" and (altered := _altered(export)):
        state, text, remedy = "failed", Text(_ALTERED, {"file": altered}), _MADE_ANEW
    return ExportStatus(
        name=name,
        to=config.to,
        precision=config.precision,
        created=request["created"],
        state=state,
        phase=phase.name,
        done=phase.done,
        total=phase.total,
        files=export.exported,
        result=result,
        text=text,
        remedy_text=remedy,
    )


def files_of(store: Store, run_id: str, name: str) -> Path:
    """The folder of an export's files. StudioError where there is none, or it is not finished."""
    folder = _export(store, run_id, name).exported
    if not folder.is_dir():
        raise StudioError("The files of this export are gone.", "Export it again.")
    return folder


def list_exports(store: Store, run_id: str) -> list[ExportStatus]:
    """Every export of a run, the newest first."""
    folder = RunFiles(store.run_dir(run_id)).exports
    names = [path.parent.name for path in folder.glob("*/export.json")]
    return sorted(
        (status(store, run_id, name) for name in names), key=lambda item: item.created, reverse=True
    )


def delete(store: Store, run_id: str, name: str) -> None:
    """Remove an export with its files; one that is being made is ended first. StudioError where it is being served."""
    export = _export(store, run_id, name)
    if RunFiles(store.run_dir(run_id)).endpoint.serves(name):
        raise StudioError("The export {name} is being served.", "Stop the server first.", name=name)
    written = read_json(export.process) or {}
    process.kill(written.get("pid"), written.get("started"))
    doomed = store.tmp_dir / f"deleted-{run_id}-{name}"
    shutil.rmtree(doomed, ignore_errors=True)
    with explained(export.folder):
        export.folder.rename(doomed)  # at once, so that a half-deleted one is never listed
        shutil.rmtree(doomed)


def run_export(
    store: Store,
    run_id: str,
    config: ExportConfig,
    out: Path,
    progress: Progress = lambda phase, done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Exported:
    """Export to any folder, in this process."""
    from studio.engine.export import export
    from studio.services.recipes import read_recipe

    files = ready(store, run_id)
    if config.to == "script":
        _check_repeatable(store, run_id)
    progress("loading", 0, 0)
    held_out, train = files.held_out_rows(), files.train_rows()
    trained = read_trained(files)
    with explained(out):
        return export(
            trained,
            config,
            out,
            rows=[*held_out, *train],
            facts=_facts(store, files, len(train), len(held_out)),
            recipe=read_recipe(store, files, trained) if config.to == "script" else None,
            progress=progress,
            should_stop=should_stop,
        )


def _facts(store: Store, files: RunFiles, rows: int, held_out_rows: int) -> RunFacts:
    """What the card says of a run."""
    from studio.engine.export import RunFacts
    from studio.services import evaluations, ratings

    env, origin = files.env(), origin_of(Path(files.given_config().data.path)) or {}
    return RunFacts(
        created=str(files.run()["created"]),
        rows=rows,
        held_out_rows=held_out_rows,
        sources=env.get("rows", {}),
        dataset=on_the_hub(origin["source"]) or "" if origin.get("by") == "hub" else "",
        mixture=files.mixture(),
        versions=env.get("versions", {}),
        sha256=env.get("sha256", {}),
        metrics=Jobs(store).get(files.id).metrics,
        evaluation={} if ratings.is_blind(store, files.id) else evaluations.latest(store, files.id) or {},
        receipt=for_others(files),
    )


def ready(store: Store, run_id: str) -> RunFiles:
    """The run's files, when it has weights that nobody is changing, and they are those that it ended with."""
    Jobs(store).at_rest(run_id)
    files = RunFiles(store.run_dir(run_id))
    read_trained(files)
    check_result(files)
    return files


def _check_repeatable(store: Store, run_id: str) -> None:
    run = Jobs(store).get(run_id)
    if "result_step" not in run.metrics:
        raise StudioError(
            "The run {run} did not come to its end, so no script can repeat it.",
            "Resume it, and export the script once it is finished.",
            run=run.name,
        )


def _judged(
    result: dict[str, Any] | None, last: object, alive: bool
) -> tuple[Literal["running", "finished", "failed", "interrupted"], Text | None, Text | None]:
    """(state, what is wrong, what to do)."""
    if result is not None:
        if result["verified"] is None or result["verified"]["passed"]:
            return "finished", None, None
        return "failed", Text.from_json(result["verified"]["reason_texts"][0]), _NOT_PROVEN
    if isinstance(last, Failed):
        return "failed", last.text, last.remedy_text
    if isinstance(last, Finished):
        return "interrupted", Text("The export was stopped."), Text("Start it again.")
    if alive:
        return "running", None, None
    return "interrupted", Text("The export's process ended before it was done."), Text("Start it again.")


_NOT_PROVEN = Text(
    "Its files are kept, but do not rely on them: export with a finer precision, or export the adapter."
)


_ALTERED = "The file {file} of this export is not as it was when the export was made."
_MADE_ANEW = Text("Export it again: what it showed when it was made is not true of it any more.")
_AT_ONCE = 2.0
"""Seconds by which files may seem newer than the result that was written after them."""


def _altered(export: ExportFiles, all_of_them: bool = False) -> str:
    """A file of a finished export that is not as its receipt has it, or ''. Unless all are to be read, those that were
    written to since, or are gone."""
    files = ((read_json(export.exported / RECEIPT) or {}).get("export") or {}).get("files") or {}
    try:
        made = export.result.stat().st_mtime + _AT_ONCE
    except OSError:  # it is being deleted
        return ""
    hashed = sha256 if all_of_them else known_sha256
    for name, expected in files.items():
        file = export.exported / name
        try:
            if (all_of_them or file.stat().st_mtime > made) and hashed(file) != expected:
                return str(name)
        except OSError:
            return str(name)
    return ""


def check_whole(store: Store, run_id: str, name: str) -> None:
    """Read every file of a finished export. StudioError where one is not as it was when the export was made."""
    if altered := _altered(_export(store, run_id, name), all_of_them=True):
        raise StudioError(_ALTERED, _MADE_ANEW.template, file=altered)


def _is_alive(export: ExportFiles, created: str) -> bool:
    written = read_json(export.process)
    if written is None:
        age = time.time() - datetime.fromisoformat(created.replace("Z", "+00:00")).timestamp()
        return age < _GRACE
    return process.is_alive(written["pid"], written["started"])


def _export(store: Store, run_id: str, name: str) -> ExportFiles:
    folder = RunFiles(store.run_dir(run_id)).exports
    # Compared with what is there, never joined to a path as it comes.
    if name not in {path.parent.name for path in folder.glob("*/export.json")}:
        raise _no_such(name)
    return ExportFiles(folder / name)


def _fresh(parent: Path, name: str) -> Path:
    with explained(parent):
        parent.mkdir(exist_ok=True)
        number = 1
        while True:
            folder = parent / (name if number == 1 else f"{name}-{number}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder
            number += 1


def _no_such(name: str) -> StudioError:
    return StudioError("There is no export {name} of this run.", "Choose one from the list.", name=name)
