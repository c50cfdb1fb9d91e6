"""Random faults in real runs, and whether each ends resumable: python -m tests.faults.campaign --out RESULTS.jsonl

Each fault is one line of RESULTS.jsonl, so that a campaign can be done in parts (`--only`, `--times`, `--seed`);
`--table RESULTS.jsonl` prints what they come to. After a fault the run is resumed, and when it is finished its losses
and its weights are compared with those of a run that nothing happened to, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from studio.domain.events import Warned
from studio.domain.run import RESUMABLE
from tests.faults.ground import SAVE_STEPS, End, Ground

CHAIN = 3
"""Kills of one run on end, before it may come to its end."""
_LOADING, _SERVER = 5.0, 5.0
"""Seconds within which a worker loads, and a server starts a run, on a machine with other work."""


@dataclass(frozen=True)
class Outcome:
    """What came of one fault."""

    fault: str
    state: str
    said: str
    lost: int
    """Steps that were done again."""
    same: bool
    """Whether the run, resumed, ended as the undisturbed one did."""

    @property
    def is_good(self) -> bool:
        return self.same and self.lost <= 2 * SAVE_STEPS


def killed_while_loading(ground: Ground, run: str, dice: random.Random) -> None:
    """At any moment from the start of the process on."""
    time.sleep(dice.uniform(0, _LOADING))
    kill(ground, run)


def killed_in_training(ground: Ground, run: str, dice: random.Random) -> None:
    lives = ground.lives(run)
    ground.until(run, lambda: ground.lives(run) > lives)
    time.sleep(dice.uniform(0, 1.5))
    kill(ground, run)


def killed_while_saving(ground: Ground, run: str, dice: random.Random) -> None:
    """As soon as a half-written checkpoint is there."""
    folder = ground.jobs.files(run).checkpoints
    ground.until(run, lambda: any(folder.glob(".step-*.partial")), every=0.001)
    time.sleep(dice.uniform(0, 0.005))
    kill(ground, run)


def checkpoint_damaged(ground: Ground, run: str, dice: random.Random) -> None:
    """Killed in training; a file of the newest checkpoint is then cut, altered or deleted."""
    folder = ground.jobs.files(run).checkpoints
    first = ground.step(run)
    ground.until(run, lambda: ground.step(run) > first + 2 * SAVE_STEPS)
    kill(ground, run)
    newest = max(folder.glob("step-*"))
    file = dice.choice(sorted(newest.iterdir()))
    data = bytearray(file.read_bytes())
    place = dice.randrange(len(data))
    harm = dice.choice(["cut", "altered", "deleted"])
    if harm == "deleted":
        file.unlink()
        return
    data[place] ^= 1 << dice.randrange(8)
    file.write_bytes(data[:place] if harm == "cut" else data)


KILLS = (killed_while_loading, killed_in_training, killed_while_saving, checkpoint_damaged)


def kill(ground: Ground, run: str) -> None:
    pid = ground.jobs.get(run).pid
    if pid:
        os.kill(pid, signal.SIGKILL)
        ground.until_ended(run)


def chain(
    ground: Ground, whole: End, fault: Callable[..., None], times: int, dice: random.Random
) -> list[Outcome]:
    """One run that suffers a fault `times` on end, each in a life of its own, and is resumed after each."""
    run, outcomes = ground.jobs.submit(ground.config), []
    for _ in range(times):
        fault(ground, run, dice)
        now, done = ground.jobs.get(run), ground.step(run)
        if now.state not in RESUMABLE:
            break  # it came to its end before
        seen, lives = len(ground.jobs.events(run)[0]), ground.lives(run)
        ground.jobs.resume(run)
        ground.until(run, lambda lives=lives: ground.lives(run) > lives)  # type: ignore[misc]
        said = [str(e.text) for e in ground.jobs.events(run)[0][seen:] if isinstance(e, Warned)]
        lost = done - ground.begun_at(run)
        outcomes.append(Outcome(fault.__name__, now.state, " ".join([now.reason, *said]), lost, False))
    ground.until_ended(run)
    same = ground.jobs.get(run).state == "finished" and whole.equals(ground.end(run))
    ground.jobs.delete(run)
    return [replace(outcome, same=same) for outcome in outcomes]


_SERVER_CODE = """
import sys, time
from studio.domain.config import parse_config
from studio.services.jobs import Jobs
from studio.services.store import Store
import json
Jobs(Store(sys.argv[1])).submit(parse_config(json.loads(sys.argv[2])))
time.sleep(600)
"""


def server_killed(ground: Ground, whole: End, dice: random.Random) -> Outcome:
    """The process that starts a run is killed: before, while or after it does so."""
    before = set(ground.store.run_ids())
    config = json.dumps(ground.config.model_dump(mode="json"))
    server = subprocess.Popen([sys.executable, "-c", _SERVER_CODE, str(ground.store.home), config])
    time.sleep(dice.uniform(0, _SERVER))
    server.send_signal(signal.SIGKILL)
    server.wait()
    started = set(ground.store.run_ids()) - before
    if not started:
        return Outcome("server_killed", "never started", "", 0, True)
    run = started.pop()
    ground.until_ended(run)
    now = ground.jobs.get(run)
    if now.state in RESUMABLE:
        ground.jobs.resume(run)
        ground.until_ended(run)
    same = ground.jobs.get(run).state == "finished" and whole.equals(ground.end(run))
    ground.jobs.delete(run)
    return Outcome("server_killed", now.state, now.reason, 0, same)


def disk_full(whole: End, dice: random.Random) -> Outcome:
    """The disk of the home is full but for some bytes; then there is room again."""
    with small_disk() as home:
        ground = Ground(home)
        run = ground.jobs.submit(ground.config)
        ground.until(run, lambda: ground.step(run) > SAVE_STEPS)
        filler = home / "filler"
        room = os.statvfs(home).f_bavail * os.statvfs(home).f_frsize
        with suppress(OSError):  # the run wrote something meanwhile: the disk is full
            filler.write_bytes(bytes(max(0, room - dice.choice([0, dice.randrange(1_000_000)]))))
        ground.until_ended(run)
        now, done = ground.jobs.get(run), ground.step(run)
        filler.unlink()
        ground.jobs.resume(run)
        ground.until_ended(run)
        same = ground.jobs.get(run).state == "finished" and whole.equals(ground.end(run))
        return Outcome("disk_full", now.state, now.reason, done - ground.begun_at(run), same)


def can_mount() -> bool:
    return sys.platform == "linux" and os.geteuid() == 0


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of 16 MB of its own; needs root on Linux."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def campaign(ground: Ground, whole: End, kind: str, times: int, dice: random.Random) -> Iterator[Outcome]:
    """So many faults of a kind, as they come in."""
    faults = {fault.__name__: fault for fault in KILLS}
    done = 0
    while done < times:
        if kind in faults:
            found = chain(ground, whole, faults[kind], min(CHAIN, times - done), dice)
        else:
            found = [
                server_killed(ground, whole, dice) if kind == "server_killed" else disk_full(whole, dice)
            ]
        done += len(found)
        yield from found


def table(outcomes: list[Outcome]) -> str:
    """What the faults came to, in Markdown."""
    lines = [
        "| fault | times | ended as | steps done again, at most | then the same losses and weights, bit for bit |",
        "|---|---|---|---|---|",
    ]
    for kind in dict.fromkeys(outcome.fault for outcome in outcomes):
        found = [outcome for outcome in outcomes if outcome.fault == kind]
        states = ", ".join(f"{n} {state}" for state, n in Counter(o.state for o in found).most_common())
        same = sum(outcome.same for outcome in found)
        most = max(outcome.lost for outcome in found)
        lines.append(
            f"| {kind.replace('_', ' ')} | {len(found)} | {states} | {most} | {same} of {len(found)} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", nargs="+", default=[*(fault.__name__ for fault in KILLS), "server_killed", "disk_full"]
    )
    parser.add_argument("--times", type=int, default=12, help="faults of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("faults.jsonl"))
    parser.add_argument("--table", type=Path, help="print the table of these results, and do nothing else")
    options = parser.parse_args()
    if options.table:
        print(table([Outcome(**json.loads(line)) for line in options.table.read_text().splitlines()]))
        return
    with tempfile.TemporaryDirectory() as folder, options.out.open("a", encoding="utf-8") as out:
        ground = Ground(Path(folder))
        whole = ground.undisturbed()
        for kind in options.only:
            for outcome in campaign(
                ground, whole, kind, options.times, random.Random(f"{options.seed} {kind}")
            ):
                print(f"{outcome.fault}: {outcome}", flush=True)
                out.write(json.dumps(asdict(outcome)) + "\n")
                out.flush()


if __name__ == "__main__":
    main()
