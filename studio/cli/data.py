"""Data files and uploads: `studio data`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from studio.cli import data_making, data_repair, masks, parsing
from studio.cli.parsing import add_group, add_verb
from studio.cli.printing import DONE, harmless, print_finding, print_json, rows
from studio.cli.progress import shown_progress
from studio.cli.reading import read_or_survey
from studio.services.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from studio.cli.parsing import Verbs
    from studio.domain.chat import Conversation
    from studio.services.difficulty import Measured


SHOWN_QUARANTINED = 20
"""So many records that cannot be read are printed; all of them are in what --json prints."""


def add_to(verbs: Verbs) -> None:
    """Declare the verbs of this module."""
    inner = add_group(verbs, "data", "check, clean, convert and write data files; list and delete uploads")
    look_over = add_verb(inner, "check", check, "the quality checklist")
    data_repair.add_to(inner)
    rewrite = add_verb(inner, "convert", convert, "write any supported format as messages JSONL")
    data_making.add_to(inner)
    add_verb(inner, "list", list_uploads, "the datasets that were uploaded")
    remove = add_verb(
        inner, "delete", delete, "remove an upload with its repaired rows; runs keep their own copy"
    )
    remove.add_argument("dataset", help="id of the dataset, as `studio data list` shows it")
    for parser in (look_over, rewrite):
        parsing.add_files(parser)
    look_over.add_argument(
        "--model", help="whose tokens are looked at too (default: the starter, if it is there)"
    )
    look_over.add_argument("--max-length", type=int)
    look_over.add_argument(
        "--overlong",
        default="cut",
        choices=parsing.choices("data", "overlong"),
        help="what happens to rows that are too long",
    )
    masks.add_options(look_over)
    look_over.add_argument(
        "--difficulty",
        action="store_true",
        help="load the model too, and find rows whose prompt does not help it to foresee the response",
    )
    look_over.add_argument(
        "--ray",
        type=int,
        metavar="PROCESSES",
        help="check with so many processes of the Ray cluster that this machine is part of",
    )
    look_over.add_argument("--report", help="write what was found as a document too: FILE.html or FILE.json")
    rewrite.add_argument("--out", required=True, help="the file to write (JSONL)")


def check(options: argparse.Namespace, store: Store) -> int:
    """The quality checklist."""
    from studio.engine.checks import FORMULA, described, run_checks
    from studio.engine.integrity import known_sha256
    from studio.services import reports
    from studio.services.plan import sampled_token_report

    data, surveyed = read_or_survey(options, store)
    tokens = sampled_token_report(
        store,
        data.conversations,
        options.model,
        masks.chosen(options),
        options.max_length,
        options.overlong,
    )
    hard = _difficulty(options, store, data.conversations) if options.difficulty else None
    known = [*data.findings, *tokens, *(hard.findings if hard else [])]
    report = surveyed.after(known) if surveyed else run_checks(data.conversations, findings=known)
    if options.report:
        out = parsing.other_file(options.report, options)
        source = Path(options.file)
        known_by = known_sha256(source) if source.is_file() else ""
        reports.write_report(Path(out), reports.Subject(source.name, data.format, known_by), report)
    if options.json:
        return print_json(
            {
                "file": options.file,
                "rows": data.total,
                "left_out": data.total - len(data.conversations),
                "format": data.format,
                "encoding": data.encoding,
                **({"sources": [part.to_json() for part in data.sources]} if len(data.sources) > 1 else {}),
                "score": report.scores,
                "score_formula": str(FORMULA),
                "token_lengths": next(
                    (dict(f.text.values) for f in tokens if f.check == "token_lengths"), None
                ),
                "findings": [described(found) for found in report.findings],
                **({"difficulty": hard.ratios()} if hard else {}),
                "quarantined": [record.to_json() for record in data.quarantined],
            }
        )
    lost = data.total - len(data.conversations)
    print(
        f"{options.file}: {rows(len(data.conversations))}{f', {lost} left out' * bool(lost)}, format {data.format}"
    )
    if len(data.sources) > 1:
        for part in data.sources:
            print(f"  {part.file}: rows {part.first:,} to {part.last:,}")
    print("score  " + "  ".join(f"{name} {score:.0f}" for name, score in report.scores.items()))
    for found in report.findings:
        print_finding(found)
    for record in data.quarantined[:SHOWN_QUARANTINED]:
        print(f"{record.file}:{record.line}:{record.column}: {harmless(record.text[:120])}")
    if any(found.fixable for found in report.findings):
        files = shlex.join([options.file, *options.more])
        print(f"`studio data clean {files} --fix safe --dry-run` shows what repairs would do.")
    return DONE


def _difficulty(options: argparse.Namespace, store: Store, conversations: Sequence[Conversation]) -> Measured:
    from studio.services.difficulty import measured

    with shown_progress() as progress:
        return measured(
            store,
            conversations,
            options.model or "starter",
            template=masks.chosen(options),
            progress=progress,
        )


def convert(options: argparse.Namespace, store: Store) -> int:
    """Write any supported format as messages JSONL."""
    from studio.engine import dataset

    data = dataset.read(parsing.source(options), **parsing.reading(options))
    dataset.write_messages(data.conversations, parsing.other_file(options.out, options))
    if options.json:
        found = [item.to_json() for item in data.findings]
        return print_json(
            {"rows": len(data.conversations), "format": data.format, "out": options.out, "findings": found}
        )
    for item in data.findings:
        print_finding(item)
    print(f"{rows(len(data.conversations))} of format {data.format} written to {options.out}.")
    return DONE


def list_uploads(options: argparse.Namespace, store: Store) -> int:
    """The datasets that were uploaded."""
    entries, damaged = store.datasets(), store.damaged_datasets()
    if options.json:
        found = [
            {
                "id": entry.id,
                "name": entry.name,
                "path": str(entry.path),
                "created": entry.created,
                "cleaned": entry.cleaned,
                "damaged": False,
            }
            for entry in entries
        ]
        return print_json([*found, *({"id": name, "damaged": True} for name in damaged)])
    if not entries and not damaged:
        print("No dataset yet. The page keeps those that are uploaded.")
    for entry in entries:
        print(f"{entry.id:30} {entry.created[:10]}  {'repaired' if entry.cleaned else '':8}  {entry.name}")
    for name in damaged:
        print(f"{name:30} damaged: `studio data delete {name}` removes it.")
    return DONE


def delete(options: argparse.Namespace, store: Store) -> int:
    """Remove an upload with its repaired rows."""
    from studio.services import surveys

    store.delete_dataset(options.dataset)
    surveys.sweep(store)
    if options.json:
        return print_json({"deleted": options.dataset})
    print(f"{options.dataset} is deleted.")
    return DONE
