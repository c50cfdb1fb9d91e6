"""What this machine can do, found in a process of its own: python -m studio.services.probe"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import psutil

from studio.domain.errors import StudioError
from studio.domain.machine import Machine
from studio.services.files import read_json, write_json

_ONE_AT_A_TIME = threading.Lock()
_SECONDS = 600
"""Some ten are usual; while other programs are at work, minutes."""


def cached(file: Path) -> Machine:
    """The machine as kept in `file`, probed anew where there is nothing or the hardware or torch changed since."""
    with _ONE_AT_A_TIME:
        kept = read_json(file)
        key = _key()
        if not kept or kept.get("key") != key:
            kept = {"key": key, "machine": _ask()}
            write_json(file, kept)
    machine = Machine.from_json(kept["machine"])
    if machine.device == "cuda":
        return machine
    return replace(machine, free_bytes=psutil.virtual_memory().available)


def renewed(file: Path) -> Machine:
    """The machine probed anew, whatever is kept in `file`."""
    file.unlink(missing_ok=True)
    return cached(file)


def is_known(file: Path) -> bool:
    """Whether `cached` would answer at once."""
    kept = read_json(file)
    return bool(kept) and kept.get("key") == _key()  # type: ignore[union-attr]


def _key() -> str:
    """Changes when the answer may: another torch, more memory, a GPU that was not there before."""
    torch = importlib.metadata.version("torch")
    return f"{torch} {psutil.virtual_memory().total} {os.cpu_count()} {os.path.exists('/dev/nvidia0')}"


def _ask() -> dict[str, object]:
    command = [sys.executable, "-m", "studio.services.probe"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise StudioError(
            "Looking at the machine took longer than {seconds} seconds.",
            "Try again when other programs have ended.",
            seconds=_SECONDS,
        ) from None
    if done.returncode != 0:
        raise StudioError(
            "The machine could not be looked at: {problem}.",
            "Run `studio doctor` in a terminal to see all of it; `make install` repairs a broken installation.",
            problem=(done.stderr.strip().splitlines() or ["no output"])[-1],
        )
    answer: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def main() -> None:
    """Print the probed machine as one line of JSON."""
    if hasattr(os, "nice"):
        os.nice(5)  # it starts with the page, and a first upload does not wait for it
    from studio.engine.machine import probe

    json.dump(probe().to_json(), sys.stdout)


if __name__ == "__main__":
    main()
