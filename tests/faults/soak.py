"""Hundreds of short runs one after the other, with kills and restarts: python -m tests.faults.soak [--runs 300]

The page's server stays up meanwhile, but for being killed now and then. Told at the end: whether each run came to its
end and none is there that nobody started, what the server held (memory, files, processes) at the beginning and the end
of its longest life, which processes were left, and what `studio doctor --check-home` finds.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from studio.domain.run import ALIVE, RESUMABLE
from studio.services import home_check
from tests.faults.ground import Ground

_LAST_WORDS = 15.0
"""Seconds in which a worker has to be gone that has said that it is finished."""
KEPT = 20
"""The newest runs; older ones are deleted, as people do."""
EVENTS = {"nothing": 60, "worker killed": 15, "server killed": 10, "stopped": 15}
"""What happens to how many of a hundred runs."""


@dataclass(frozen=True)
class Held:
    """What a server's process holds."""

    rss: int
    files: int
    threads: int


class Server:
    """`studio serve`, which can be killed and comes back on the same port."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.held: list[Held] = []
        """In its present life, a look each."""
        self.longest: list[Held] = []
        self.start()

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "studio",
            "--home",
            str(self.home),
            "serve",
            "--port",
            str(self.port),
        ]
        with (self.home / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.held = []
        while not self.answers():
            assert self.process.poll() is None, (self.home / "serve.log").read_text(encoding="utf-8")
            time.sleep(0.2)

    def answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=20).close()
        except OSError:
            return False
        return True

    def look(self) -> None:
        process = psutil.Process(self.process.pid)
        self.held.append(Held(process.memory_info().rss, process.num_fds(), process.num_threads()))
        if len(self.held) > len(self.longest):
            self.longest = self.held

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@dataclass
class Soak:
    """What has come of the runs so far."""

    happened: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    wrong: list[str] = field(default_factory=list)


def one(ground: Ground, server: Server, what: str, dice: random.Random, so_far: Soak) -> str:
    """One run from its start to its end, whatever happens to it meanwhile; returns its id."""
    jobs = ground.jobs
    run = jobs.submit(ground.config)
    if what != "nothing":
        time.sleep(dice.uniform(0, 8))
    if what == "server killed":
        server.kill()
        server.start()
    elif jobs.get(run).state in ALIVE and what == "worker killed" and (pid := jobs.get(run).pid):
        psutil.Process(pid).kill()
    elif jobs.get(run).state in ALIVE and what == "stopped":
        jobs.stop(run)
    ground.until_ended(run)
    if jobs.get(run).state in RESUMABLE:
        so_far.resumed += 1
        jobs.resume(run)
        ground.until_ended(run)
    so_far.happened[what] += 1
    so_far.ended[jobs.get(run).state] += 1
    return run


def soak(ground: Ground, server: Server, runs: int, dice: random.Random, told: Callable[[str], None]) -> Soak:
    """So many runs."""
    found, kept = Soak(), list[str]()
    for number in range(1, runs + 1):
        what = dice.choices([*EVENTS], [*EVENTS.values()])[0]
        kept.append(one(ground, server, what, dice, found))
        while len(kept) > KEPT:
            ground.jobs.delete(kept.pop(0))
        there = ground.store.run_ids()
        if sorted(there) != sorted(kept):
            found.wrong.append(f"after run {number}: {sorted(set(there) ^ set(kept))}")
        if not server.answers():
            found.wrong.append(f"after run {number}: the page does not answer")
        server.look()
        told(f"{number} of {runs}: {what}; {asdict(server.held[-1])}")
    return found


def left_over(home: Path, server: Server) -> list[str]:
    """Processes of this home beside the server's own."""
    own = {
        server.process.pid,
        *(child.pid for child in psutil.Process(server.process.pid).children(recursive=True)),
    }
    time.sleep(_LAST_WORDS)
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(home) in line and process.info["pid"] not in own:
            found.append(line)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        ground, begun = Ground(home, steps=20), time.monotonic()
        server = Server(home)
        try:
            found = soak(
                ground,
                server,
                options.runs,
                random.Random(options.seed),
                lambda line: print(line, flush=True),
            )
            result = {
                "runs": options.runs,
                "minutes": round((time.monotonic() - begun) / 60, 1),
                "happened": dict(found.happened),
                "ended": dict(found.ended),
                "resumed": found.resumed,
                "wrong": found.wrong,
                "server_first": asdict(server.longest[0]),
                "server_last": asdict(server.longest[-1]),
                "server_runs_in_longest_life": len(server.longest),
                "processes_left": left_over(home, server),
                "flaws": [str(flaw.message) for flaw in home_check.flaws(ground.store)],
                "home_bytes": home_check.room(ground.store),
            }
        finally:
            server.kill()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
