"""Talking with a run's models, and measuring rows with them, in a process of their own.

Ending that process frees the models' memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from studio.domain.answer import SIDES, Answer, ChatSettings, Piece, Side
from studio.domain.chat import Message
from studio.domain.encoded import Encoded
from studio.domain.errors import StudioError
from studio.engine.choices import Choice
from studio.services import failures, queue
from studio.services.losses import KeptLosses, Measured, TokenLosses, key_of
from studio.services.process import environment
from studio.services.store import Store
from studio.services.subject import Subject, beside_run, check_number, subject_of

__all__ = ["Answer", "ChatProcess", "ChatSettings", "Explained", "Measured", "Piece", "TokenLosses"]

IDLE_MINUTES = 10.0
"""After so long without a question the model is unloaded."""
_GLANCE = 3.0
"""Seconds from look to look at whether a run has begun meanwhile, which needs the memory more than an idle model."""
_LOOK = 0.2
"""Seconds from look to look at whether who waits still wants an answer."""

Messages = Sequence[Message] | Mapping[Side, Sequence[Message]]
"""The conversation so far: one for all sides, or one a side, as their answers differ from the second turn on."""


Progress = Callable[[str, float, float], None]
Said = dict[str, Any]
"""What is said of a question until it is done, as JSON: a Piece of a chat's answer, Measured for a row's losses."""


@dataclass(frozen=True)
class Explained:
    """How far an explanation is; the last one has the choices, one a token."""

    phase: Literal["", "waiting", "loading"] = ""
    share: float = 0.0
    """Of the loading (`domain/loading.py`)."""
    choices: tuple[Choice, ...] = ()


class _Seat:
    """The one loaded model, and who waits for it."""

    def __init__(self, store: Store, idle_seconds: float) -> None:
        self.store = store
        self.idle_seconds = idle_seconds
        # Held for the length of an answer, which may pass from thread to thread.
        self.busy = threading.Lock()
        self.open: set[str] = set()
        self.answering = ""
        self.child: _Child | None = None
        self.timer: threading.Timer | None = None
        self.rests_until = 0.0
        self.trained_beside: str | None = None
        """The run that had the device when the last answer was over: a chat beside it is wanted."""
        self.losses = KeptLosses()


class ChatProcess:
    """One loaded model at most, for all who ask; they are answered one after the other."""

    def __init__(self, store: Store, idle_minutes: float = IDLE_MINUTES) -> None:
        self.store = store
        self._seat = _Seat(store, idle_minutes * 60)

    def for_store(self, store: Store) -> ChatProcess:
        """The same model and the same queue for whose runs are in another store."""
        other = ChatProcess(store)
        other._seat = self._seat
        return other

    def answer(
        self,
        run_id: str,
        messages: Messages,
        settings: ChatSettings | None = None,
        sides: Sequence[Side] = SIDES,
        *,
        beside: Sequence[str] = (),
        token: str = "",
    ) -> Iterator[Piece]:
        """The answers of all sides as they come; pieces without a side say what is waited for.

        `beside` names other runs and checkpoints (`RUN` or `RUN@STEP`) that answer too, in the same pass. Closing the
        iterator ends the answer, and so does `stop` with its token.
        """
        # What is wrong with a run is said before anyone waits.
        subject = beside_run(self.store, run_id, beside)
        every = (*sides, *subject.beside)
        asked = messages if isinstance(messages, Mapping) else dict.fromkeys(every, messages)
        check_number([*asked])
        question = {
            "messages": {side: [message.to_json() for message in turns] for side, turns in asked.items()},
            "settings": asdict(settings or ChatSettings()),
        }
        with closing(self._asked(subject, question, token)) as heard:
            for said in heard:
                yield Piece(**said)

    def explain(
        self,
        run_id: str,
        side: Side,
        messages: Sequence[Message],
        answer: Sequence[int],
        *,
        beside: Sequence[str] = (),
        token: str = "",
    ) -> Iterator[Explained]:
        """How likely each token of an answer of a side's was, given as ids; the last one has it."""
        question = {
            "explain": side,
            "messages": {side: [message.to_json() for message in messages]},
            "answer": [*answer],
        }
        with closing(self._asked(beside_run(self.store, run_id, beside), question, token)) as heard:
            for said in heard:
                chosen = tuple(map(Choice.from_json, said.get("choices", ())))
                yield Explained(said.get("phase", ""), said.get("share", 0.0), chosen)

    def measure(
        self,
        run_id: str | None,
        model_id: str | None,
        revision: str | None,
        encoded: Encoded,
        *,
        token: str = "",
    ) -> Iterator[Measured]:
        """How far the losses of a row's trained tokens are; the last one has them, one entry a token.

        With a run under its base and its tuned model; without one under the base model alone, which must be on this
        machine. Rows that were measured before are not measured again. Closing the iterator gives up, and so does
        `stop` with its token: then there is no last one.
        """
        subject = subject_of(self.store, run_id, model_id, revision)
        key = key_of(subject, subject.stamps(), encoded)
        if kept := self._seat.losses.get(key):
            yield Measured("done", 1.0, kept)
            return
        question = {"ids": [*encoded.input_ids], "labels": [*encoded.labels]}
        with closing(self._asked(subject, question, token)) as heard:
            for said in heard:
                measured = Measured(**said)
                if measured.losses:
                    self._seat.losses.put(key, measured.losses)
                yield measured

    def token_losses(
        self, run_id: str | None, model_id: str | None, revision: str | None, encoded: Encoded
    ) -> TokenLosses:
        """The whole result of `measure`."""
        *_, last = self.measure(run_id, model_id, revision, encoded)
        assert last.losses is not None
        return last.losses

    def _asked(self, subject: Subject, question: Said, token: str) -> Generator[Said, None, None]:
        """What is said of a question, in its turn."""
        token = self._own(token or uuid.uuid4().hex)
        self._seat.open.add(token)
        try:
            if not self._seat.busy.acquire(blocking=False):
                yield {"phase": "waiting"}
                while not self._seat.busy.acquire(timeout=_LOOK):
                    if token not in self._seat.open:
                        return
            yield from self._answered(subject, question, token)
        finally:
            self._seat.open.discard(token)

    def _answered(self, subject: Subject, question: Said, token: str) -> Iterator[Said]:
        try:
            self._wake()
            child = self._seat.child
            if child is None or not child.answers_for(subject):
                yield {"phase": "loading"}
                child = self._replace(subject)
            self._seat.answering = token
            if token in self._seat.open:
                yield from child.ask(question)
        finally:
            self._seat.answering = ""
            self._rest()
            self._seat.busy.release()

    def complete(
        self,
        run_id: str,
        messages: Messages,
        settings: ChatSettings | None = None,
        sides: Sequence[Side] = SIDES,
        *,
        beside: Sequence[str] = (),
        progress: Progress = lambda phase, done, total: None,
    ) -> dict[Side, Answer]:
        """The whole answers; `progress` is told of `loading`, in percent, and of `answering`."""
        answers: dict[Side, Answer] = {}
        for piece in self.answer(run_id, messages, settings, sides, beside=beside):
            if piece.phase == "loading":
                progress("loading", round(100 * piece.share), 100)
            if piece.side != "":
                if not answers:
                    progress("answering", 0, 0)
                answers[piece.side] = answers.get(piece.side, Answer()).plus(piece)
        return answers

    @property
    def loaded(self) -> str:
        """The run whose model is in memory, or an empty string."""
        child = self._seat.child
        run = child.subject.run if child is not None and child.alive else None
        return run.id if run and run.folder.parent == self.store.runs_dir else ""

    def stop(self, token: str) -> None:
        """End the answer that was asked for with this token, keeping what it has said; nothing where there is none."""
        named = self._own(token)
        self._seat.open.discard(named)
        child = self._seat.child
        if child is not None and named == self._seat.answering:
            child.stop()

    def _own(self, token: str) -> str:
        """Told apart from the tokens of those whose runs are in other stores."""
        return f"{self.store.home} {token}"

    def close(self) -> None:
        """Unload the model."""
        self._wake()
        child, self._seat.child = self._seat.child, None
        if child is not None:
            child.close()

    def _replace(self, subject: Subject) -> _Child:
        self.close()
        self._seat.child = _Child(subject, self._seat.store.tmp_dir / f"chat-{os.getpid()}.log")
        return self._seat.child

    def _wake(self) -> None:
        timer, self._seat.timer = self._seat.timer, None
        if timer is not None:
            timer.cancel()

    def _rest(self) -> None:
        self._seat.rests_until = time.monotonic() + self._seat.idle_seconds
        self._seat.trained_beside = queue.at_work(self._seat.store)
        self._glance_later()

    def _glance_later(self) -> None:
        left = self._seat.rests_until - time.monotonic()
        self._seat.timer = threading.Timer(max(0.0, min(_GLANCE, left)), self._glance)
        self._seat.timer.daemon = True
        self._seat.timer.start()

    def _glance(self) -> None:
        training = queue.at_work(self._seat.store)
        begun = training is not None and training != self._seat.trained_beside
        if begun or time.monotonic() >= self._seat.rests_until:
            self.close_if_idle()
        elif self._seat.busy.acquire(blocking=False):
            try:
                self._seat.trained_beside = training
                self._glance_later()
            finally:
                self._seat.busy.release()

    def close_if_idle(self) -> None:
        """Unload the model, unless it is answering."""
        if self._seat.busy.acquire(blocking=False):
            try:
                self.close()
            finally:
                self._seat.busy.release()


