"""New data files of a model's own making: `studio data write`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from studio.cli.parsing import add_verb
from studio.cli.printing import DONE, print_json
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
