"""The process that holds a run's model for the chat: python -m studio.services.chat_worker RUN_DIR

One JSON object a line. In: {"ask": 1, "messages": {"base": [...], "tuned": [...]}, "settings": {...}} and {"stop": 1}.
Out: {"ask": 1, "piece": {...}} …, then {"ask": 1, "end": true} or {"ask": 1, "error": {...}}. It ends with its input.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.domain.answer import ChatSettings
from studio.domain.chat import Message
from studio.domain.errors import StudioError
from studio.services.run_files import RunFiles
from studio.services.trained import read_trained

Say = Callable[[dict[str, Any]], None]


class ChatWorker:
    """Loads the model at the first question and answers one after the other."""

    def __init__(self, folder: Path, say: Say) -> None:
        self.run = read_trained(RunFiles(folder))
        self.say = say
        self.asked: queue.Queue[dict[str, Any]] = queue.Queue()
        self.stopped = 0
        """The number of the last question that need not be answered any further."""
        self._pair: Any = None

    def listen(self) -> None:
        """Take in questions and stops; the end of input ends the process, whatever it is doing."""
        for line in sys.stdin:
            heard = json.loads(line)
            if "stop" in heard:
                self.stopped = max(self.stopped, int(heard["stop"]))
            else:
                self.asked.put(heard)
        os._exit(0)

    def answer(self, question: dict[str, Any]) -> None:
        """Say all pieces of one answer, or why there is none."""
        number = int(question["ask"])
        try:
            self._answer(number, question)
            self.say({"ask": number, "end": True})
        except StudioError as error:
            self._fail(number, error)
        except Exception as error:
            traceback.print_exc()
            if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
                self._fail(number, _OUT_OF_MEMORY)
            else:
                self._fail(
                    number,
                    StudioError(
                        "The answer failed: {problem}.",
                        "Ask again; if it fails again, report it.",
                        problem=f"{type(error).__name__}: {error}".rstrip("."),
                    ),
                )

    def _answer(self, number: int, question: dict[str, Any]) -> None:
        from studio.engine.generate import stream

        prompts = {
            side: self.run.prompt([Message.from_json(message) for message in messages])
            for side, messages in question["messages"].items()
        }
        settings = ChatSettings(**question["settings"])
        pieces = stream(
            self._loaded(),
            self.run.tokenizer,
            prompts,
            settings,
            self.run.stop_ids,
            lambda: self.stopped >= number,
        )
        for piece in pieces:
            self.say({"ask": number, "piece": asdict(piece)})

    def _loaded(self) -> Any:
        if self._pair is None:
            from studio.engine.tuned import load_pair

            _use_all_cores()
            self._pair = load_pair(self.run)
        return self._pair

    def _fail(self, number: int, error: StudioError) -> None:
        values = {**error.remedy_text.values, **error.text.values}
        told = {"template": error.text.template, "remedy": error.remedy_text.template, "values": values}
        self.say({"ask": number, "error": told})


_OUT_OF_MEMORY = StudioError(
    "There is too little memory for this model's answer.",
    "Stop runs and other programs that use it, then ask again.",
)


def _use_all_cores() -> None:
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

    worker = ChatWorker(Path(sys.argv[1]).resolve(), say)
    threading.Thread(target=worker.listen, daemon=True).start()
    while True:
        worker.answer(worker.asked.get())


if __name__ == "__main__":
    main()
