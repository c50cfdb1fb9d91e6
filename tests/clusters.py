"""A Ray cluster of several nodes as processes of this machine, started and ended by Ray's own command line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from studio.services.ray_cluster import token_header

_STORE = "100000000"
"""Bytes of a node's object store, of which nothing here needs any."""
_SECONDS = 180


@dataclass
class Cluster:
    address: str
    """Of Ray Jobs."""
    port: int
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """Each node's first process: `ray start --block`, whose children are the node."""

    def add(self, cores: int) -> None:
        self.nodes.append(_start("--address", f"127.0.0.1:{self.port}", "--num-cpus", str(cores)))
        self._wait(len(self.nodes))

    def kill(self, node: int) -> None:
        """As when a machine is switched off."""
        started = self.nodes[node]
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(started.pid).children(recursive=True)
            started.kill()
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(family, timeout=20)
        started.wait()

    def _wait(self, nodes: int) -> None:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError, ValueError, KeyError, TypeError):  # it begins with empty answers
                answer = httpx.get(f"{self.address}/api/v0/nodes", timeout=5, headers=token_header()).json()
                found = answer["data"]["result"]["result"]
                if sum(node["state"] == "ALIVE" for node in found) >= nodes:
                    return
            time.sleep(0.3)
        raise AssertionError(f"no cluster of {nodes} nodes came up")


@contextmanager
def cluster(cores: int) -> Iterator[Cluster]:
    """A head with so many cores; further nodes are added."""
    port, dashboard = _free_port(), _free_port()
    # Ray's sockets have paths of at most 107 characters.
    scratch = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    head = _start(
        *("--head", "--port", str(port), "--dashboard-port", str(dashboard), "--num-cpus", str(cores)),
        *("--temp-dir", scratch),
    )
    made = Cluster(f"http://127.0.0.1:{dashboard}", port, [head])
    try:
        made._wait(1)
        yield made
    finally:
        for node in reversed(range(len(made.nodes))):
            made.kill(node)


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    ray = Path(sys.executable).with_name("ray")
    return subprocess.Popen(
        [str(ray), "start", "--block", "--disable-usage-stats", "--object-store-memory", _STORE, *arguments],
        env={**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
