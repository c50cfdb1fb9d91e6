"""Repairs, shown or done, and the steps of uploads: `studio data clean`, `steps` and `undo`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from studio.cli import parsing
from studio.cli.parsing import add_verb
from studio.cli.printing import DONE, print_finding, print_json
from studio.domain.errors import StudioError
from studio.services.store import Store

if TYPE_CHECKING:
    from studio.cli.parsing import Verbs
    from studio.domain.history import RowChange, Step

_AROUND = 40
"""Characters of what stays the same that are printed on either side of a difference."""
_LONGEST = 200


def add_to(verbs: Verbs) -> None:
    """Declare the verbs of this module among those of `studio data`."""
    repair = add_verb(verbs, "clean", clean, "apply repairs and write the result, or show what they would do")
    parsing.add_file(repair)
    repair.add_argument("--fix", required=True, help="names of checks, separated by commas, `safe` or `all`")
    repair.add_argument("--spare", default="", metavar="ROWS", help="numbers of rows to leave as they are")
    target = repair.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", help="the file to write (JSONL)")
    target.add_argument("--dry-run", action="store_true", help="show rows before and after; write nothing")
    listed = add_verb(verbs, "steps", steps, "what was done in the page to the rows of an upload")
    back = add_verb(verbs, "undo", undo, "take back one step of an upload")
    for parser in (listed, back):
        parser.add_argument("dataset", help="id of the dataset, as `studio data list` shows it")
    back.add_argument("step", type=int, help="its number, as `studio data steps` shows it")


def clean(options: argparse.Namespace, store: Store) -> int:
    """Apply repairs and write the result, or show what they would do."""
    from studio.engine import checks, dataset
    from studio.engine.row_changes import SAFE, amended, made_by

    data = dataset.read(options.file, format=options.format, columns=parsing.columns(options.columns))
    names = [name for word in options.fix.split(",") for name in (SAFE if word == "safe" else (word,))]
    cleaned = checks.clean(data.conversations, names)
    spared = _numbers(options.spare)
    made = [change for change in made_by(data.conversations, cleaned) if change.row not in spared]
    kept = amended(data.conversations, made)
    if not options.dry_run:
        dataset.write_messages(kept, parsing.other_file(options.out, options.file))
    dropped = [change.row for change in made if change.dropped]
    if options.json:
        return print_json(
            {
                "rows_in": data.total,
                "rows_out": len(kept),
                "changed": [change.row for change in made if not change.dropped],
                "dropped": dropped,
                "unusable": sorted({row for found in data.findings for row in found.rows}),
                "changes": [
                    {"row": c.row, "check": c.check, "action": c.action, "before": c.before, "after": c.after}
                    for c in cleaned.changes
                    if c.row not in spared
                ],
                "out": options.out,
            }
        )
    for change in made:
        _print_change(change, whole=options.dry_run)
    for found in data.findings:
        print_finding(found)
    where = "nothing is written" if options.dry_run else f"written to {options.out}"
    print(f"{data.total} rows in, {len(kept)} out, {where}: ", end="")
    print(f"{len(made) - len(dropped)} changed, {len(dropped)} dropped.")
    return DONE


def steps(options: argparse.Namespace, store: Store) -> int:
    """What was done in the page to the rows of an upload."""
    from studio.services import history

    found = history.history(store, options.dataset)
    if options.json:
        taken = [
            {
                **step.to_json(),
                "rows": [_row(change) for change in history.changes(store, options.dataset, step.number)],
            }
            for step in found.steps
        ]
        return print_json({"dataset": options.dataset, "steps": taken, "unusable": list(found.unusable)})
    if not found.steps:
        print("No step yet: the rows are those that were uploaded.")
    for step in found.steps:
        print(
            f"{step.number:3}  {step.at[:16]}  {_title(step)}: {step.changed} changed, {step.dropped} dropped"
        )
        for change in history.changes(store, options.dataset, step.number):
            _print_change(change, whole=False)
    return DONE


def undo(options: argparse.Namespace, store: Store) -> int:
    """Take back one step of an upload; later ones stay."""
    from studio.services import history

    history.undo(store, options.dataset, options.step)
    left = [step.number for step in history.history(store, options.dataset).steps]
    if options.json:
        return print_json({"undone": options.step, "steps": left})
    print(f"Step {options.step} is undone. Steps that stand: {', '.join(map(str, left)) or 'none'}.")
    return DONE


def _numbers(text: str) -> set[int]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isdigit() for word in words):
        raise StudioError("{rows} are no row numbers.", "Write them as 3,7,12.", rows=text)
    return set(map(int, words))


def _title(step: Step) -> str:
    asked = step.asked
    return {
        "repair": f"repaired {', '.join(asked.get('checks', ()))}",
        "edit": f"row {asked.get('row')} edited",
        "drop": f"row {asked.get('row')} left out",
        "select": f"best {asked.get('rows')} rows kept",
        "earlier": "repairs by an earlier version",
    }[step.kind]


def _row(change: RowChange) -> dict[str, object]:
    return {**change.to_json(), "reasons": [str(reason) for reason in change.reasons]}


def _print_change(change: RowChange, whole: bool) -> None:
    """A row in a line; with `whole` how it reads before and after, as git marks words."""
    from studio.engine.checks.parts import shown

    why = ", ".join(change.checks) or " ".join(map(str, change.reasons))
    print(f"row {change.row}: {'dropped' if change.dropped else 'changed'} ({why})")
    if not whole:
        return
    before = shown(change.before)
    text = f"[-{before[:_LONGEST]}{'…' if len(before) > _LONGEST else ''}-]"
    if change.after:
        text = _marked(before, shown(change.after))
    print("    " + text.replace("\n", "\n    "))


def _marked(before: str, after: str) -> str:
    from studio.engine.word_difference import difference, shortened

    marks = {"gone": "[-{}-]", "new": "{{+{}+}}", "same": "{}"}
    parts = shortened(difference(before, after), _AROUND)
    return "".join(marks[part.kind].format(part.text) for part in parts)
