"""Processes of our own: started so that they outlive the page, told apart from later ones with the same pid."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

_DETACHED = (
    0x00000008 | 0x00000200
)  # DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP, which exist on Windows only


def start_detached(
    arguments: Sequence[str],
    log: Path,
    written_down: Callable[[int, float | None], None],
    *,
    keeps_memory: bool = True,
    secret: str = "",
) -> int:
    """Start `python -m …` in a session of its own, its output appended to `log`; returns its pid.

    It waits for the end of its standard input before it works: until then `written_down(pid, start time)` can record
    that it exists. `keeps_memory`: as `environment` says. `secret` is what it reads there: others could see an argument
    or the environment of a process, and a file would stay.
    """
    # A pipe that nobody drains would freeze it (LLaMA-Factory #8485): its output goes to a file.
    with log.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(keeps_memory),
            start_new_session=sys.platform != "win32",
            creationflags=_DETACHED if sys.platform == "win32" else 0,
        )
    assert child.stdin is not None
    try:
        written_down(child.pid, start_time(child.pid))
        with contextlib.suppress(BrokenPipeError):  # it ended at once: whoever looks at it will see
            child.stdin.write(secret.encode())
            child.stdin.flush()
    finally:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        # Collects it when it ends, so that no zombie stays; it lives on when this process ends first.
        threading.Thread(target=child.wait, daemon=True).start()
    return child.pid


def environment(keeps_memory: bool) -> dict[str, str]:
    """For a process that computes: its idle threads sleep soon, so that it shares the cores with the page.

    They wait some tens of microseconds first, as long as most gaps between two operations are: sleeping at once costs a
    tenth of the speed, and waiting as long as is usual makes a training many times slower while something else wants a
    core. Of the kernels that matrix products are made anew for at each size only the latest are kept: by default
    thousands are, some 0.3 MB each, strewn over the heap between the large tensors. With `keeps_memory` what it frees
    stays with it, which spares page faults. docs/benchmarks.md has what each brings.
    """
    memory = {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": "17179869184",
        "MALLOC_TOP_PAD_": "1073741824",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    }
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "3000",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256",
        "LRU_CACHE_CAPACITY": "256",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **(memory if keeps_memory else {}),
    }


def give_way(nice: int = 10) -> None:
    """Let whoever clicks on the page go before this process and all that it starts.

    Linux shares the cores among sessions first, so that niceness counts only between processes of one (sched(7), "The
    autogroup feature"): a process that has a session of its own makes that as nice.
    """
    if not hasattr(os, "nice"):
        return
    os.nice(nice)
    if sys.platform == "linux" and os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # a kernel without them
            Path("/proc/self/autogroup").write_text(str(nice), encoding="ascii")


def start_time(pid: int) -> float | None:
    """When the process started, or None where there is none (a zombie is none).

    On Linux in seconds since the machine was switched on: time of day would change with the clock, and with it a run
    that works would seem to be gone.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return _ticks(pid) if sys.platform == "linux" else process.create_time()
    except (psutil.Error, OSError):
        return None


def _ticks(pid: int) -> float:
    """Field 22 of /proc/<pid>/stat; the name before it may hold spaces and brackets."""
    fields = (
        Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    )
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def is_alive(pid: int | None, started: float | None) -> bool:
    """Whether the process that was written down is still there."""
    if pid is None or started is None:
        return False
    found = start_time(pid)
    return found is not None and abs(found - started) < 1.0


def kill(pid: int | None, started: float | None) -> None:
    """End the process that was written down, and all it started; nothing where it is gone already."""
    if pid is None or not is_alive(pid, started):
        return
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=5)
