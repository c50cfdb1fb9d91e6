"""One run in a process of its own: python -m studio.services.worker RUN_DIR"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from studio.domain.config import RunConfig
from studio.domain.errors import Stopped, StudioError
from studio.domain.events import Event, Failed, FailureKind, Finished, Phase, Warned
from studio.domain.machine import Machine
from studio.domain.run import RunState
from studio.domain.text import Text
from studio.engine.encode import Encoder
from studio.engine.general import general_rows
from studio.engine.integrity import sha256
from studio.engine.machine import versions
from studio.engine.model_facts import facts
from studio.engine.model_files import read_config, weight_files
from studio.engine.out_of_memory import is_out_of_memory
from studio.engine.ranks import ALONE, AnotherFailed, PeerLost, Ranks
from studio.engine.samples import samples
from studio.engine.tokenizer import load_tokenizer
from studio.services import launch, process, queue, speeds
from studio.services.continual import refitted
from studio.services.files import is_disk_full, write_text
from studio.services.log import EventLog
from studio.services.other_logs import OtherLogs
from studio.services.plan import Prepared, prepare
from studio.services.redaction import guard_output
from studio.services.run_files import RunFiles, State
from studio.services.store import Store
from studio.services.trained import kept_templates, result_sums, weight_stamps

_POLL = 0.3
_RESERVE = 256 * 1024
"""Bytes: for the last words of a run on a full disk."""


class Log(Protocol):
    """Where events go."""

    def append(self, event: Event) -> None: ...


class _NoLog:
    """Of the processes beside the leader."""

    def append(self, event: Event) -> None:
        """What the leader says is enough."""


class Worker:
    """Owns a run's state and events from the moment it is started to its last word."""

    def __init__(self, folder: Path, ranks: Ranks = ALONE, machine: Machine | None = None) -> None:
        """`ranks`: the processes that train together; the leader writes. `machine`: another than the store's."""
        self.files = RunFiles(folder)
        self.store = Store(folder.parent.parent)
        self.ranks = ranks
        self.local_size = 1
        """How many of the processes share this machine."""
        self._machine = machine
        self.log: Log = EventLog(self.files.events) if ranks.leads else _NoLog()
        self.stop_signal = False
        self.begun = time.monotonic()
        self.others: OtherLogs | None = None

    def run(self) -> int:
        """Work until finished, stopped or failed; returns the exit status of contracts (0, 1 or 3)."""
        try:
            if self.ranks.leads:
                self.files.reserve.write_bytes(bytes(_RESERVE))
            with self._device():
                self.say("starting")
                return self._work()
        except Stopped:
            self.log.append(Finished(state="stopped", seconds=time.monotonic() - self.begun))
            self.say("stopped", Text("Stopped by request."), Text("Resume it whenever you like."))
            return 3
        except (PeerLost, AnotherFailed):
            raise
        except StudioError as error:
            return self._fail(error.text, error.remedy_text, _kind(error))
        except Exception as error:
            if is_out_of_memory(error):
                return self._fail(*_OUT_OF_MEMORY, "memory")
            if is_disk_full(error):
                return self._fail(*_DISK_FULL, "disk")
            reason = Text(
                "The run failed: {problem}.", {"problem": f"{type(error).__name__}: {error}".rstrip(".")}
            )
            return self._fail(
                reason, Text("The details are in the run's worker.log. What was saved can be resumed.")
            )
        finally:
            if self.others:
                self.others.close()
            if self.ranks.leads:
                self.files.reserve.unlink(missing_ok=True)

    @property
    def machine(self) -> Machine:
        """The one that it trains on."""
        return self._machine or self.store.machine()

    def say(self, state: RunState, reason: Text | None = None, remedy: Text | None = None) -> None:
        """Write the run's state."""
        pid = os.getpid()
        self.files.write_state(State(state, pid, process.start_time(pid), reason, remedy))

    def emit(self, event: Event) -> None:
        """Write an event; the first one of training turns `starting` into `running`."""
        self.log.append(event)
        if self.others:
            self.others.take(event)
        if event.type == "started" and self.files.state().state == "starting":
            self.say("running")

    def should_stop(self) -> bool:
        if not (self.stop_signal or self.files.stop_request.exists()):
            return False
        if self.files.state().state in ("starting", "running"):
            self.say("stopping")
        return True

    @contextmanager
    def _device(self) -> Iterator[None]:
        """Hold the device; until it is free, and this run is the first in line, it stays queued and can be stopped."""
        lock = FileLock(self.store.device_lock)
        waiting = False
        while not self._take(lock):
            if not waiting:
                self.log.append(Phase(name="queued"))
            waiting = True
            if self.should_stop():
                raise Stopped
            time.sleep(_POLL)
        try:
            yield
        finally:
            lock.release()

    def _take(self, lock: FileLock) -> bool:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        if queue.is_next(self.store, self.files):
            return True
        lock.release()
        return False

    def _work(self) -> int:
        """Train; returns the exit status."""
        metrics = self._train()
        if self.ranks.leads:
            env = self.files.env()
            self.files.write_env({**env, "sha256": {**env["sha256"], "result": result_sums(self.files)}})
        self.log.append(Finished(state="finished", metrics=metrics, seconds=time.monotonic() - self.begun))
        self.say("finished")
        return 0

    def _train(self) -> dict[str, float]:
        from studio.engine.train import TrainJob, train

        ranks = self.ranks
        # The leader decides what is open; the others read what it wrote.
        prepared, path = self._prepared() if ranks.leads else (None, None)
        ranks.hand_on(self.files.folder, [file.name for file in self.files.decided if file.is_file()])
        if prepared is None or path is None:
            prepared, path = self._prepared()
        config = prepared.config
        longest, context = config.train.max_length, facts(read_config(path), 0).context
        assert longest is not None  # a prepared configuration leaves nothing open
        if config.train.report_to and ranks.leads:
            self.others = OtherLogs(self.files, self.store.home, config, self.log.append)
        _use_cores(max(1, self.machine.cores // self.local_size))
        job = TrainJob(
            run=self.files.id,
            model_path=path,
            config=config.train,
            train=prepared.train.rows,
            held_out=prepared.held_out.rows[: config.evaluate.rows],
            folder=self.files.folder,
            device=self.machine.device,
            pad_id=load_tokenizer(path).pad_id,
            adapter=self.files.begun_with if self.files.begun_with.is_dir() else None,
            general=general_rows(config, prepared.encoder, self.files.train_rows(), longest),
            samples=samples(config.evaluate, prepared.encoder, self.files.held_out_rows(), context),
            ranks=ranks,
        )
        metrics = train(job, self.emit, self.should_stop)
        self._remember_speed(config, metrics)
        return metrics

    def _prepared(self) -> tuple[Prepared, Path]:
        """The rows encoded and the settings filled in, once and for all lives of the run; and where the model lies."""
        resolved = self.files.resolved_config()
        given = resolved or self.files.given_config()
        self.emit(Phase(name="loading"))
        path = self.store.locate(
            given.model.id,
            revision=given.model.revision,
            progress=self._download_progress(),
        )
        self.emit(Phase(name="encoding"))
        template, for_texts = kept_templates(self.files, given)  # where it goes on
        prepared = prepare(
            self.store,
            refitted(given, self.files),
            path,
            self.files.train_rows(),
            self.files.held_out_rows(),
            template,
            self.files.submitted_on(),
            for_texts,
        )
        if not self.ranks.leads:
            return prepared, path
        env = self._environment(path, prepared)
        if resolved:
            self._check_unchanged(env)
        else:
            self.files.write_env(env)
            self._keep_templates(prepared.encoder)
            self.files.write_resolved(prepared.config)
            self._report(prepared)
        return prepared, path

    def _keep_templates(self, encoder: Encoder) -> None:
        """For chats, exports, and for when the run goes on: what is shipped or resolved then may be another."""
        write_text(self.files.template, encoder.template.source)
        if any(row.plain for row in (*self.files.train_rows(), *self.files.held_out_rows())):
            write_text(self.files.text_template, encoder.texts.template.source)

    def _environment(self, path: Path, prepared: Prepared) -> dict[str, Any]:
        machine = self.machine
        return {
            "model_path": str(path),
            "base_files": weight_stamps(path),
            "versions": versions(),
            "hardware": {
                "device": machine.device,
                "name": machine.name,
                "cores": machine.cores,
                "memory": machine.memory_bytes,
            },
            "mixture": self.files.mixture(),
            "rows": dict(Counter(row.source or "data" for row in self.files.train_rows())),
            "sha256": {
                "train_rows": sha256(self.files.folder / "data" / "train.jsonl"),
                "held_out_rows": sha256(self.files.folder / "data" / "held_out.jsonl"),
                "encoded": prepared.train.sha256,
                "base_model": {file.name: sha256(file) for file in weight_files(path)},
                "template": hashlib.sha256(prepared.encoder.template.source.encode()).hexdigest(),
            },
        }

    def _check_unchanged(self, env: dict[str, Any]) -> None:
        """A run that goes on must go on with the same rows, tokens and weights."""
        before = self.files.env().get("sha256", {})
        for part in ("encoded", "base_model"):
            if before.get(part) != env["sha256"][part]:
                raise StudioError(
                    "The run cannot go on: its {part} changed since it began.",
                    "Put the model back as it was, or start a new run.",
                    part={"encoded": "encoded data", "base_model": "base model"}[part],
                )
        changed = {
            name: (old, env["versions"].get(name))
            for name, old in self.files.env().get("versions", {}).items()
            if env["versions"].get(name) != old
        }
        if changed:
            self.emit(
                Warned(
                    template="Versions changed since the run began: {changes}.",
                    remedy="The run goes on, but not to the last bit as it would have.",
                    values={
                        "changes": ", ".join(f"{name} {old} -> {new}" for name, (old, new) in changed.items())
                    },
                )
            )

    def _report(self, prepared: Prepared) -> None:
        for found in (*self.files.findings(), *prepared.findings):
            if found.severity != "info":
                self.emit(
                    Warned(
                        template=found.text.template,
                        remedy=found.remedy_text.template,
                        values=dict(found.text.values),
                        rows=list(found.rows),
                    )
                )

    def _download_progress(self) -> Callable[[str, float, float], None]:
        last = [0.0]

        def progress(_: str, done: float, total: float) -> None:
            if self.should_stop():
                raise Stopped
            if time.monotonic() - last[0] > 1:
                last[0] = time.monotonic()
                self.log.append(Phase(name="loading", done=done, total=total))

        return progress

    def _remember_speed(self, config: RunConfig, metrics: dict[str, float]) -> None:
        if self.ranks.size == 1 and metrics["train_seconds"] and metrics["steps"] >= 5:
            speeds.record(self.store.speeds_file, config, metrics["tokens"] / metrics["train_seconds"])

    def _fail(self, reason: Text, remedy: Text, kind: FailureKind = "") -> int:
        details = "".join(traceback.format_exc())
        self.files.reserve.unlink(missing_ok=True)
        with suppress(OSError):  # the disk may be full
            print(details, file=sys.stderr, flush=True)
        try:
            self.log.append(
                Failed(
                    kind=kind,
                    template=reason.template,
                    remedy=remedy.template,
                    values={**remedy.values, **reason.values},
                    traceback=details,
                )
            )
        finally:
            self.say("failed", reason, remedy)
        return 1


def _kind(error: StudioError) -> FailureKind:
    """Of a failure that the engine has explained."""
    from studio.engine.divergence import Diverged

    if isinstance(error, Diverged):
        return "diverged"
    cause = error.__cause__
    if cause and is_out_of_memory(cause):
        return "memory"
    return "disk" if isinstance(cause, Exception) and is_disk_full(cause) else ""


_OUT_OF_MEMORY = (
    Text("The machine ran out of memory."),
    Text(
        "Lower the maximum length or the micro-batch size, or switch on gradient checkpointing, and start a new run."
    ),
)


_DISK_FULL = (
    Text("The disk is full: the run could not write its files."),
    Text("Free some space (old runs and exports are the largest), then resume it from its last checkpoint."),
)


def _use_cores(cores: int) -> None:
    import torch

    torch.set_num_threads(cores)


def worker_of(folder: Path) -> Worker:
    """Who does the run: one process, or one that has it done by others."""
    from studio.services.conductor import Conductor

    found = launch.launcher(RunFiles(folder).config().launch)
    return Conductor(folder, found) if found else Worker(folder)


def main() -> int:
    """Run the folder named on the command line."""
    sys.stdin.read()  # until the starter has written this process down
    guard_output()
    worker = worker_of(Path(sys.argv[1]).resolve())

    def on_signal(_: int, __: object) -> None:
        worker.stop_signal = True

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return worker.run()


if __name__ == "__main__":
    sys.exit(main())
