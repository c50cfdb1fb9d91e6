"""How long the losses of a row take: python -m tests.bench.losses HOME [--run RUN] [--tokens 200 8192] [--times 3]

Rows of random tokens, all but the first trained, through the process that the page uses: cold with the start of the
process and the loading of the model, warm with the model in memory, and once more as they are kept.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time

import psutil

from studio.domain.encoded import Encoded
from studio.services.chat import ChatProcess
from studio.services.store import Store


def row(tokens: int, seed: int) -> Encoded:
    ids = tuple(random.Random(seed).randrange(10, 40_000) for _ in range(tokens))
    return Encoded(ids, ids, (), "")


def seconds(chat: ChatProcess, run: str | None, encoded: Encoded) -> float:
    begun = time.perf_counter()
    chat.token_losses(run, None, None, encoded)
    return time.perf_counter() - begun


def main() -> None:
    """Print the seconds for each length, and the memory of the process afterwards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home")
    parser.add_argument("--run")
    parser.add_argument("--tokens", type=int, nargs="+", default=[200, 8192])
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    store = Store(options.home)
    store.machine()  # probed once and kept: not what is measured here
    for tokens in options.tokens:
        chat = ChatProcess(store)
        try:
            cold = seconds(chat, options.run, row(tokens, 0))
            warm = [seconds(chat, options.run, row(tokens, seed + 1)) for seed in range(options.times)]
            kept = seconds(chat, options.run, row(tokens, 1))
            assert chat._seat.child is not None
            memory = psutil.Process(chat._seat.child._process.pid).memory_info().rss
        finally:
            chat.close()
        print(
            f"{tokens:6} tokens: cold {cold:6.2f} s, warm {statistics.median(warm):6.2f} s "
            f"({min(warm):.2f} to {max(warm):.2f}), kept {kept * 1000:.1f} ms, {memory / 1e6:.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
