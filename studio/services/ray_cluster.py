"""A run on a Ray cluster: handed in with Ray Jobs, done by Ray Train's TorchTrainer (`ray_job.py`)."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

import studio
from studio.domain.config import LaunchConfig
from studio.domain.errors import StudioError
from studio.domain.text import Text
from studio.services.exchange import Exchange
from studio.services.launch import spoken
from studio.services.run_files import RunFiles

_ANSWERS = 4.0
"""Seconds that a cluster has for each answer before a run begins."""
_LOST = 120.0
"""Seconds without an answer after which a cluster is given up."""
_EVERY = 1.0
"""Seconds between two looks at the job."""
_PATIENCE = 8.0
"""Seconds that a cluster which is large enough has to become free: of a job that has just ended it takes some."""
_OVER = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})


class RayCluster:
    """The cluster at `launch.address`. Its machines share the studio's folder, or `launch.storage` carries files."""

    here = False

    def __init__(self, config: LaunchConfig) -> None:
        self._config = config
        self._job = ""
        self._files: RunFiles | None = None
        self._exchange: Exchange | None = None
        self._looked = 0.0
        self._answered = 0.0
        self._status = ""

    @property
    def where(self) -> Text:
        return Text(
            "The run is shared out over {processes} processes of the Ray cluster at {address}, {strategy}.",
            {
                "processes": self._config.processes,
                "address": self._address,
                "strategy": spoken(self._config),
            },
        )

    def prepare(self) -> None:
        if find_spec("ray") is None:
            raise StudioError(
                "Ray is not installed here.",
                "Install it: {python} -m pip install -c constraints.txt -e '.[ray]'",
                python=sys.executable,
            )
        if not self._config.address:
            raise StudioError(
                "A run on a Ray cluster needs its address.",
                "Set launch.address to what `ray start` says on its head, such as http://127.0.0.1:8265.",
            )
        if self._config.storage:
            Exchange(self._config.storage).check()
        needed = self._config.processes
        kind, free, total = self._room()
        deadline = time.monotonic() + _PATIENCE
        while free < needed <= total and time.monotonic() < deadline:
            time.sleep(0.5)
            kind, free, total = self._room()
        if free < needed:
            raise StudioError(
                "The Ray cluster at {address} has no room: {free} of {total} {kind} are free, {needed} are needed.",
                "Lower launch.processes, add machines to the cluster, or try again when others have ended.",
                address=self._address,
                total=f"{total:g}",
                kind=kind,
                free=f"{free:g}",
                needed=needed,
            )

    def _room(self) -> tuple[str, float, float]:
        return _room(self._get("api/v0/nodes"), self._get("api/cluster_status"))

    def start(self, files: RunFiles) -> None:
        self._files = files
        written = files.folder / "ray-job"
        self._stop_earlier(written)
        (files.folder / "attempts").unlink(missing_ok=True)
        job = f"{files.id}-{time.time_ns():x}"
        written.write_text(
            job, encoding="utf-8"
        )  # before it is started: what cannot be found cannot be stopped
        place = str(files.folder)
        if self._config.storage:
            self._exchange = Exchange(self._config.storage, files.folder)
            self._exchange.send_all(files)
            place = self._config.storage
        arguments = shlex.join(["-m", "studio.services.ray_job", files.id, place])
        own = shlex.quote(sys.executable)
        self._client().submit_job(
            entrypoint=f"if [ -x {own} ]; then exec {own} {arguments}; else exec python {arguments}; fi",
            submission_id=job,
            runtime_env={"env_vars": _environment()},
            metadata={"studio_run": files.id},
        )
        self._job, self._status, self._answered = job, "PENDING", time.monotonic()

    def is_alive(self) -> bool:
        if not self._job:
            return False
        if time.monotonic() - self._looked > _EVERY:
            self._looked = time.monotonic()
            with contextlib.suppress(httpx.HTTPError, ValueError, KeyError):
                self._status = self._ask(f"api/jobs/{self._job}")["status"]
                self._answered = time.monotonic()
            if self._exchange:
                self._exchange.fetch_new()
        return self._status not in _OVER and time.monotonic() - self._answered < _LOST

    def stop(self) -> None:
        if not self._job:
            return
        if self._exchange:
            self._exchange.fetch_new()
        with contextlib.suppress(Exception):  # a cluster that is gone has no job any more
            client = self._client()
            if self._status not in _OVER:
                client.stop_job(self._job)
            if self._files:
                with self._files.worker_log.open("a", encoding="utf-8") as log:
                    log.write(client.get_job_logs(self._job))

    def _stop_earlier(self, written: Path) -> None:
        """The job of a life whose watcher was killed still trains: it ends before another begins."""
        if not written.is_file():
            return
        job = written.read_text(encoding="utf-8")
        with contextlib.suppress(Exception):  # none there any more
            client = self._client()
            if str(client.get_job_status(job)) not in _OVER:
                client.stop_job(job)
            deadline = time.monotonic() + 30
            while str(client.get_job_status(job)) not in _OVER and time.monotonic() < deadline:
                time.sleep(0.5)

    @property
    def _address(self) -> str:
        return (self._config.address or "").rstrip("/")

    def _client(self) -> Any:
        from ray.job_submission import JobSubmissionClient

        return JobSubmissionClient(self._address)

    def _ask(self, path: str) -> Any:
        answer = httpx.get(f"{self._address}/{path}", timeout=_ANSWERS, headers=token_header())
        answer.raise_for_status()
        return answer.json()

    def _get(self, path: str) -> Any:
        try:
            return self._ask(path)["data"]
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
            raise StudioError(
                "The Ray cluster at {address} cannot be reached: {problem}.",
                "Start it with `ray start`, or correct launch.address.",
                address=self._address,
                problem=str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__,
            ) from error


def token_header() -> dict[str, str]:
    """For clusters that ask for a token; it lies where Ray's own programs look for it ("Token authentication")."""
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    token = os.environ.get("RAY_AUTH_TOKEN") or (file.read_text(encoding="utf-8") if file.is_file() else "")
    return {"Authorization": f"Bearer {token.strip()}"} if token.strip() else {}


def _room(nodes: Any, status: Any) -> tuple[str, float, float]:
    """What each process takes (a GPU, or a core where there is none), how many are free, and in all."""
    alive = [node["resources_total"] for node in nodes["result"]["result"] if node["state"] == "ALIVE"]
    totals = {kind: sum(node.get(kind, 0.0) for node in alive) for kind in ("GPU", "CPU")}
    kind = "GPU" if totals["GPU"] else "CPU"
    usage = status["clusterStatus"]["loadMetricsReport"]["usage"] or {}
    used = float(usage.get(kind, [0.0])[0])
    return f"{kind}s", max(0.0, totals[kind] - used), totals[kind]


def _environment() -> dict[str, str]:
    """This installation where the cluster sees it, such as on machines with a common disk."""
    return {
        "PYTHONPATH": str(Path(studio.__file__).parent.parent),
        "RAY_TRAIN_V2_ENABLED": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        **{name: value for name, value in os.environ.items() if name.startswith("AWS_")},
    }
