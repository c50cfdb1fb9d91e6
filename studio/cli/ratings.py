"""What people said of answers: `studio ratings`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.cli.parsing import add_verb
from studio.cli.printing import DONE, print_json
from studio.domain.errors import StudioError
from studio.services.store import Store

if TYPE_CHECKING:
    from studio.cli.parsing import Verbs


def add_to(verbs: Verbs) -> None:
    """Declare the verb of this module."""
    show = add_verb(verbs, "ratings", ratings, "what people said of a run's answers beside the base model's")
    show.add_argument("run")
    show.add_argument("--desk", help="one comparison alone; its name is in the list")
    show.add_argument("--csv", help="write the ratings of --desk to this file")


def ratings(options: argparse.Namespace, store: Store) -> int:
    """The comparisons of a run, and the figures of those that were ended."""
    from studio.services import ratings as desks
    from studio.services.files import write_text

    if options.csv and not options.desk:
        raise StudioError("--csv writes one comparison.", "Name it with --desk; `studio ratings` lists them.")
    found = (
        [desks.desk_of(store, options.run, options.desk)] if options.desk else desks.desks(store, options.run)
    )
    if options.csv:
        write_text(Path(options.csv), desks.as_csv(found[0]))
    told: list[dict[str, Any]] = [
        {
            "desk": desk.id,
            "created": desk.created,
            "source": desk.source,
            "pairs": len(desk.pairs),
            "done": desks.done(desk),
            "closed": desk.closed or None,
            "summary": desks.summary(desk) if desk.closed else None,
        }
        for desk in found
    ]
    if options.json:
        return print_json(told)
    for one in told:
        raters = ", ".join(f"{rater} {count}" for rater, count in one["done"].items()) or "nobody"
        print(f"{one['desk']}  {one['source']}, {one['pairs']} pairs, rated by: {raters}")
        if one["summary"]:
            rate = one["summary"]["win_rate"]
            alpha = one["summary"]["agreement"]
            print(
                f"  the tuned model wins {rate['value']:.0%} ({rate['low']:.0%} to {rate['high']:.0%}), "
                f"chance {rate['p']:.3f}, agreement {'not known' if alpha is None else format(alpha, '.2f')}"
            )
            for name, item in one["summary"]["dimensions"].items():
                print(
                    f"  {name:14}{item['base']:6.2f}{item['tuned']:6.2f}  {item['difference']['value']:+.2f}"
                )
        else:
            print("  blind: ended on the page, it tells which model is which")
    return DONE
