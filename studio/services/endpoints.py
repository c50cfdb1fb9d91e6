"""Serving a run's model on an OpenAI-compatible endpoint: started once, watched from anywhere, ended on demand."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from studio.domain.config import ExportConfig
from studio.domain.errors import StudioError
from studio.services import endpoint_servers, exports, failures, process, proven
from studio.services.addresses import cannot_bind, free_port, is_loopback, shown
from studio.services.endpoint_files import EndpointFiles
from studio.services.endpoint_servers import Server
from studio.services.files import explained, now, read_json, write_json
from studio.services.run_files import RunFiles
from studio.services.store import Store, slug
from studio.services.trained import read_trained

State = Literal["exporting", "starting", "serving", "stopped", "failed"]
AT_WORK = ("exporting", "starting", "serving")
FIRST_PORT = 8000
_LOOK = 0.3


@dataclass(frozen=True)
class Asked:
    """What is to be served, how and where."""

    run: str
    name: str
    """What clients call the model."""
    server: Server = "transformers"
    export: str = ""
    """One of the run's exports; empty: a proven merged one, made first where there is none."""
    dtype: str = ""
    """Of an export that is still to be made or chosen; empty: any, best the one that the chat computes in."""
    host: str = "127.0.0.1"
    port: int = FIRST_PORT

    @property
    def url(self) -> str:
        """As OpenAI's client takes it."""
        return f"http://{shown(self.host)}:{self.port}/v1"


@dataclass(frozen=True)
class EndpointStatus:
    """One run's endpoint as it is now."""

    asked: Asked
    state: State
    created: str
    export: str = ""
    bytes: int = 0
    """Of the export's files: about what the model takes in memory."""
    command: tuple[str, ...] = ()
    since: str = ""
    """When it was started, began to load the model, or to answer."""
    phase: str = "loading"
    done: float = 0.0
    total: float = 0.0
    log: Path = Path()
    error: StudioError | None = None

    @property
    def at_work(self) -> bool:
        return self.state in AT_WORK

    def to_json(self) -> dict[str, Any]:
        return {
            "run": self.asked.run,
            "state": self.state,
            "url": self.asked.url,
            "model": self.asked.name,
            "server": self.asked.server,
            "export": self.export,
            "command": [*self.command],
            "log": str(self.log),
            "error": str(self.error) if self.error else None,
        }


def start(
    store: Store,
    run_id: str,
    *,
    server: Server | None = None,
    export: str = "",
    dtype: str = "",
    host: str | None = None,
    port: int | None = None,
    without_login: bool = False,
) -> EndpointStatus:
    """Serve a run's model in a process of its own, which outlives the page; one that is served already stays as it is.

    StudioError where that one is not as asked for; what is left open may be anything. Without a port, the first free
    one from `FIRST_PORT` on. StudioError at once where the run, the server or the address is at fault; an address that
    others reach is one, unless `without_login` says that it is meant.
    """
    run = exports.ready(store, run_id)
    name = slug(str(run.run()["name"]))
    found = status(store, run_id)
    if found is not None and found.at_work:
        _check_same(
            store, found, {"server": server, "export": export, "dtype": dtype, "host": host, "port": port}
        )
        return found
    server, host = server or "transformers", host or "127.0.0.1"
    endpoint_servers.check(server)
    if export and proven.named(store, run_id, export).to != "merged":
        raise StudioError(
            "The export {name} cannot be served: only a merged model can.",
            "Choose a merged export, or leave it to the studio.",
            name=export,
        )
    name = run_id if name == "untitled" else name
    files = run.endpoint
    with explained(files.folder):
        files.folder.mkdir(exist_ok=True)
    with FileLock(store.endpoints_lock):  # two that start at once must not get one port
        asked = Asked(run_id, name, server, export, dtype, host, _port(store, host, port, without_login))
        with FileLock(files.lock):
            if not files.is_alive():
                _start(run, asked)
    begun = status(store, run_id)
    assert begun is not None
    return begun


def _check_same(store: Store, found: EndpointStatus, given: dict[str, str | int | None]) -> None:
    """StudioError where the endpoint at work is another than the one that was asked for."""
    served = asdict(found.asked)
    if found.export:
        served |= {
            "export": found.export,
            "dtype": exports.status(store, found.asked.run, found.export).precision,
        }
    if any(value not in (None, "") and value != served[name] for name, value in given.items()):
        raise StudioError(
            "The run {run} is served already, in another way, at {url}.",
            "Stop it first.",
            run=found.asked.run,
            url=found.asked.url,
        )


