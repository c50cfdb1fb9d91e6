"""Exports of a run that proved themselves and are still the run as it is: what may be served, or handed on."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from studio.domain.config import ExportConfig, Target
from studio.domain.errors import StudioError
from studio.engine.proof_files import RECEIPT
from studio.services import exports
from studio.services.exports import ExportStatus
from studio.services.files import read_json
from studio.services.run_files import RunFiles
from studio.services.store import Store
from studio.services.trained import read_trained

Watch = Callable[[ExportStatus], None]
_LOOK = 0.3
"""Seconds from look to look at an export that is being made."""


def find(store: Store, run_id: str, to: Target | None = None) -> list[ExportStatus]:
    """Proven exports of the run's weights as they are now, the newest first; of one target, or of all but scripts."""
    files = RunFiles(store.run_dir(run_id))
    ended_with = files.env().get("sha256", {}).get("result")
    weights = read_trained(files).weights.glob("*.safetensors")
    changed = max((file.stat().st_mtime for file in weights), default=0.0)
    return [
        status
        for status in exports.list_exports(store, run_id)
        if status.state == "finished"
        and status.to != "script"
        and to in (None, status.to)
        and status.files.is_dir()
        and _time(status.created) > changed
        and _made_of(status, ended_with)
    ]


def _made_of(status: ExportStatus, result: dict[str, str] | None) -> bool:
    """Whether an export is of the weights that a run ended with, as far as both say of which."""
    made_of = (read_json(status.files / RECEIPT) or {}).get("sha256", {}).get("result")
    return not result or not made_of or made_of == result


def named(store: Store, run_id: str, name: str) -> ExportStatus:
    """The proven export of this name. StudioError where there is none, or it is not, or no longer, the run's result."""
    status = exports.status(store, run_id, name)
    if name not in {found.name for found in find(store, run_id)}:
        raise StudioError(
            "The export {name} is no proven copy of the run as it is now.",
            "Export again: what failed its proof, or is older than the run's weights, is not handed on.",
            name=status.name,
        )
    exports.check_whole(store, run_id, name)
    return status


def made(
    store: Store,
    run_id: str,
    config: ExportConfig,
    watch: Watch = lambda status: None,
) -> ExportStatus:
    """A proven export of the target and precision that `config` asks for, or one that is made now, in its own process.

    The newest that is there will do, however its other settings were: its proof says that it answers as the run does.
    StudioError where it cannot be made or does not prove itself.
    """
    for status in find(store, run_id, config.to):
        if status.precision == config.precision:
            exports.check_whole(store, run_id, status.name)
            return status
    name = exports.start(store, run_id, config)
    while (status := exports.status(store, run_id, name)).state == "running":
        watch(status)
        time.sleep(_LOOK)
    if status.state != "finished":
        assert status.text is not None
        assert status.remedy_text is not None
        values = {**status.remedy_text.values, **status.text.values}
        raise StudioError(status.text.template, status.remedy_text.template, **values)
    return status


def _time(utc: str) -> float:
    return datetime.fromisoformat(utc.replace("Z", "+00:00")).timestamp()
