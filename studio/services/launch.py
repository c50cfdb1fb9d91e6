"""Where a run runs: one interface to this machine's processes and to other engines, chosen by `launch.where`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Protocol

from studio.domain.config import LaunchConfig, RunConfig
from studio.domain.errors import StudioError
from studio.domain.machine import Machine
from studio.domain.text import Text
from studio.engine.ranks import check_sharding
from studio.services import process
from studio.services.run_files import RunFiles


class Launcher(Protocol):
    """Starts the processes of a run and knows whether they work. What they do, the run's folder says."""

    here: bool
    """Whether they take this machine's device, for which runs wait in line."""

    @property
    def where(self) -> Text:
        """Where it runs, as a sentence."""

    def prepare(self) -> None:
        """Raises StudioError, within ten seconds, where nothing could be started now."""

    def start(self, files: RunFiles) -> None:
        """Start the processes; they go on from the last checkpoint, also by themselves once one of them is lost."""

    def is_alive(self) -> bool:
        """Whether any of them works, or is about to again."""

    def stop(self) -> None:
        """End them at once. A run that is asked to stop is so by its folder, and ends by itself."""


class Torchrun:
    """Several processes of this machine, watched and started again by torch's elastic agent."""

    here = True

    def __init__(self, config: LaunchConfig) -> None:
        self._config = config
        self._agent: subprocess.Popen[bytes] | None = None

    @property
    def where(self) -> Text:
        return Text(
            "The run is shared out over {processes} processes on this machine, {strategy}.",
            {"processes": self._config.processes, "strategy": spoken(self._config)},
        )

    def prepare(self) -> None:
        """Nothing can be missing: torch brings it."""

    def start(self, files: RunFiles) -> None:
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(self._config.processes)),
            *("--max-restarts", str(self._config.restarts), "--monitor-interval", "0.5"),
            *("-m", "studio.services.member", str(files.folder)),
        ]
        threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        with files.worker_log.open("ab") as output:
            self._agent = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**process.environment(keeps_memory=True), **threads},
            )

    def is_alive(self) -> bool:
        return self._agent is not None and self._agent.poll() is None

    def stop(self) -> None:
        if self._agent is not None:
            process.kill(self._agent.pid, process.start_time(self._agent.pid))
            self._agent.wait()


def _ray(config: LaunchConfig) -> Launcher:
    from studio.services.ray_cluster import RayCluster

    return RayCluster(config)


_LAUNCHERS: dict[str, Callable[[LaunchConfig], Launcher]] = {"torchrun": Torchrun, "ray": _ray}


def launcher(config: LaunchConfig) -> Launcher | None:
    """None for a run that is one process of this machine: its worker itself."""
    found = _LAUNCHERS.get(config.where)
    return found(config) if found else None


def check(config: RunConfig, machine: Machine) -> None:
    """Raises StudioError where a run with this resolved configuration could not be started."""
    found = launcher(config.launch)
    if found is None:
        return
    if config.launch.strategy == "fsdp":
        check_sharding(config.train)
    if found.here and machine.device == "mps":
        raise StudioError(
            "Several processes cannot share Apple's GPU.",
            "Set launch.where to local.",
        )
    found.prepare()


def spoken(config: LaunchConfig) -> str:
    return {"data_parallel": "data parallel", "fsdp": "FSDP"}[config.strategy]