class _Child:
    """The process that holds a run's models, or a base model: python -m studio.services.chat_worker."""

    def __init__(self, subject: Subject, log: Path) -> None:
        self.subject = subject
        self._stamps = subject.stamps()
        self._log = log
        self._asked = 0
        self._writing = threading.Lock()
        # Its words for us come through a pipe that is always read while it answers, all else goes to a file.
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "studio.services.chat_worker", *subject.to_arguments()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=environment(keeps_memory=True),
                start_new_session=sys.platform != "win32",  # Ctrl-C is for us; it ends when its input does
                text=True,
                encoding="utf-8",
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def answers_for(self, subject: Subject) -> bool:
        """Whether it still lives and holds the newest weights of this run or model."""
        return self.alive and self.subject.covers(subject) and self.subject.stamps() == self._stamps

    def ask(self, question: Said) -> Iterator[Said]:
        self._asked += 1
        number = self._asked
        self._send({"ask": number, **question})
        ended = False
        try:
            while not ended:
                heard = self._hear()
                if heard["ask"] != number:
                    continue  # the rest of an answer that was given up
                ended = "said" not in heard
                if "error" in heard:
                    raise failures.from_json(heard["error"])
                if not ended:
                    yield heard["said"]
        finally:
            if not ended:
                self.stop()

    def stop(self) -> None:
        with contextlib.suppress(StudioError):  # a process that is gone has stopped
            self._send({"stop": self._asked})

    def close(self) -> None:
        """End it: at once, as it has nothing to save."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what could not be sent any more
                    pipe.close()
        self._log.unlink(missing_ok=True)

    def _send(self, line: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            with self._writing:
                self._process.stdin.write(json.dumps(line) + "\n")
                self._process.stdin.flush()
        except (OSError, ValueError):
            raise self._gone() from None

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
        except (OSError, ValueError):  # closed by `close`
            line = ""
        if not line.endswith("\n"):
            raise self._gone()
        heard: dict[str, Any] = json.loads(line)
        return heard

    def _gone(self) -> StudioError:
        status = self._process.wait()
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        return StudioError(
            "The process that answers has ended ({how}).",
            "Ask again: the model is loaded anew. If it ends again, the machine has too little memory for this model; "
            "end other programs. Details: {log}",
            how=how,
            log=str(self._log),
        )
