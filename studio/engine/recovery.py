"""What a run goes on from: its newest checkpoint that is whole. A damaged one is named, and kept aside."""

from __future__ import annotations

import shutil
from pathlib import Path

from studio.domain.events import Emit, Warned
from studio.engine import checkpoint
from studio.engine.integrity import Damaged


def newest_whole(folder: Path, emit: Emit) -> Path | None:
    """The newest checkpoint under `folder` whose files are as they were written; None where there is none.

    Clears away what a killed process had only half written.
    """
    for partial in folder.glob(".*.partial"):
        shutil.rmtree(partial, ignore_errors=True)
    damaged: list[Warned] = []
    found = None
    for path in reversed(checkpoints(folder)):
        try:
            checkpoint.verify(path)
        except Damaged as problem:
            damaged.append(_damage(path, problem))
            continue
        found = path
        break
    for warned in damaged:
        emit(warned)
    if damaged:
        emit(_going_on(checkpoint.read_progress(found).step if found else 0))
    return found


def best_is_whole(best: Path, step: int, last: int, emit: Emit) -> bool:
    """Whether a run can end with its best weights, of `step`; where it cannot, that is said."""
    try:
        checkpoint.verify(best)
    except Damaged as problem:
        emit(
            Warned(
                template="The best weights, of step {best}, are damaged ({file}): the result is of the last step, "
                "{last}.",
                remedy="Check the disk. To have the best weights, start the run anew.",
                values={"best": step, "file": problem.file, "last": last},
            )
        )
        return False
    return True


def checkpoints(folder: Path) -> list[Path]:
    """Oldest first, whole or not."""
    return sorted(folder.glob("step-*"))


def step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def set_aside(path: Path, why: str) -> Path:
    """Rename a checkpoint to one that no run goes on from, and that stays."""
    target = path.with_name(f"{why}-{path.name}")
    number = 2
    while target.exists():
        target = path.with_name(f"{why}-{path.name}-{number}")
        number += 1
    return path.rename(target)


def _damage(path: Path, problem: Damaged) -> Warned:
    return Warned(
        template="The checkpoint {checkpoint} is damaged: {file} is not as it was written. It is kept as {kept}.",
        remedy="Check the disk; it can be deleted.",
        values={
            "checkpoint": path.name,
            "file": problem.file,
            "kept": set_aside(path, "damaged").name,
        },
    )


def _going_on(step: int) -> Warned:
    if step:
        return Warned(
            template="The run goes on from the checkpoint before it, of step {step}.",
            remedy="Nothing to do: the steps since then are done again.",
            values={"step": step},
        )
    return Warned(
        template="No checkpoint before it is whole: the run begins again.",
        remedy="Nothing to do: all steps are done again.",
    )
