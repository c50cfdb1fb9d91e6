"""The steps that the rows of a dataset went through, kept beside them: taken, listed, and undone at any time.

Each state of the rows lies in a folder of its own, whole: `cleaned.jsonl` with the rows, `provenance.json` with the
steps and the numbers that the rows have in the upload, and of each step a file with the rows before and after it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from studio.domain.chat import Conversation
from studio.domain.errors import StudioError
from studio.domain.finding import Finding
from studio.domain.history import Kind, RowChange, Step
from studio.domain.text import Text
from studio.engine.checks import CHECKS
from studio.engine.dataset import write_messages
from studio.engine.row_changes import amended, without
from studio.engine.rows import numbers_of
from studio.services.files import now, read_json, write_json
from studio.services.store import DatasetEntry, Store

SCHEMA = 2
_ROWS, _STEPS = "cleaned.jsonl", "provenance.json"
SHOWN = 200
"""Rows of a step that are told where not all of them are asked for."""


@dataclass(frozen=True)
class History:
    """What led from the upload to the rows in use. Row numbers are those of the upload."""

    steps: tuple[Step, ...] = ()
    rows: tuple[int, ...] = ()
    """`rows[i]` is the number of row i + 1 of the rows in use; empty as long as there is no step."""
    unusable: tuple[Mapping[str, Any], ...] = ()
    """`row` and `reason` of the records that no conversation could be read from."""

    def source(self, row: int) -> int:
        """The number in the upload of a row in use."""
        return self.rows[row - 1] if self.rows else row

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "rows": list(self.rows),
            "steps": [step.to_json() for step in self.steps],
            "unusable": [dict(record) for record in self.unusable],
        }


@dataclass(frozen=True)
class Taken:
    """A step, and what it did to the first of its rows."""

    step: Step
    changes: Sequence[RowChange]

    @property
    def more(self) -> int:
        """Rows that it touched beside these."""
        return self.step.changed + self.step.dropped - len(self.changes)

    @property
    def what(self) -> Text:
        """What was done, to be followed by `names`."""
        kind, asked = self.step.kind, self.step.asked
        if kind == "select":
            return Text("The best {rows} rows were kept.", {"rows": f"{asked['rows']:,}"})
        if kind == "edit":
            return Text("Row {row} was edited.", {"row": asked["row"]})
        if kind == "drop":
            return Text("Row {row} was left out.", {"row": asked["row"]})
        return Text("Repaired:") if kind == "repair" else Text("Repairs by an older version.")

    @property
    def names(self) -> tuple[Text, ...]:
        """The checks that were repaired."""
        names = self.step.asked.get("checks", ())
        return tuple(Text(CHECKS[name].title if name in CHECKS else name) for name in names)


def history(store: Store, dataset_id: str) -> History:
    """The steps of a dataset, the first one first."""
    entry = store.dataset(dataset_id)
    data = read_json(entry.path.parent / _STEPS) if entry.cleaned else None
    if data is None:
        return History()
    if data["schema"] < SCHEMA:
        return History((_earlier(data["changes"]),), tuple(data["rows"]))
    steps = tuple(map(Step.from_json, data["steps"]))
    return History(steps, tuple(data["rows"]), tuple(data["unusable"]))


def changes(store: Store, dataset_id: str, step: int, most: int | None = None) -> list[RowChange]:
    """What a step did to which rows, or to the first `most` of them."""
    file = _changes_file(store.dataset(dataset_id).path.parent, step)
    if not file.is_file():  # a step of an older studio, which kept no rows
        return []
    with file.open(encoding="utf-8") as lines:
        return [RowChange.from_json(json.loads(line)) for line in islice(lines, most)]


def taken(store: Store, dataset_id: str, most: int | None = SHOWN) -> list[Taken]:
    """The steps of a dataset, each with the first `most` rows that it touched."""
    steps = history(store, dataset_id).steps
    return [Taken(step, changes(store, dataset_id, step.number, most)) for step in steps]


def take(
    store: Store,
    seen: DatasetEntry,
    kind: Kind,
    made: Sequence[RowChange],
    conversations: Sequence[Conversation],
    *,
    findings: Iterable[Finding] = (),
    **asked: Any,
) -> Step:
    """Make changes to the rows in use as one step; returns it.

    `seen` is the dataset as it was when its `conversations` were read with these `findings`, and changes, like the
    `spared` rows and the `row` in `asked`, have the numbers of those. StudioError where another step came between, or
    no row would be left.
    """
    if store.dataset(seen.id).path != seen.path:
        raise changed_meanwhile(seen)
    before = history(store, seen.id)
    gone = {change.row for change in made if change.dropped}
    rows = tuple(before.source(number) for number in numbers_of(conversations) if number not in gone)
    if not rows:
        raise StudioError("This step would leave no row.", "Leave out fewer rows.")
    own = [_renumbered(change, before.source) for change in made]
    if "row" in asked:
        asked["row"] = before.source(asked["row"])
    if "spared" in asked:
        asked["spared"] = sorted(map(before.source, asked["spared"]))
    dropped = sum(change.dropped for change in own)
    number = max((step.number for step in before.steps), default=0) + 1
    step = Step(number, kind, now(), len(own) - dropped, dropped, asked)
    unusable = before.unusable if before.steps else tuple(_unusable(conversations, findings))
    kept = amended(conversations, made)
    _put(store, seen, History((*before.steps, step), rows, unusable), kept, {number: own})
    return step


def undo(store: Store, dataset_id: str, number: int) -> None:
    """Take a step back; later ones stay, applied anew where their rows read differently now.

    StudioError where there is no such step, or a later one depends on it. Without a step left, the upload is in use.
    """
    entry = store.dataset(dataset_id)
    before = history(store, dataset_id)
    place = next((i for i, step in enumerate(before.steps) if step.number == number), None)
    if place is None:
        raise StudioError("There is no step {step}.", "It may be undone already.", step=number)
    if len(before.steps) == 1:
        store.revert_dataset(dataset_id)
        return
    undone, *later = [(step, changes(store, dataset_id, step.number)) for step in before.steps[place:]]
    if undone[0].kind == "earlier":
        raise StudioError(
            "Step {step} was taken by an older version, which kept no rows to go back to.",
            "Go back to the original instead.",
            step=number,
        )
    anew, rows = without(undone, later)
    steps = [_counted(step, made) for (step, _), made in zip(later, anew, strict=True)]
    current = dict(zip(before.rows, _read(entry.path), strict=True)) | rows
    left = {row: current[row] for row in sorted(current)}
    found = History(
        (*before.steps[:place], *steps),
        tuple(row for row, conversation in left.items() if conversation),
        before.unusable,
    )
    own = {step.number: made for step, made in zip(steps, anew, strict=True)}
    _put(store, entry, found, (row for row in left.values() if row), own)


def recorded(store: Store, path: str) -> dict[str, Any]:
    """What a run on these rows keeps of their history: the dataset, its steps, and the rows that cannot be read; {}
    where they are no dataset's, or went through no step."""
    folder = Path(path).expanduser().resolve()
    if store.datasets_dir not in folder.parents:
        return {}
    dataset = folder.relative_to(store.datasets_dir).parts[0]
    entry, found = store.dataset(dataset), history(store, dataset)
    if entry.path != folder or not found.steps:
        return {}
    kept = found.to_json()
    return {"dataset": dataset, "name": entry.name, "steps": kept["steps"], "unusable": kept["unusable"]}


