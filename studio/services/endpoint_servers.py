"""The servers that an export can be served by: are they there, and how each is started."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from studio.domain.errors import StudioError
from studio.services.endpoint_files import EndpointFiles
from studio.services.files import explained
from studio.services.process import environment

Server = Literal["transformers", "vllm"]
SERVERS: tuple[Server, ...] = get_args(Server)
_REVISION = "0" * 40
"""A hub's cache keeps each revision in a folder that is named like a commit."""


@dataclass(frozen=True)
class Launch:
    """How a server is started."""

    command: Sequence[str]
    environment: Mapping[str, str]


def is_there(server: Server) -> bool:
    """Whether a server is installed."""
    return find_spec("openai") is not None if server == "transformers" else _vllm() is not None


def check(server: Server) -> None:
    """StudioError where the server is not installed."""
    if is_there(server):
        return
    if server == "transformers":
        raise StudioError(
            "What transformers' server needs is not installed.",
            "Install it: {python} -m pip install -c constraints.txt -e '.[serve]'",
            python=sys.executable,
        )
    raise StudioError(
        "vLLM is not installed: there is no command `vllm` here.",
        "Install it as its own documentation says (https://docs.vllm.ai), or serve with transformers.",
    )


def launch(server: Server, files: EndpointFiles, model: Path, name: str, host: str, port: int) -> Launch:
    """The command that serves the export in `model` under `name`, without asking any other host for anything."""
    alone = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    if server == "vllm":
        listening = ["--host", host.strip("[]"), "--port", str(port)]
        no_page = ["--allowed-origins", "[]"]  # vLLM lets any web page read its answers unless told otherwise
        command = [str(_vllm()), "serve", str(model), "--served-model-name", name, *listening, *no_page]
        alone |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    else:
        _write_hub(files.hub, model, name)
        command = [sys.executable, "-m", "studio.services.transformers_server", name, host, str(port)]
        alone |= {"HF_HUB_CACHE": str(files.hub)}
    return Launch(command, {**environment(keeps_memory=True), **alone})


def _vllm() -> str | None:
    """The command of vLLM: beside this Python's own, or wherever the shell finds it."""
    own = str(Path(sys.executable).parent)
    return shutil.which("vllm", path=os.pathsep.join([own, os.environ.get("PATH", "")]))


def _write_hub(folder: Path, model: Path, name: str) -> None:
    """Lay the export out as a hub's cache that has this model only.

    transformers' server loads what a client names, and lists what is in the cache: so the name that a client gives is
    that of the run, not a path, and there is nothing else to be loaded. The files are links and take no room.
    """
    shutil.rmtree(folder, ignore_errors=True)
    repository = folder / f"models--{name}"
    snapshot, reference = repository / "snapshots" / _REVISION, repository / "refs" / "main"
    with explained(folder):
        snapshot.mkdir(parents=True)
        reference.parent.mkdir()
        reference.write_text(_REVISION, encoding="utf-8")
        for file in model.iterdir():
            _link(file, snapshot / file.name)


def _link(file: Path, to: Path) -> None:
    try:
        os.link(file, to)
    except OSError:  # another file system, or one without hard links
        to.symlink_to(file)
