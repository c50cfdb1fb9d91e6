"""How a run or a checkpoint that answers beside others is named: `RUN` or `RUN@CHECKPOINT`."""

from __future__ import annotations

from dataclasses import dataclass

from studio.domain.answer import Side

MOST_SIDES = 4
"""Who answer together at most."""


@dataclass(frozen=True)
class Beside:
    """A run's id, and one of its checkpoints by its folder's name; without one what the run ended with."""

    run: str
    checkpoint: str = ""

    @property
    def side(self) -> Side:
        return f"{self.run}@{self.checkpoint}" if self.checkpoint else self.run

    @classmethod
    def parse(cls, name: str) -> Beside:
        """A checkpoint may be named by its step alone.

        >>> Beside.parse("my-run@10"), Beside.parse("my-run").side
        (Beside(run='my-run', checkpoint='step-000010'), 'my-run')
        """
        run, _, checkpoint = name.partition("@")
        return cls(run, f"step-{int(checkpoint):06}" if checkpoint.isdecimal() else checkpoint)

    @property
    def step(self) -> int | None:
        """Of the checkpoint."""
        number = self.checkpoint.removeprefix("step-")
        return int(number) if number.isdecimal() else None
