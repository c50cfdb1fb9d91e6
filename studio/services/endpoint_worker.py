"""Serves a run's model in the background: python -m studio.services.endpoint_worker RUN_DIR

It sees to it that there is a proven export, starts the server on it, waits until it answers, and says how it ended.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from studio.domain.errors import StudioError
from studio.services import endpoint_servers, endpoints, failures, process, proven
from studio.services.addresses import shown
from studio.services.endpoint_servers import Launch
from studio.services.exports import ExportStatus
from studio.services.files import now, read_json, write_json
from studio.services.redaction import guard_output
from studio.services.run_files import RunFiles
from studio.services.store import Store

_LOOK = 0.25
"""Seconds from look to look at whether the server answers."""
_LINE = 300
"""Letters of the log's line that is told as the reason."""
_TAIL = 1 << 16
"""Bytes at the log's end that the reason is looked for in: a server that was asked for days has said a lot."""


class EndpointWorker:
    """Owns the state of one endpoint."""

    def __init__(self, folder: Path) -> None:
        run = RunFiles(folder)
        self.store = Store(folder.parent.parent)
        self.run_id = run.id
        self.files = run.endpoint
        self.asked = endpoints.Asked(**(read_json(self.files.request) or {})["asked"])
        self.told: dict[str, Any] = {}

    def work(self) -> int:
        """Serve until the server ends, and say why it did; returns the exit status."""
        try:
            export = self._export()
            self._serve(export)
        except Exception as error:
            traceback.print_exc()
            told = failures.explained(error, _NO_MEMORY, _failed)
            self.files.end_server()
            self._say("failed", error=json.loads(json.dumps(failures.to_json(told), default=str)))
        return 1

    def _export(self) -> ExportStatus:
        """The export that was named; else a proven merged one, made first where there is none."""
        self._say("starting", since=now())
        if self.asked.export:
            return proven.named(self.store, self.run_id, self.asked.export)
        config = endpoints.export_config(self.store, self.asked)

        def watch(status: ExportStatus) -> None:
            self._say("exporting", phase=status.phase, done=status.done, total=status.total)

        return proven.made(self.store, self.run_id, config, watch)

    def _serve(self, export: ExportStatus) -> None:
        asked = self.asked
        launch = endpoint_servers.launch(
            asked.server, self.files, export.files, asked.name, asked.host, asked.port
        )
        size = (export.result or {}).get("bytes", 0)
        self.told = {"export": export.name, "bytes": size, "command": [*launch.command]}
        self._say("starting", since=now())
        server = self._started(launch)
        while not (self._answers() and server.poll() is None):
            if server.poll() is not None:
                raise self._ended(server)
            time.sleep(_LOOK)
        self._say("serving", since=now())
        server.wait()
        raise self._ended(server)

    def _started(self, launch: Launch) -> subprocess.Popen[bytes]:
        with self.files.log.open("ab") as log:
            server = subprocess.Popen(
                launch.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(launch.environment)
            )
        write_json(self.files.server, {"pid": server.pid, "started": process.start_time(server.pid)})
        return server

    def _answers(self) -> bool:
        """Whether a server is there that has this model: another program may have taken the port meanwhile."""
        key = os.environ.get("VLLM_API_KEY", "")  # vLLM reads it too, and then answers nobody else
        asking = http.client.HTTPConnection(shown(self.asked.host).strip("[]"), self.asked.port, timeout=5)
        try:
            asking.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"} if key else {})
            models = json.loads(asking.getresponse().read())["data"]
            return self.asked.name in [model["id"] for model in models]
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
            return False
        finally:
            asking.close()

    def _ended(self, server: subprocess.Popen[bytes]) -> StudioError:
        """Why the server ended, as far as its log says."""
        status = server.wait()
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        return StudioError(
            "The server ended ({how}): {reason}",
            "Its log says more: {log}. Where memory is short, stop runs, the chat and other programs first.",
            how=how,
            reason=_reason(self.files.log),
            log=str(self.files.log),
        )

    def _say(self, state: str, **more: Any) -> None:
        write_json(self.files.state, {"state": state, **self.told, **more})


def _reason(log: Path) -> str:
    """The last line that speaks of an error, or else the last one."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        text = file.read().decode("utf-8", errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wrong = [line for line in lines if "error" in line.lower()]
    return (wrong or lines or ["it said nothing"])[-1][:_LINE]


_NO_MEMORY = StudioError(
    "There is too little memory to serve this model.",
    "Stop runs, the chat and other programs that use it, then serve again.",
)


def _failed(problem: str) -> StudioError:
    return StudioError(
        "Serving failed: {problem}.", "Try again; if it fails again, report it.", problem=problem
    )


def main() -> int:
    """Serve the run named on the command line."""
    sys.stdin.read()  # until the starter has written this process down
    guard_output()
    return EndpointWorker(Path(sys.argv[1]).resolve()).work()


if __name__ == "__main__":
    sys.exit(main())
