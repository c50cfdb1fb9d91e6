"""Runs: written down, started, watched, stopped, resumed, deleted. The page and the command line both come here."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from studio.domain.chat import Conversation
from studio.domain.config import RunConfig
from studio.domain.errors import StudioError
from studio.domain.events import Event
from studio.domain.run import ALIVE, RESUMABLE, Run
from studio.domain.text import Text
from studio.engine import models
from studio.engine.dataset import TrainingData
from studio.services import launch, process, queue
from studio.services.continual import copy_adapter
from studio.services.files import read_json
from studio.services.history import recorded
from studio.services.log import tail
from studio.services.mixture import mixture_of
from studio.services.plan import load_data, plan
from studio.services.progress import Progress, Watch
from studio.services.run_files import RESUME_IT, RunFiles, State
from studio.services.store import Store

_GRACE = 10.0
"""Seconds between a run's being written and its process's being written down; within them it counts as queued."""
_READ = 4 << 20
"""Bytes of an event log at once."""


# Named here, because inside Jobs `list` is a method.
_Runs = list[Run]
_Events = list[Event]
_Rows = list[Conversation]
_Ids = list[str]


class Jobs:
    """Every run in a store. Holds nothing that the folders do not: another process sees the same."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._watch = Watch(lambda run_id, offset: tail(self._files(run_id).events, offset, _READ))
        self._lock = threading.RLock()

    def submit(self, config: RunConfig) -> str:
        """Write a run and start its worker; returns its id. StudioError as for `write`.

        Where a run of the same configuration and rows waits or works already, its id is returned and nothing is
        started: two browsers, or two clicks, do not train the same thing twice.
        """
        data = self._checked(config)
        with FileLock(self.store.jobs_lock):
            same = self._at_work(config, data)
            if same:
                return same
            files = self._written(config, data)
            self._start(files)
        return files.id

    def write(self, config: RunConfig) -> RunFiles:
        """A run's folder with all that its worker reads.

        Raises StudioError, and leaves nothing behind, where the data, a setting or the model cannot be used. Of a hub
        model that is still to be fetched, the worker finds out.
        """
        return self._written(config, self._checked(config))

    def resume(self, run_id: str) -> None:
        """Go on from the latest checkpoint."""
        files = self._files(run_id)
        with FileLock(self.store.jobs_lock), self._lock:
            state = self._reconciled(files).state
            if state not in RESUMABLE:
                raise StudioError(
                    "The run {run} is {state} and cannot be resumed.",
                    "Only stopped, interrupted and failed runs can.",
                    run=run_id,
                    state=state,
                )
            files.stop_request.unlink(missing_ok=True)
            files.write_place(None)
            files.write_state(State("queued"))
            self._start(files)

    def queue(self) -> _Ids:
        """The runs of this store that wait for the device, the next one first."""
        return [files.id for files in queue.waiting(self.store) if self._is_own(files)]

    def move(self, run_id: str, place: int) -> None:
        """Put a waiting run at a place in the queue, 1 the next."""
        self._files(run_id)  # StudioError where there is none
        with FileLock(self.store.jobs_lock):
            queue.move(self.store, run_id, place)

    def stop(self, run_id: str) -> None:
        """Ask a run to stop after its current step; it writes a checkpoint and can be resumed.

        One that waits for the device leaves the queue.
        """
        files = self._files(run_id)
        state = self._reconciled(files).state
        if state not in ALIVE:
            raise StudioError(
                "The run {run} is {state} and cannot be stopped.",
                "It is not working.",
                run=run_id,
                state=state,
            )
        files.stop_request.touch()

    def delete(self, run_id: str) -> None:
        """Remove a run with all its files; one that works is ended first."""
        files = self._files(run_id)
        # Killed, not asked to stop: what it would still save goes with the folder.
        state = self._reconciled(files)
        process.kill(state.pid, state.started)
        files.endpoint.end()
        for written in files.exports.glob("*/process.json"):
            export = read_json(written) or {}
            process.kill(export.get("pid"), export.get("started"))
        self.store.delete_run(run_id)
        self._watch.forget(run_id)

    def at_rest(self, run_id: str) -> Run:
        """The run, whose files nobody changes. StudioError where it is still at work."""
        run = self.get(run_id)
        if run.state in ALIVE:
            raise StudioError(
                "The run {run} is still {state}.",
                "Stop it, or wait until it has finished.",
                run=run.name,
                state=run.state,
            )
        return run

    def get(self, run_id: str) -> Run:
        """A run as it is now."""
        run = self._describe(self._files(run_id))
        return self._placed(run, queue.waiting(self.store)) if run.state == "queued" else run

    def list(self) -> _Runs:
        """Every run, the newest first."""
        found = []
        for run_id in self.store.run_ids():
            try:
                found.append(self._describe(self._files(run_id)))
            except StudioError as error:
                found.append(Run(run_id, run_id, "failed", reason=error.message, remedy=error.remedy))
        order = queue.waiting(self.store) if any(run.state == "queued" for run in found) else []
        return [self._placed(run, order) for run in found]

    def events(self, run_id: str, offset: int = 0) -> tuple[_Events, int]:
        """The events from byte `offset` on, and the offset to ask from next time."""
        return tail(self._files(run_id).events, offset)

    def progress(self, run_id: str) -> Progress:
        """What the events of a run come to so far; each of them is read once for all who ask."""
        return self._watch.progress(run_id)

    def watch(self, run_id: str, offset: int = 0, every: float = 0.2) -> Iterator[Event]:
        """Events as they come, until the run is no longer at work."""
        while True:
            alive = self.get(run_id).state in ALIVE
            events, offset = self.events(run_id, offset)
            yield from events
            if not alive:
                return
            time.sleep(every)

    def files(self, run_id: str) -> RunFiles:
        """The folder of an existing run."""
        return self._files(run_id)

    def config(self, run_id: str) -> RunConfig:
        """What a run works with: every open setting filled in once its worker has begun."""
        return self._files(run_id).config()

    def held_out(self, run_id: str) -> _Rows:
        """The rows that the run never trains on."""
        return self._files(run_id).held_out_rows()

    def reconcile(self) -> _Ids:
        """Mark runs whose process is gone as interrupted; returns their ids."""
        gone = []
        for run_id in self.store.run_ids():
            files = RunFiles(self.store.run_dir(run_id))
            before = files.state().state
            if self._reconciled(files).state != before:
                gone.append(run_id)
        return gone

    # Inside

    def _checked(self, config: RunConfig) -> TrainingData:
        """The rows of a run that can be started."""
        self.store.check_reach(config)
        data = load_data(self.store, config)
        if not models.must_be_fetched(config.model.id, self.store.models_dir, config.model.revision):
            launch.check(plan(self.store, config).config, self.store.machine())
        return data

    def _written(self, config: RunConfig, data: TrainingData) -> RunFiles:
        name = config.name or Path(config.data.path).stem
        files = RunFiles(self.store.new_run_dir(name))
        try:
            files.write_data(data.train, data.held_out)
            files.write_findings(data.findings)
            files.write_mixture(mixture_of(config, data.train))
            files.write_history(recorded(self.store, config.data.path))
            copy_adapter(self.store, config, files)
            files.write_state(State("queued"))
            files.write_run(config, name)
        except BaseException:
            shutil.rmtree(files.folder, ignore_errors=True)  # without run.json it would be seen by nobody
            raise
        return files

    def _at_work(self, config: RunConfig, data: TrainingData) -> str | None:
        """The run of this configuration and rows that waits or works; one that is told to stop does not count."""
        for run_id in self.store.run_ids():
            files = self._files(run_id)
            if self._reconciled(files).state not in ALIVE or files.stop_request.exists():
                continue
            with suppress(StudioError):  # a damaged folder is no run to compare with
                if files.is_of(config, data.train, data.held_out):
                    return run_id
        return None

    def _files(self, run_id: str) -> RunFiles:
        return RunFiles(self.store.run_dir(run_id))

    def _start(self, files: RunFiles) -> None:
        process.start_detached(
            ["studio.services.worker", str(files.folder)],
            files.worker_log,
            lambda pid, started: files.write_state(State("queued", pid, started)),
        )

    def _reconciled(self, files: RunFiles) -> State:
        """The state on disk, corrected where it says that a process is at work which is not."""
        with self._lock:
            state = files.state()
            if (
                state.state not in ALIVE
                or process.is_alive(state.pid, state.started)
                or _just_written(files, state)
            ):
                return state
            again = files.state()
            if again != state:
                return again  # the worker said its last word while we looked
            state = State(
                "interrupted",
                reason=Text(
                    "The run's process ended without a word (killed, out of memory, or the machine was switched off)."
                ),
                remedy=RESUME_IT,
            )
            files.write_state(state)
            return state

    def _describe(self, files: RunFiles) -> Run:
        run, state, config = files.run(), self._reconciled(files), files.config()
        seen = self.progress(files.id)
        return Run(
            id=files.id,
            name=run["name"],
            state=state.state,
            reason=str(state.reason) if state.reason else "",
            remedy=str(state.remedy) if state.remedy else "",
            pid=state.pid if state.state in ALIVE else None,
            created=run["created"],
            step=seen.step,
            steps=seen.steps,
            model=config.model.id,
            method=config.train.method,
            data=Path(config.data.path).name,
            metrics=seen.metrics,
            seconds_left=seen.seconds_left if state.state == "running" else None,
        )

    def _placed(self, run: Run, order: Sequence[RunFiles]) -> Run:
        """With its place among all that wait, whoever's they are."""
        for place, files in enumerate(order, 1):
            if files.id == run.id and self._is_own(files):
                return replace(run, place=place, waiting=len(order))
        return run

    def _is_own(self, files: RunFiles) -> bool:
        return files.folder.parent == self.store.runs_dir


def _just_written(files: RunFiles, state: State) -> bool:
    """Between the writing of a run and of its process's number there is a moment in which it has none."""
    if state.state != "queued" or state.pid is not None:
        return False
    return time.time() - (files.folder / "state.json").stat().st_mtime < _GRACE


def submitted(store: Store, config: RunConfig) -> str:
    """`Jobs.submit`, as a function for another process."""
    return Jobs(store).submit(config)
