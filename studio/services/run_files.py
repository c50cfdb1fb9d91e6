"""The files of one run's folder: what is written in it, and how it is read back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from studio.domain.chat import Conversation
from studio.domain.config import RunConfig, parse_config
from studio.domain.errors import StudioError
from studio.domain.finding import Finding
from studio.domain.run import RunState, may_follow
from studio.domain.text import Text
from studio.services.endpoint_files import EndpointFiles
from studio.services.files import now, read_json, write_json, write_text

SCHEMA = 1
RESUME_IT = Text("Resume it: it goes on from its last checkpoint.")


@dataclass(frozen=True)
class State:
    """What state.json holds. `started` is when the process began, which tells it from a later one with its pid."""

    state: RunState
    pid: int | None = None
    started: float | None = None
    reason: Text | None = None
    remedy: Text | None = None
    updated: str = ""


@dataclass(frozen=True)
class RunFiles:
    """One run on disk; see docs/architecture.md, 'A run on disk'."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def worker_log(self) -> Path:
        return self.folder / "worker.log"

    @property
    def meetings(self) -> Path:
        """Files over which the processes of a group find each other, for as long as they work."""
        return self.folder / ".meeting"

    @property
    def stop_request(self) -> Path:
        """Its existence asks the worker to stop after the current step."""
        return self.folder / "stop"

    @property
    def template(self) -> Path:
        return self.folder / "template.jinja"

    @property
    def text_template(self) -> Path:
        """By which rows that are plain texts were written, where the run has such."""
        return self.folder / "template-for-texts.jinja"

    @property
    def decided(self) -> list[Path]:
        """What is written once a run begins, and read by all of its processes and lives."""
        names = ("resolved.json", "env.json")
        return [*(self.folder / name for name in names), self.template, self.text_template]

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter"

    @property
    def begun_with(self) -> Path:
        """The copy of the adapter that a continual run begins with."""
        return self.folder / "begun_with"

    @property
    def model(self) -> Path:
        """The whole model, after full tuning."""
        return self.folder / "model"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def exports(self) -> Path:
        return self.folder / "exports"

    @property
    def endpoint(self) -> EndpointFiles:
        return EndpointFiles(self.folder / "endpoint")

    @property
    def evaluations(self) -> Path:
        return self.folder / "evaluations"

    @property
    def ratings(self) -> Path:
        return self.folder / "ratings"

    @property
    def benchmarks(self) -> Path:
        return self.folder / "benchmarks"

    @property
    def reserve(self) -> Path:
        """Some room on the disk, given back where it is full, so that the worker can say so."""
        return self.folder / ".reserve"

    def has_result(self) -> bool:
        return self.adapter.is_dir() or self.model.is_dir()

    # run.json: as given, never changed

    def write_run(self, config: RunConfig, name: str) -> None:
        """Last of the files written before a run starts: a folder without it is no run."""
        write_json(
            self.folder / "run.json",
            {
                "schema": SCHEMA,
                "id": self.id,
                "name": name,
                "created": now(),
                "config": config.model_dump(mode="json"),
            },
        )

    def run(self) -> dict[str, Any]:
        data = read_json(self.folder / "run.json")
        if data is None:
            raise StudioError("There is no run {run}.", "`studio runs` lists them.", run=self.id)
        if data.get("schema") != SCHEMA:
            raise StudioError(
                "The run {run} was written by another version of the studio.",
                "Update the studio to open it.",
                run=self.id,
            )
        return data

    def submitted_on(self) -> date:
        """The day on which the run was written, where this machine is."""
        created: str = self.run()["created"]
        return datetime.fromisoformat(created.replace("Z", "+00:00")).astimezone().date()

    def given_config(self) -> RunConfig:
        return parse_config(self.run()["config"], source="run.json")

    def is_of(
        self, config: RunConfig, train: Sequence[Conversation], held_out: Sequence[Conversation]
    ) -> bool:
        """Whether the run was started with this configuration and these rows: it would end the same."""
        return (
            config == self.given_config()
            and [*train] == self.train_rows()
            and [*held_out] == self.held_out_rows()
        )

    # resolved.json: every open setting filled in, by the worker

    def write_resolved(self, config: RunConfig) -> None:
        write_json(self.folder / "resolved.json", config.model_dump(mode="json"))

    def resolved_config(self) -> RunConfig | None:
        data = read_json(self.folder / "resolved.json")
        return parse_config(data, source="resolved.json") if data else None

    def config(self) -> RunConfig:
        """The resolved configuration, or the given one as long as the worker has not filled it in."""
        return self.resolved_config() or self.given_config()

    # env.json

    def write_env(self, env: dict[str, Any]) -> None:
        write_json(self.folder / "env.json", env)

    def env(self) -> dict[str, Any]:
        return read_json(self.folder / "env.json") or {}

    # data/: the rows as they were when the run was made

    def write_data(self, train: Iterable[Conversation], held_out: Iterable[Conversation]) -> None:
        folder = self.folder / "data"
        folder.mkdir(exist_ok=True)
        for name, rows in (("train", train), ("held_out", held_out)):
            lines = (json.dumps(_record(row), ensure_ascii=False) for row in rows)
            write_text(folder / f"{name}.jsonl", "".join(line + "\n" for line in lines))

    def write_mixture(self, mixture: Mapping[str, Any]) -> None:
        """Where the general rows among those in data/ were drawn from, and how; {} where there are none."""
        write_json(self.folder / "data" / "mixture.json", mixture)

    def mixture(self) -> dict[str, Any]:
        return read_json(self.folder / "data" / "mixture.json") or {}

    def write_history(self, history: Mapping[str, Any]) -> None:
        """The steps that the rows in data/ went through before; {} where there were none."""
        write_json(self.folder / "data" / "history.json", history)

    def history(self) -> dict[str, Any]:
        return read_json(self.folder / "data" / "history.json") or {}

    def write_findings(self, findings: Iterable[Finding]) -> None:
        """What was found in reading the files: rows that are not among those in data/."""
        write_json(
            self.folder / "data" / "findings.json", {"findings": [found.to_record() for found in findings]}
        )

    def findings(self) -> list[Finding]:
        data = read_json(self.folder / "data" / "findings.json") or {"findings": []}
        return [Finding.from_record(record) for record in data["findings"]]

    def train_rows(self) -> list[Conversation]:
        return self._rows("train")

    def held_out_rows(self) -> list[Conversation]:
        return self._rows("held_out")

    def first_row(self) -> Conversation | None:
        """A row that was kept from training, or else one that was not; the others are not read."""
        for name in ("held_out", "train"):
            file = self.folder / "data" / f"{name}.jsonl"
            if file.is_file():
                with file.open(encoding="utf-8") as lines:
                    line = lines.readline()
                if line:
                    return _row(json.loads(line))
        return None

    def _rows(self, name: str) -> list[Conversation]:
        file = self.folder / "data" / f"{name}.jsonl"
        if not file.is_file():
            return []
        with file.open(encoding="utf-8") as lines:
            return [_row(json.loads(line)) for line in lines]

    # state.json: replaced as a whole

    def state(self) -> State:
        try:
            data = read_json(self.folder / "state.json")
        except StudioError as damaged:
            return State("interrupted", reason=damaged.text, remedy=RESUME_IT)
        if data is None:
            return State("interrupted", reason=Text("The run never started."))
        return State(
            state=data["state"],
            pid=data.get("pid"),
            started=data.get("started"),
            reason=Text.from_json(data["reason_text"]) if data.get("reason_text") else None,
            remedy=Text.from_json(data["remedy_text"]) if data.get("remedy_text") else None,
            updated=data.get("updated", ""),
        )

    def write_state(self, state: State) -> None:
        """Refuses, as a bug of ours, a state that may not follow the one before."""
        if (self.folder / "state.json").is_file():
            before = self.state().state
            assert may_follow(before, state.state), f"{before} -> {state.state}"
        write_json(
            self.folder / "state.json",
            {
                "state": state.state,
                "pid": state.pid,
                "started": state.started,
                "reason": str(state.reason) if state.reason else "",
                "remedy": str(state.remedy) if state.remedy else "",
                "reason_text": state.reason.to_json() if state.reason else None,
                "remedy_text": state.remedy.to_json() if state.remedy else None,
                "updated": now(),
            },
        )

    # place: the time as of which it waits, where it was moved in the queue

    def place(self) -> float | None:
        try:
            return float((self.folder / "place").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def write_place(self, seconds: float | None) -> None:
        """None: it waits since it was queued."""
        if seconds is None:
            (self.folder / "place").unlink(missing_ok=True)
        else:
            write_text(self.folder / "place", repr(seconds))


def _row(record: dict[str, Any]) -> Conversation:
    return Conversation.from_json(record, record["row"], record.get("source", ""))


def _record(row: Conversation) -> dict[str, Any]:
    source = {"source": row.source} if row.source else {}
    return {"row": row.row, **source, **row.to_json()}
