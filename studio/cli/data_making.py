"""New data files: those that a model writes itself, and the best rows of one: `studio data write` and `select`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from studio.cli import parsing
from studio.cli.parsing import add_verb
from studio.cli.printing import DONE, print_json, rows
from studio.cli.progress import shown_progress
from studio.domain.config import TemplateConfig
from studio.services.store import Store

if TYPE_CHECKING:
    from studio.cli.parsing import Verbs


def add_to(verbs: Verbs) -> None:
    """Declare the verbs of this module among those of `studio data`."""
    own = add_verb(
        verbs, "write", write, "let a model write general rows itself, to be mixed in against forgetting"
    )
    own.add_argument("--model", default="starter", help="who writes (default: the starter)")
    own.add_argument("--rows", type=int, required=True, help="how many rows are to pass the checklist")
    own.add_argument("--out", required=True, help="the file to write (JSONL); FILE.origin.json says how")
    own.add_argument("--seed", type=int, default=0)
    own.add_argument(
        "--template", default="auto", help="`auto` (default), `model`, or the name of a shipped template"
    )
    best = add_verb(
        verbs, "select", select, "keep the best rows of a file, by the checklist's score and by spread"
    )
    parsing.add_files(best)
    best.add_argument("--rows", type=int, required=True, help="how many rows to keep")
    best.add_argument("--out", required=True, help="the file to write (JSONL)")


def write(options: argparse.Namespace, store: Store) -> int:
    """Let a model write general rows itself."""
    from studio.engine.dataset import write_messages
    from studio.engine.self_written import Writing
    from studio.services.files import write_json
    from studio.services.mixture import ORIGIN
    from studio.services.self_writing import written_by

    out = Path(options.out)
    with shown_progress() as progress:
        written, origin = written_by(
            store,
            options.model,
            Writing(options.rows, options.seed),
            template=TemplateConfig(name=options.template),
            progress=progress,
        )
    write_messages(written.conversations, out)
    write_json(out.with_name(out.name + ORIGIN), origin)
    if options.json:
        return print_json({**written.counts(), "out": options.out, "origin": origin})
    kept = len(written.conversations)
    print(
        f"{written.written} rows written, {100 * written.passed:.0f} % passed, {kept} kept in {options.out}."
    )
    for reason, count in sorted(written.dropped.items()):
        print(f"{count:6} left out: {reason}")
    if kept < written.asked:
        print(f"Fewer than the {written.asked} asked for: most of what this model writes does not pass.")
    return DONE


def select(options: argparse.Namespace, store: Store) -> int:
    """Keep the best rows of a file."""
    from dataclasses import asdict

    from studio.engine import checks, dataset
    from studio.engine.selection import propose

    data = dataset.read(parsing.source(options), **parsing.reading(options))
    report = checks.run_checks(data.conversations, findings=data.findings)
    found = propose(data.conversations, report, options.rows)
    dataset.write_messages(found.conversations(data.conversations), parsing.other_file(options.out, options))
    if options.json:
        kept, left = (
            [{"row": item.row, "score": item.score, "reason": str(item.reason)} for item in items]
            for items in (found.kept, found.left)
        )
        spread = {
            name: [asdict(share) for share in shares]
            for name, shares in (
                ("scores", found.histogram),
                ("tasks", found.tasks),
                ("lengths", found.lengths),
            )
        }
        counts = {"rows_in": data.total, "rows_out": len(kept)}
        return print_json({**counts, "kept": kept, "left": left, "spread": spread, "out": options.out})
    for item in found.left:
        print(f"row {item.row} left: {item.reason}")
    print(f"{rows(data.total)} in, {len(found.kept)} out to {options.out}.")
    return DONE
