"""What runs on a Ray cluster: python -m studio.services.ray_job RUN PLACE, where PLACE is its folder or storage."""

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from studio.domain.machine import Machine
from studio.services import probe
from studio.services.exchange import Exchange
from studio.services.member import LOST, Member, joined
from studio.services.run_files import RunFiles
from studio.services.store import Store

_EVERY = 1.0
"""Seconds after which what was written is sent."""


def work(job: dict[str, str]) -> None:
    """One process of the run. Raises RuntimeError where another was lost: Ray then starts all of them again."""
    from ray.train import get_context

    context = get_context()
    rank, size = context.get_world_rank(), context.get_world_size()
    exchange = None
    if job["place"].startswith("s3://"):
        home = Path(tempfile.gettempdir()) / f"studio-{job['run']}" / f"process-{rank}"
        folder = home / "runs" / job["run"]
        folder.mkdir(parents=True, exist_ok=True)
        exchange = Exchange(job["place"], folder)
        exchange.fetch_new()
        exchange.fetch_model(home, Path(RunFiles(folder).config().model.id).name)
    else:
        folder = Path(job["place"])
    sharded = RunFiles(folder).config().launch.strategy == "fsdp"
    ranks = joined(rank, size, context.get_local_rank(), sharded=sharded)
    member = Member(
        folder,
        ranks,
        context.get_local_world_size(),
        restarted=_times_before(folder) if ranks.leads else 0,
        machine=_machine(folder),
    )
    with _Sending(exchange if ranks.leads else None, folder):
        status = member.run()
    if status == LOST:
        raise RuntimeError("another process of the run was lost")


def _times_before(folder: Path) -> int:
    """How often this job's processes began before; this time is written down."""
    file = folder / "attempts"
    before = len(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else 0
    with file.open("a", encoding="utf-8") as written:
        written.write("begun\n")
    return before


def _machine(folder: Path) -> Machine:
    """This one, which need not be like the one that the studio runs on."""
    file = Store(folder.parent.parent).machine_file
    if probe.is_known(file):
        return probe.cached(file)
    from studio.engine.machine import probe as probed

    return probed()


class _Sending:
    """Sends what the leader writes while it works, and hears whether the run is to stop."""

    def __init__(self, exchange: Exchange | None, folder: Path) -> None:
        self._exchange = exchange
        self._folder = folder
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> None:
        if self._exchange:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        if self._exchange:
            self._ended.set()
            self._thread.join()
            self._exchange.send_new()

    def _send(self) -> None:
        assert self._exchange is not None
        while not self._ended.wait(_EVERY):
            try:
                self._exchange.send_new()
                if self._exchange.asks_to_stop():
                    (self._folder / "stop").touch()
            except OSError as problem:  # the next time, or at the end
                print(f"storage: {problem}", file=sys.stderr, flush=True)


def main() -> None:
    """Have Ray Train start the run's processes, and again whenever one or its machine is lost."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    run, place = sys.argv[1:]
    ray.init(log_to_driver=True)
    launch = _launch(run, place)
    gpus = ray.cluster_resources().get("GPU", 0) >= launch.processes
    trainer: Any = TorchTrainer(
        work,
        train_loop_config={"run": run, "place": place},
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo", timeout_s=6 * 3600),
        scaling_config=ScalingConfig(num_workers=launch.processes, use_gpu=gpus, placement_strategy="SPREAD"),
        run_config=RunConfig(
            name=run,
            # What the studio keeps of a run it writes itself; Ray keeps no more than its own notes.
            storage_path=str(Path(tempfile.gettempdir()) / "studio-ray"),
            failure_config=FailureConfig(max_failures=launch.restarts),
        ),
    )
    trainer.fit()


def _launch(run: str, place: str) -> Any:
    if not place.startswith("s3://"):
        return RunFiles(Path(place)).config().launch
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / run
        Exchange(place, folder).fetch_new()
        return RunFiles(folder).config().launch


if __name__ == "__main__":
    main()
