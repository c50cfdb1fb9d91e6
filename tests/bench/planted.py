"""What the checklist finds of planted defects, as a table: python -m tests.bench.planted [--seed 1]

Planted are several hundred defects a check in rows of the project's own data (tests/planted/), beside rows that look
like the defect and have none. Recall is the share of planted rows that the check flags; precision is the share of the
rows that it flags in which it was planted.
"""

from __future__ import annotations

import argparse

from studio.engine.checks import CHECKS
from tests.planted.measure import measure
from tests.planted.unseen import HARMLESS, SHOWN, UNSEEN, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("| check | planted | without | recall | precision |\n|---|---|---|---|---|")
    for check in CHECKS:
        seen = measure(check, options.seed)
        cells = (f"`{check}`", seen.planted, seen.clean, f"{seen.recall:.3f}", f"{seen.precision:.3f}")
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
    heads = (
        "check",
        "wordings never used to mend it: found",
        "harmless look-alikes: flagged",
        "wordings used: found",
    )
    print(f"\n| {' | '.join(heads)} |\n|---|---|---|---|")
    for check in UNSEEN:
        counts = (found(check, wordings) for wordings in (UNSEEN, HARMLESS, SHOWN))
        print(f"| `{check}` | {' | '.join(f'{flagged} of {total}' for flagged, total in counts)} |")


if __name__ == "__main__":
    main()