def _start(run: RunFiles, asked: Asked) -> None:
    files = run.endpoint
    for old in (files.process, files.server, files.state, files.log):
        old.unlink(missing_ok=True)
    write_json(files.request, {"schema": 1, "asked": asdict(asked), "created": now()})
    process.start_detached(
        ["studio.services.endpoint_worker", str(run.folder)],
        files.log,
        lambda pid, started: write_json(files.process, {"pid": pid, "started": started}),
        keeps_memory=False,
    )


def status(store: Store, run_id: str) -> EndpointStatus | None:
    """A run's endpoint as it is now, or how the last one ended; None where it was never served."""
    files = RunFiles(store.run_dir(run_id)).endpoint
    asked = read_json(files.request)
    if asked is None:
        return None
    alive = files.is_alive()
    said = read_json(files.state) or {"state": "starting", "since": asked["created"]}
    state, error = said["state"], failures.from_json(said["error"]) if "error" in said else None
    if state in AT_WORK and not alive:
        _clear(files)
        state, error = "failed", _GONE
    return EndpointStatus(
        Asked(**asked["asked"]),
        state,
        asked["created"],
        said.get("export", ""),
        said.get("bytes", 0),
        tuple(said.get("command", ())),
        said.get("since", ""),
        said.get("phase", "loading"),
        said.get("done", 0.0),
        said.get("total", 0.0),
        files.log,
        error,
    )


def _clear(files: EndpointFiles) -> None:
    """End what outlived its watcher without one; not where it was started anew meanwhile."""
    if files.leaves_something():
        with FileLock(files.lock):
            if not files.is_alive():
                files.end_server()


_GONE = StudioError(
    "The server's process ended without a word (killed, out of memory, or the machine was switched off).",
    "Serve it again.",
)


def list_endpoints(store: Store) -> list[EndpointStatus]:
    """Every endpoint that is at work."""
    found = (status(store, run_id) for run_id in store.run_ids())
    return [one for one in found if one is not None and one.at_work]


def stop(store: Store, run_id: str) -> None:
    """End a run's server at once. StudioError where it has none."""
    files, found = RunFiles(store.run_dir(run_id)).endpoint, status(store, run_id)
    if found is None or not found.at_work:
        raise StudioError("The run {run} is not being served.", "There is nothing to stop.", run=run_id)
    with FileLock(files.lock):
        files.end()
        said = read_json(files.state) or {}
        write_json(files.state, {**said, "state": "stopped"})


def wait(
    store: Store, run_id: str, watch: Callable[[EndpointStatus], None] = lambda status: None
) -> EndpointStatus:
    """Until it answers; StudioError where it never will."""
    while True:
        found = status(store, run_id)
        assert found is not None
        if found.state == "serving":
            return found
        if found.error is not None:
            raise found.error
        if not found.at_work:
            raise StudioError("The server was stopped before it answered.", "Serve it again.")
        watch(found)
        time.sleep(_LOOK)


def export_config(store: Store, asked: Asked) -> ExportConfig:
    """The merged export that fits: in the number format that was asked for, the chat's, or that of one that is there.

    In the chat's own format it answers as the chat does, but it is not made where another is there.
    """
    own = read_trained(RunFiles(store.run_dir(asked.run))).config.train.dtype
    there = [status.precision for status in proven.find(store, asked.run, "merged")]
    dtype = asked.dtype or (own if own in there or not there else there[0])
    return ExportConfig.model_validate({"to": "merged", "dtype": dtype})


def _port(store: Store, host: str, port: int | None, without_login: bool) -> int:
    """The port to listen on. StudioError where that is not possible, or not safe."""
    if not is_loopback(host) and not without_login:
        raise StudioError(
            "Anyone who can reach {host} could use this model: the server has no login.",
            "Leave --host away to serve this machine only, or add --without-login if all of them may.",
            host=host,
        )
    # One that still loads listens minutes later.
    promised = {one.asked.port for each in store.everybodys().values() for one in list_endpoints(each)}
    wanted = free_port(host, FIRST_PORT, promised) if port is None else port
    problem = cannot_bind(host, wanted)
    if problem is None and wanted not in promised:
        return wanted
    if problem is None or problem.errno == errno.EADDRINUSE:
        raise StudioError(
            "Port {port} is in use.",
            "Choose another; {free} is free.",
            port=wanted,
            free=free_port(host, wanted + 1, promised),
        )
    raise StudioError(
        "Nothing can be served at {host}:{port}: {problem}.",
        "Choose another --host or --port.",
        host=host,
        port=wanted,
        problem=problem.strerror or str(problem),
    )
