"""One of the processes that train a run together: torchrun … -m studio.services.member RUN_DIR"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from studio.domain.errors import StudioError
from studio.domain.events import FailureKind, Warned
from studio.domain.machine import Machine
from studio.domain.run import ALIVE, RunState
from studio.domain.text import Text
from studio.engine.ranks import AnotherFailed, PeerLost, Ranks
from studio.services import process
from studio.services.files import read_json, write_json
from studio.services.run_files import RunFiles, State
from studio.services.worker import Worker

DONE, LOST = 0, 1
"""Exit status: nothing is left to do, or all have to begin again from the last checkpoint."""
_PATIENCE = timedelta(hours=6)
"""The others wait so long while the leader measures, writes or answers alone."""
_WORD = 3.0
"""Seconds in which a process that failed says why."""


class Member(Worker):
    """A worker among several. The leader writes and speaks; the run's owner started them and holds the device."""

    def __init__(
        self,
        folder: Path,
        ranks: Ranks,
        local_size: int,
        *,
        restarted: int = 0,
        machine: Machine | None = None,
    ) -> None:
        """`local_size`: how many of them share this machine. `restarted`: how often all began again before."""
        super().__init__(folder, ranks, machine)
        self.local_size = local_size
        self.restarted = restarted
        self._word = folder / "last-word.json"

    def run(self) -> int:
        """Work until nothing is left to do; returns DONE or LOST."""
        try:
            super().run()
        except (PeerLost, AnotherFailed) as problem:
            return self._after_loss(problem)
        return DONE

    def say(self, state: RunState, reason: Text | None = None, remedy: Text | None = None) -> None:
        """Write the run's state; the process that is written down there stays its owner."""
        if (
            self.ranks.leads and state != "starting"
        ):  # its owner has said so, and begun again it stays running
            before = self.files.state()
            if before.state != state:
                self.files.write_state(State(state, before.pid, before.started, reason, remedy))

    def _train(self) -> dict[str, float]:
        check_gpus(self.ranks, self.local_size)
        return super()._train()

    @contextmanager
    def _device(self) -> Iterator[None]:
        if self.ranks.leads:
            self._word.unlink(missing_ok=True)
            if self.restarted:
                self.emit(
                    Warned(
                        template="A process of the run was lost: all began again, for the {times}. time, from the last "
                        "whole checkpoint.",
                        remedy="Nothing to do: the steps since then are done again.",
                        values={"times": self.restarted},
                    )
                )
        yield

    def _fail(self, reason: Text, remedy: Text, kind: FailureKind = "") -> int:
        if self.ranks.leads:
            return super()._fail(reason, remedy, kind)
        details = traceback.format_exc()
        print(details, file=sys.stderr, flush=True)
        word = {"reason": reason.to_json(), "remedy": remedy.to_json(), "kind": kind}
        write_json(self._word, word)
        return DONE

    def _after_loss(self, problem: Exception) -> int:
        """Another process is gone: by its own word the run has failed, and without one all begin again."""
        deadline = time.monotonic() + _WORD
        while time.monotonic() < deadline:
            word = read_json(self._word)
            if word and self.ranks.leads:
                super()._fail(Text.from_json(word["reason"]), Text.from_json(word["remedy"]), word["kind"])
                return DONE
            if word or self.files.state().state not in ALIVE:
                return DONE
            time.sleep(0.1)
        print(f"process {self.ranks.rank} lost another: {problem}", file=sys.stderr, flush=True)
        return LOST


def joined(rank: int, size: int, local_rank: int, *, sharded: bool, meet: Path | None = None) -> Ranks:
    """This process as one of a group, which meets at a file of this name where it has not met yet. Waits for all."""
    import torch
    from torch import distributed

    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
    if not distributed.is_initialized():
        distributed.init_process_group(
            "nccl" if cuda else "gloo",
            init_method=f"file://{meet}",
            rank=rank,
            world_size=size,
            timeout=_PATIENCE,
        )
    return Ranks(rank, size, "cuda" if cuda else "cpu", sharded)


def check_gpus(ranks: Ranks, local_size: int) -> None:
    """Raises StudioError where two processes would share a GPU."""
    import torch

    found = torch.cuda.device_count() if ranks.device == "cuda" else local_size
    if found < local_size:
        raise StudioError(
            "This machine has {gpus} GPUs for {processes} processes.",
            "Set launch.processes to {gpus}.",
            gpus=found,
            processes=local_size,
        )


def _end_with(owner: State) -> None:
    """A process of a run whose owner was killed would train on unseen, beside the run once it goes on."""

    def watch() -> None:
        while process.is_alive(owner.pid, owner.started):
            time.sleep(1)
        os._exit(DONE)

    threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    """Train the run named on the command line, as the process that torchrun says this is."""
    folder = Path(sys.argv[1]).resolve()
    files = RunFiles(folder)
    owner = files.state()
    if owner.state not in ALIVE or not process.is_alive(owner.pid, owner.started):
        return DONE  # started again after the last word
    _end_with(owner)
    env = {name: int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")}
    strategy = files.config().launch.strategy
    restarted = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    # Not over the agent's store: after a restart, processes found addresses there of those that were gone.
    # The file stays as long as they work: the last to come reads it when the first has long gone on, and what groups
    # are made later meet there too.
    files.meetings.mkdir(exist_ok=True)
    meet = files.meetings / f"{os.environ['TORCHELASTIC_RUN_ID']}-{restarted}"
    ranks = joined(env["RANK"], env["WORLD_SIZE"], env["LOCAL_RANK"], sharded=strategy == "fsdp", meet=meet)
    return Member(folder, ranks, env["LOCAL_WORLD_SIZE"], restarted=restarted).run()


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # a process group whose peers are gone may wait for them on the way out
