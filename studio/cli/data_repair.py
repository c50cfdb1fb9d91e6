"""Repairs, shown or done, and the steps of uploads: `studio data clean`, `steps` and `undo`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from studio.cli import parsing
from studio.cli.parsing import add_verb
from studio.cli.printing import DONE, harmless, print_finding, print_json, rows
from studio.cli.reading import read_or_survey
from studio.domain.errors import StudioError
from studio.services.store import Store

if TYPE_CHECKING:
    from studio.cli.parsing import Verbs
    from studio.domain.history import RowChange

_AROUND = 40
"""Characters of what stays the same that are printed on either side of a difference."""
_LONGEST = 200


def add_to(verbs: Verbs) -> None:
    """Declare the verbs of this module among those of `studio data`."""
    repair = add_verb(verbs, "clean", clean, "apply repairs and write the result, or show what they would do")
    parsing.add_files(repair)
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
    from studio.engine import dataset
    from studio.engine.row_changes import SAFE, amended, cleaned, made_by

    names = [name for word in options.fix.split(",") for name in (SAFE if word == "safe" else (word,))]
    data, report = read_or_survey(options, store)
    repaired = cleaned(data.conversations, names, report.findings if report else ())
    spared = _numbers(options.spare)
    made = [change for change in made_by(data.conversations, repaired) if change.row not in spared]
    dropped = [change.row for change in made if change.dropped]
    left = len(data.conversations) - len(dropped)
    if not options.dry_run:
        if not left:
            raise StudioError(
                "These repairs would leave no row, so nothing is written.",
                "Name fewer of them; --dry-run shows what each would do.",
            )
        out = parsing.other_file(options.out, options)
        dataset.write_messages(amended(data.conversations, made), out)
    if options.json:
        return print_json(
            {
                "rows_in": data.total,
                "rows_out": left,
                "changed": [change.row for change in made if not change.dropped],
                "dropped": dropped,
                "unusable": sorted({row for found in data.findings for row in found.rows}),
                "changes": [
                    {"row": c.row, "check": c.check, "action": c.action, "before": c.before, "after": c.after}
                    for c in repaired.changes
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
    print(f"{rows(data.total)} in, {left} out, {where}: ", end="")
    print(f"{len(made) - len(dropped)} changed, {len(dropped)} dropped.")
    return DONE


def steps(options: argparse.Namespace, store: Store) -> int:
    """What was done in the page to the rows of an upload."""
    from studio.services import history

    taken = history.taken(store, options.dataset, most=None)
    if options.json:
        unusable = history.history(store, options.dataset).unusable
        told = [{**one.step.to_json(), "rows": [_row(change) for change in one.changes]} for one in taken]
        return print_json({"dataset": options.dataset, "steps": told, "unusable": list(unusable)})
    if not taken:
        print("No step yet: the rows are those that were uploaded.")
    for one in taken:
        what = f"{one.what} {', '.join(map(str, one.names))}".strip()
        step = one.step
        print(f"{step.number:3}  {step.at[:16]}  {what} {step.changed} changed, {step.dropped} dropped")
        for change in one.changes:
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
    print("    " + harmless(text).replace("\n", "\n    "))


def _marked(before: str, after: str) -> str:
    from studio.engine.word_difference import difference, shortened

    marks = {"gone": "[-{}-]", "new": "{{+{}+}}", "same": "{}"}
    parts = shortened(difference(before, after), _AROUND)
    return "".join(marks[part.kind].format(part.text) for part in parts)
