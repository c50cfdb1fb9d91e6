"""How long the checks of one row take, each and all together: python -m tests.bench.checks [FILE]

Without a file, the rows are those of the project's own data. The figures are microseconds of processor time a row, the
best of three, on one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from studio.domain.chat import Conversation
from studio.engine.checks import CHECKS
from studio.engine.dataset import read
from tests.planted.rows import clean_rows


def microseconds(check: str, rows: Sequence[Conversation]) -> float:
    def once() -> float:
        start = time.process_time()
        CHECKS[check].find(rows)
        return time.process_time() - start

    CHECKS[check].find(rows[:50])  # what is loaded at first use is not measured
    return min(once() for _ in range(3)) / len(rows) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    options = parser.parse_args()
    rows = read(options.file).conversations if options.file else list(clean_rows())
    letters = sum(len(message.content) for row in rows for message in row.messages) / len(rows)
    times = {name: microseconds(name, rows) for name, check in CHECKS.items() if check.look is not None}
    for name, each in sorted(times.items(), key=lambda item: -item[1]):
        print(f"{name:20} {each:7.1f}")
    print(f"{len(rows)} rows of {letters:.0f} characters: {sum(times.values()):.0f} µs a row")


if __name__ == "__main__":
    main()
