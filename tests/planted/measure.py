"""How much of what was planted the checklist finds, and how much of what it finds was planted."""

from __future__ import annotations

import random
from dataclasses import dataclass

from studio.domain.chat import Conversation
from studio.engine.checks import CHECKS, run_checks
from tests.planted.row_defects import DEFECTS
from tests.planted.rows import clean_rows
from tests.planted.set_defects import SET_DEFECTS

PLANTED = 300
DECOYS = 200
SETS = 20


@dataclass
class Measured:
    """Rows with a planted defect, those of them that were missed, and rows without one that were flagged."""

    check: str
    planted: int
    clean: int
    missed: list[Conversation]
    wrong: list[Conversation]

    @property
    def recall(self) -> float:
        return 1 - len(self.missed) / self.planted

    @property
    def precision(self) -> float:
        found = self.planted - len(self.missed)
        return found / (found + len(self.wrong)) if found else 0.0


def measure(check: str, seed: int = 1) -> Measured:
    return _measure_set(check, seed) if check in SET_DEFECTS else _measure_rows(check, seed)


def _measure_rows(check: str, seed: int) -> Measured:
    """300 planted defects, 200 rows that look like one and have none, and all clean rows."""
    dice = random.Random(f"{check} {seed}")
    plant, decoy = DEFECTS[check]
    planted = [plant(dice) for _ in range(PLANTED)]
    clean = [*(decoy(dice) for _ in range(DECOYS)), *clean_rows()]
    found, wrong = CHECKS[check].find(planted), CHECKS[check].find(clean)
    missed = [row for position, row in enumerate(planted) if position not in found]
    return Measured(check, len(planted), len(clean), missed, [clean[position] for position in wrong])


def _measure_set(check: str, seed: int) -> Measured:
    """20 sets of about a hundred rows, looked at by the whole checklist."""
    dice = random.Random(f"{check} {seed}")
    total = Measured(check, 0, 0, [], [])
    for _ in range(SETS):
        rows, planted = SET_DEFECTS[check](dice)
        found = {row - 1 for item in run_checks(rows).findings if item.check == check for row in item.rows}
        total.planted += len(planted)
        total.clean += len(rows) - len(planted)
        total.missed += [rows[position] for position in sorted(planted - found)]
        total.wrong += [rows[position] for position in sorted(found - planted)]
    return total
