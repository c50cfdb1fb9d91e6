"""What answering together costs: python -m tests.bench.answers RUN [--home HOME] [--rows 16] [--tokens 48]

Base and tuned model of a run beside the tuned one alone, and many held-out prompts at once beside one after the other;
the greedy answers are compared, token by token. In turns in one process, medians of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

from studio.domain.answer import Side
from studio.services.chat_worker import use_all_cores
from studio.services.run_files import RunFiles
from studio.services.store import Store
from studio.services.subject import Subject
from studio.services.trained import read_trained


def main() -> None:
    """Measure and print."""
    from studio.engine.evaluate import Question, answers, questions

    options = argparse.ArgumentParser()
    options.add_argument("run")
    options.add_argument("--home")
    options.add_argument("--rows", type=int, default=16)
    options.add_argument("--tokens", type=int, default=48)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    files = RunFiles(Store(given.home).run_dir(given.run))
    run = read_trained(files)
    use_all_cores()
    pair = Subject(files.folder).load()
    asked = questions(run, files.held_out_rows()[: given.rows], pair.context, given.tokens)

    def written(what: Sequence[tuple[Side, Question]]) -> dict[tuple[Side, int], list[int]]:
        # Without end tokens, so that every answer is as long.
        return {(reply.side, reply.row): reply.ids for reply in answers(pair, what, (), given.tokens)}

    def one_by_one() -> dict[tuple[Side, int], list[int]]:
        return {key: ids for question in asked for key, ids in written([("tuned", question)]).items()}

    first = asked[0]
    ways: dict[str, Callable[[], dict[tuple[Side, int], list[int]]]] = {
        "tuned alone": lambda: written([("tuned", first)]),
        "base and tuned": lambda: written([("base", first), ("tuned", first)]),
        f"{len(asked)} rows at once": lambda: written([("tuned", question) for question in asked]),
        f"{len(asked)} rows one by one": one_by_one,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    said = {}
    for number in range(given.rounds + 1):
        for name, way in ways.items():
            begun = time.perf_counter()
            said[name] = way()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name, taken in medians.items():
        print(f"{name:24}{taken:8.2f} s")
    alone, both, together, apart = medians.values()
    print(f"both for one: {both / alone:.2f}; rows a second, at once for one by one: {apart / together:.2f}")
    alone_ids, both_ids, together_ids, apart_ids = said.values()
    same = all(both_ids[key] == ids for key, ids in alone_ids.items()) and together_ids == apart_ids
    print("the same tokens alone and together:", same)


if __name__ == "__main__":
    main()