def of_run(record: Mapping[str, Any]) -> list[Taken]:
    """The steps in what a run keeps, without the rows that they touched."""
    return [Taken(Step.from_json(step), ()) for step in record.get("steps", ())]


def _earlier(made: Sequence[Mapping[str, Any]]) -> Step:
    """The repairs of a studio before there were steps."""
    dropped = {change["row"] for change in made if change.get("action") == "dropped"}
    changed = {change["row"] for change in made} - dropped
    return Step(1, "earlier", "", len(changed), len(dropped))


def changed_meanwhile(seen: DatasetEntry) -> StudioError:
    """What is said where something was worked out for rows that are in use no longer."""
    return StudioError(
        "The rows of {name} changed in the meantime.", "Look at them again first.", name=seen.name
    )


def _renumbered(change: RowChange, source: Callable[[int], int]) -> RowChange:
    """With numbers of the upload, also of other rows that a reason names."""
    row = source(change.row)
    after = replace(change.after, row=row) if change.after else None
    reasons = tuple(
        Text(reason.template, {**reason.values, "row": source(reason.values["row"])})
        if "row" in reason.values
        else reason
        for reason in change.reasons
    )
    return replace(change, row=row, before=replace(change.before, row=row), after=after, reasons=reasons)


def _counted(step: Step, made: Sequence[RowChange]) -> Step:
    dropped = sum(change.dropped for change in made)
    return replace(step, changed=len(made) - dropped, dropped=dropped)


def _unusable(
    conversations: Sequence[Conversation], findings: Iterable[Finding]
) -> Iterator[Mapping[str, Any]]:
    usable = set(numbers_of(conversations))
    for finding in findings:
        for row in finding.rows:
            if finding.dimension == "file" and row not in usable:
                yield {"row": row, "reason": finding.text.to_json()}


def _put(
    store: Store,
    entry: DatasetEntry,
    found: History,
    conversations: Iterable[Conversation],
    own: Mapping[int, Sequence[RowChange]],
) -> None:
    """Write a new state and use it; the files of steps that are not among `own` are those of the state before."""

    def write(folder: Path) -> None:
        write_messages(conversations, folder / _ROWS)
        for step in found.steps:
            file = _changes_file(folder, step.number)
            if step.number in own:
                lines = (json.dumps(change.to_json(), ensure_ascii=False) for change in own[step.number])
                file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            elif step.kind != "earlier":
                shutil.copyfile(_changes_file(entry.path.parent, step.number), file)
        write_json(folder / _STEPS, found.to_json())

    store.put_rows(entry.id, write, _ROWS)


def _changes_file(folder: Path, step: int) -> Path:
    return folder / f"step-{step}.jsonl"


def _read(path: Path) -> Iterator[Conversation]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield Conversation.from_json(json.loads(line))
