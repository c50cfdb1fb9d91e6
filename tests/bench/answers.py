"""What answering together costs: python -m tests.bench.answers RUN [--with OTHER --with RUN@40]

Two and (with two others beside them) four sides of a chat beside the tuned one alone, and many held-out prompts at once
beside one after the other; what is said is compared, token by token. In turns in one process, medians of the rounds.
On a busy machine the processor time of one thread (OMP_NUM_THREADS=1) tells more than the wall time does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence

from studio.domain.answer import SIDES, ChatSettings, Side
from studio.services.chat_worker import use_all_cores
from studio.services.run_files import RunFiles
from studio.services.store import Store
from studio.services.subject import Subject, beside_run

Said = dict[tuple[Side, int], list[int]]
"""The tokens of each answer, by side and row."""


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser()
    options.add_argument("run")
    options.add_argument("--home")
    options.add_argument("--with", dest="beside", action="append", default=[], metavar="RUN[@STEP]")
    options.add_argument("--rows", type=int, default=24)
    options.add_argument("--tokens", type=int, default=64)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", choices=["sides", "rows"])
    given = options.parse_args()
    subject = beside_run(Store(given.home), given.run, given.beside)
    use_all_cores()
    print(f"load before: {os.getloadavg()[0]:.1f}")
    if given.only != "rows":
        measure(sides(subject, given.tokens), given.rounds)
    if given.only != "sides":
        measure(rows(subject, given.rows, given.tokens), given.rounds)


def sides(subject: Subject, tokens: int) -> dict[str, Callable[[], Said]]:
    """A chat with one side, with two, and with all of them."""
    from studio.engine.generate import Prompt, stream

    pair, trained = subject.load(), subject.trained()
    assert subject.run is not None
    row = subject.run.held_out_rows()[0]
    settings = ChatSettings(seed=1, temperature=0.7, top_p=0.9, max_new_tokens=tokens)

    def asked(of: Sequence[Side]) -> Said:
        # Without end tokens, so that every answer is as long.
        prompts = {side: Prompt(trained[side].prompt(row.before_response()), ()) for side in of}
        said: Said = {(side, 0): [] for side in of}
        for piece in stream(pair, trained["base"].tokenizer, prompts, settings, lambda: False):
            said[piece.side, 0] += piece.ids
        return said

    ways = {"tuned alone": ("tuned",), "base and tuned": SIDES}
    if subject.beside:
        ways[f"{len(SIDES) + len(subject.beside)} sides"] = (*SIDES, *subject.beside)
    return {name: lambda of=of: asked(of) for name, of in ways.items()}  # type: ignore[misc]


def rows(subject: Subject, count: int, tokens: int) -> dict[str, Callable[[], Said]]:
    """As the evaluation writes answers: one by one, and many at once."""
    from studio.engine.evaluate import Question, answers, questions

    pair, run = subject.load(), subject.trained()["tuned"]
    files = subject.run
    assert isinstance(files, RunFiles)
    asked = questions(run, files.held_out_rows()[:count], pair.context, tokens)

    def written(what: Sequence[Question]) -> Said:
        replies = answers(pair, [("tuned", question) for question in what], (), tokens)
        return {(reply.side, reply.row): reply.ids for reply in replies}

    return {
        f"{len(asked)} rows one by one": lambda: {
            key: ids for question in asked for key, ids in written([question]).items()
        },
        f"{len(asked)} rows at once": lambda: written(asked),
    }


def measure(ways: dict[str, Callable[[], Said]], rounds: int) -> None:
    """Each way in turn; the first of them is what the others are compared with."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    said: dict[str, Said] = {}
    for number in range(rounds + 1):
        for name, way in ways.items():
            begun, used = time.perf_counter(), time.process_time()
            said[name] = way()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - begun)
                processor[name].append(time.process_time() - used)
    first, *_ = ways
    for name in ways:
        same = all(said[name][key] == ids for key, ids in said[first].items())
        told = []
        for of, taken in (("wall", seconds), ("processor", processor)):
            median, alone = statistics.median(taken[name]), statistics.median(taken[first])
            told.append(
                f"{median:.2f} s {of} ({median / alone:.2f} times, {alone / median:.2f} times as fast)"
            )
        print(f"{name:22}", *told, f"the same tokens: {same}", sep="  ", flush=True)


if __name__ == "__main__":
    main()
