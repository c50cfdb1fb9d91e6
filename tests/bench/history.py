"""How long a long run takes to be read and drawn: python -m tests.bench.history [--steps 100000]

Writes the events of a run (a metric a step, ten evaluations, a hundred checkpoints) and measures what the page does
with them: the first look, a poll that finds ten new steps, and a poll that finds none; reading and drawing apart. The
least of several repetitions each, as nothing but other work makes one of them longer.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from studio.domain.events import Checkpoint, Event, Metric, Started
from studio.services.log import tail
from studio.services.progress import Progress, Watch
from studio.ui import plots
from studio.ui.i18n import words

NEW = 10
"""Steps that a poll finds."""


def events(steps: int) -> Iterator[Event]:
    """A run as its worker tells it; losses fall with noise."""
    noise = random.Random(0)
    yield Started(
        run="long",
        steps=steps,
        rows=steps,
        held_out_rows=64,
        tokens=steps * 200,
        trained_tokens=steps * 100,
        encoded_sha256="0",
    )
    for step in range(1, steps + 1):
        loss = 1 + 2 * math.exp(-4 * step / steps)
        yield Metric(
            step=step,
            epoch=step / steps,
            loss=loss + noise.gauss(0, 0.2),
            learning_rate=1e-3 * (1 - step / (steps + 1)),
            grad_norm=noise.lognormvariate(0, 0.3),
            tokens=step * 1600,
            trained_tokens=step * 800,
            tokens_per_second=noise.gauss(2000, 100),
            memory_bytes=1 << 30,
        )
        if step % (steps // 10) == 0:
            yield Metric(step=step, epoch=step / steps, eval_loss=loss + 0.1, general_loss=2.0)
        if step % (steps // 100) == 0:
            yield Checkpoint(step=step, path=f"checkpoints/step-{step:06d}")


def written(file: Path, steps: int) -> list[bytes]:
    """The log but for its last steps, which are given back to be appended."""
    at = "2026-01-01T00:00:00.000Z"
    lines = [
        (event.model_copy(update={"seq": seq, "at": at}).model_dump_json(exclude_none=True) + "\n").encode()
        for seq, event in enumerate(events(steps), start=1)
    ]
    file.write_bytes(b"".join(lines[: -50 * NEW]))
    return lines[-50 * NEW :]


def timed(work: Callable[[], Progress]) -> tuple[float, float, int]:
    """Seconds of reading and of drawing, and the bytes of what is drawn."""
    begun = time.perf_counter()
    progress = work()
    read = time.perf_counter()
    drawn = plots.run_charts(words("en"), progress)
    return read - begun, time.perf_counter() - read, len(drawn.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events.jsonl"
        waiting = written(file, steps)
        print(f"{steps:,} steps, {file.stat().st_size / 1e6:.1f} MB")
        print(f"{'':24}{'reading':>10}{'drawing':>10}{'drawn':>10}")

        def opened() -> Watch:
            return Watch(lambda _, offset: tail(file, offset, 4 << 20))

        watches = [opened() for _ in range(3)]
        show("first look", [timed(lambda watch=watch: watch.progress("long")) for watch in watches])
        watch = watches[0]
        polls = []
        for place in range(0, len(waiting), NEW):
            with file.open("ab") as log:
                log.write(b"".join(waiting[place : place + NEW]))
            polls.append(timed(lambda: watch.progress("long")))
        show(f"poll with {NEW} new steps", polls)
        show("poll with nothing new", [timed(lambda: watch.progress("long")) for _ in range(20)])


def show(name: str, took: list[tuple[float, float, int]]) -> None:
    read, drew, size = (min(part) for part in zip(*took, strict=True))
    print(f"{name:24}{1000 * read:>7.1f} ms{1000 * drew:>7.1f} ms{size / 1000:>7.0f} KB")


if __name__ == "__main__":
    main()
