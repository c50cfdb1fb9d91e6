"""How soon the page answers, and what it holds in memory: python -m tests.bench.startup [--runs 5]

Starts `studio serve` in a process of its own each time, waits for HTTP 200, then 20 s idle, and reads its resident
memory. The yardstick in the same run is the smallest Gradio page there is.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing

import psutil

SMALLEST = "import sys, gradio as gr\nwith gr.Blocks(analytics_enabled=False) as b: gr.Markdown('x')\n" + (
    "b.launch(server_port=int(sys.argv[1]), ssr_mode=False, quiet=True)"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(command: list[str], port: int, home: str, idle: float) -> tuple[float, float]:
    """(seconds to HTTP 200, resident megabytes after `idle` seconds)"""
    begun = time.perf_counter()
    environment = {**os.environ, "STUDIO_HOME": home, "GRADIO_ANALYTICS_ENABLED": "False"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        while not answers(port):
            assert process.poll() is None, "the server ended"
            time.sleep(0.02)
        seconds = time.perf_counter() - begun
        time.sleep(idle)
        return seconds, psutil.Process(process.pid).memory_info().rss / 1e6
    finally:
        process.terminate()
        process.wait()


def answers(port: int) -> bool:
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
    except OSError:
        return False


def main() -> None:
    """Print each run and the medians."""
    options = argparse.ArgumentParser()
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--idle", type=float, default=20.0)
    given = options.parse_args()
    found: dict[str, list[tuple[float, float]]] = {"studio": [], "smallest Gradio page": []}
    with tempfile.TemporaryDirectory() as home:
        for run in range(given.runs + 1):
            for name, results in found.items():
                port = free_port()
                arguments = (
                    ["-m", "studio", "serve", "--port", str(port)]
                    if name == "studio"
                    else ["-c", SMALLEST, str(port)]
                )
                result = measure([sys.executable, *arguments], port, home, given.idle if run else 0)
                if run:  # the first fills the file cache
                    results.append(result)
                    print(f"{name}: {result[0]:.2f} s, {result[1]:.0f} MB", flush=True)
    for name, results in found.items():
        seconds, memory = (statistics.median(values) for values in zip(*results, strict=True))
        print(f"median {name}: {seconds:.2f} s, {memory:.0f} MB")


if __name__ == "__main__":
    main()
