"""The process that holds a model for the chat and the losses: python -m studio.services.chat_worker RUN_DIR "" [SIDE …]

or MODEL_DIR DTYPE for a base model alone. One JSON object a line. In: {"ask": 1, "messages": {"base": [...], "tuned":
[...]}, "settings": {...}}, {"ask": 2, "ids": [...], "labels": [...]}, {"ask": 3, "explain": "tuned", "messages":
{"tuned": [...]}, "answer": [...]} and {"stop": 1}. Out: {"ask": 1, "said": {...}} …, a Piece of an answer, Measured for
losses or choices, then {"ask": 1, "end": true} or {"ask": 1, "error": {...}}. It ends with its input.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from studio.domain.answer import BASE, ChatSettings, Side
from studio.domain.chat import Message
from studio.domain.errors import Stopped, StudioError
from studio.domain.loading import Step
from studio.services import failures
from studio.services.losses import Measured
from studio.services.subject import Subject

if TYPE_CHECKING:
    from studio.engine.tokenizer import Tokenizer
    from studio.engine.tuned import Pair

Say = Callable[[dict[str, Any]], None]
_EVERY = 0.1
"""Seconds between two words about how far the losses are, or the loading."""


class ChatWorker:
    """Loads the model at the first question and answers one after the other."""

    def __init__(self, subject: Subject, say: Say) -> None:
        self.subject = subject
        self.trained = subject.trained() if subject.run else {}
        self.say = say
        self.asked: queue.Queue[dict[str, Any]] = queue.Queue()
        self.stopped = 0
        """The number of the last question that need not be answered any further."""
        self._pair: Pair | None = None

    def listen(self) -> None:
        """Take in questions and stops; the end of input ends the process, whatever it is doing."""
        for line in sys.stdin:
            heard = json.loads(line)
            if "stop" in heard:
                self.stopped = max(self.stopped, int(heard["stop"]))
            else:
                self.asked.put(heard)
        os._exit(0)

    def reply(self, question: dict[str, Any]) -> None:
        """Say all there is to say of one question, or why there is nothing."""
        number = int(question["ask"])
        if "explain" in question:
            work, no_memory, failed = self._explain, _NO_MEMORY_TO_ANSWER, _not_answered
        elif "messages" in question:
            work, no_memory, failed = self._answer, _NO_MEMORY_TO_ANSWER, _not_answered
        else:
            work, no_memory, failed = self._measure, _NO_MEMORY_TO_MEASURE, _not_measured
        try:
            work(number, question)
            self.say({"ask": number, "end": True})
        except Stopped:
            self.say({"ask": number, "end": True})
        except Exception as error:
            if not isinstance(error, StudioError):
                traceback.print_exc()
            told = failures.explained(error, no_memory, failed)
            self.say({"ask": number, "error": failures.to_json(told)})

    def _answer(self, number: int, question: dict[str, Any]) -> None:
        ids = {side: self._prompt(side, messages) for side, messages in question["messages"].items()}
        pair = self._loaded(number)
        from studio.engine.generate import Prompt, stream

        prompts = {side: Prompt(prompt, self.trained[side].stop_ids) for side, prompt in ids.items()}
        settings = ChatSettings(**question["settings"])
        pieces = stream(pair, self._tokenizer, prompts, settings, lambda: self.stopped >= number)
        for piece in pieces:
            self.say({"ask": number, "said": asdict(piece)})

    def _explain(self, number: int, question: dict[str, Any]) -> None:
        side = question["explain"]
        prompt = self._prompt(side, question["messages"][side])
        pair = self._loaded(number)
        from studio.engine.choices import choices

        found = choices(pair, self._tokenizer, side, prompt, question["answer"])
        self.say({"ask": number, "said": {"choices": [choice.to_json() for choice in found]}})

    def _prompt(self, side: Side, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        return self.trained[side].prompt([Message.from_json(message) for message in messages])

    @property
    def _tokenizer(self) -> Tokenizer:
        """The same on all sides, as they have one base."""
        return self.trained[BASE].tokenizer

    def _measure(self, number: int, question: dict[str, Any]) -> None:
        pair = self._loaded(number)
        from studio.engine.token_losses import token_losses

        losses = token_losses(
            pair,
            question["ids"],
            question["labels"],
            self._progress(number, "measuring"),
            lambda: self.stopped >= number,
        )
        self.say({"ask": number, "said": asdict(Measured("done", 1.0, losses))})

    def _loaded(self, number: int) -> Pair:
        """The models; how far their loading is, is said of the question that waits for them.

        What imports torch is imported after it: that is part of the loading.
        """
        if self._pair is None:
            self._pair = self.subject.load(self._progress(number, "loading"))
            use_all_cores()
        return self._pair

    def _progress(self, number: int, phase: str) -> Step:
        """Says the share of a phase, not more often than it can be drawn, and its end."""
        said = 0.0

        def step(share: float) -> None:
            nonlocal said
            if share == 1.0 or time.monotonic() - said >= _EVERY:
                said = time.monotonic()
                self.say({"ask": number, "said": {"phase": phase, "share": share}})

        return step


_NO_MEMORY_TO_ANSWER = StudioError(
    "There is too little memory for this model's answer.",
    "Stop runs and other programs that use it, then ask again.",
)
_NO_MEMORY_TO_MEASURE = StudioError(
    "There is too little memory for the losses of this row.",
    "Stop runs and other programs that use it, or cut the row to fewer tokens, then try again.",
)


def _not_answered(problem: str) -> StudioError:
    return StudioError(
        "The answer failed: {problem}.", "Ask again; if it fails again, report it.", problem=problem
    )


def _not_measured(problem: str) -> StudioError:
    return StudioError(
        "The losses could not be measured: {problem}.",
        "Try again; if it fails again, report it.",
        problem=problem,
    )


def use_all_cores() -> None:
    """Let torch compute on every core that this process may use."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(cores)


def main() -> None:
    """Answer until the input ends."""
    # Libraries may print; only we write to the pipe.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(line: dict[str, Any]) -> None:
        channel.write(json.dumps(line, default=str) + "\n")
        channel.flush()

    worker = ChatWorker(Subject.from_arguments(sys.argv[1:]), say)
    threading.Thread(target=worker.listen, daemon=True).start()
    while True:
        worker.reply(worker.asked.get())


if __name__ == "__main__":
    main()
