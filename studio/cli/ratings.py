"""What people said of answers, and what a judge model says: `studio ratings` and `studio judge`."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.cli.parsing import add_verb
from studio.cli.printing import DONE, print_json
from studio.cli.progress import shown_progress
from studio.domain.errors import StudioError
from studio.services.store import Store

if TYPE_CHECKING:
    from studio.cli.parsing import Verbs
    from studio.services.ratings import Desk


def add_to(verbs: Verbs) -> None:
    """Declare the verb of this module."""
    show = add_verb(verbs, "ratings", ratings, "what people said of a run's answers beside the base model's")
    show.add_argument("run")
    show.add_argument("--desk", help="one comparison alone; its name is in the list")
    show.add_argument("--csv", help="write the ratings of --desk to this file")
    act = show.add_mutually_exclusive_group()
    act.add_argument("--end", action="store_true", help="end --desk: then it is told which model is which")
    act.add_argument("--delete", action="store_true", help="delete --desk, with its ratings")
    ask = add_verb(
        verbs,
        "judge",
        judge,
        "ask a model at an OpenAI-compatible endpoint which answers are better",
        goes_on=True,
    )
    ask.add_argument("run")
    ask.add_argument("--url", required=True, help="such as http://127.0.0.1:8000/v1")
    ask.add_argument("--model", required=True, help="the name that the endpoint knows it by")
    ask.add_argument("--desk", help="default: the newest comparison, or the newest evaluation's answers")
    ask.add_argument(
        "--prices", type=float, nargs=2, metavar=("READ", "WRITTEN"), help="of a million tokens, for the cost"
    )
    ask.add_argument(
        "--yes", action="store_true", help="send; the key, if any, is in the variable STUDIO_JUDGE_KEY"
    )


def ratings(options: argparse.Namespace, store: Store) -> int:
    """The comparisons of a run, and the figures of those that were ended."""
    from studio.services import ratings as desks
    from studio.services.files import write_text

    if options.csv and not options.desk:
        raise StudioError("--csv writes one comparison.", "Name it with --desk; `studio ratings` lists them.")
    if (options.end or options.delete) and not options.desk:
        raise StudioError(
            "--end and --delete are for one comparison.", "Name it with --desk; `studio ratings` lists them."
        )
    if options.end or options.delete:
        desk = desks.desk_of(store, options.run, options.desk)
        if options.delete:
            desks.delete(desk)
            return print_json({"deleted": desk.id}) if options.json else DONE
        desks.close(desk)
    found = (
        [desks.desk_of(store, options.run, options.desk)] if options.desk else desks.desks(store, options.run)
    )
    blind = desks.is_blind(store, options.run)
    if options.csv:
        desks.refuse_while_blind(store, options.run)
        write_text(Path(options.csv), desks.as_csv(found[0]))
    told: list[dict[str, Any]] = [
        {
            "desk": desk.id,
            "created": desk.created,
            "source": desk.source,
            "pairs": len(desk.pairs),
            "done": desks.done(desk),
            "closed": desk.closed or None,
            "summary": None if blind else desks.summary(desk),
            "judges": {} if blind else desks.judges(desk),
        }
        for desk in found
    ]
    if options.json:
        return print_json(told)
    for one in told:
        raters = ", ".join(f"{rater} {count}" for rater, count in one["done"].items()) or "nobody"
        print(f"{one['desk']}  {one['source']}, {one['pairs']} pairs, rated by: {raters}")
        for name, said in one["judges"].items():
            print(f"  judge {name}:")
            _print_summary(said)
        if one["summary"] and one["summary"]["ratings"]:
            print("  people:")
            _print_summary(one["summary"])
        elif blind:
            word = "ended: told" if one["closed"] else "blind: told which model is which"
            print(
                f"  {word} once all comparisons of the run are ended (on the page or with --end) or deleted"
            )
    return DONE


def judge(options: argparse.Namespace, store: Store) -> int:
    """Ask a judge model which answers are better; without --yes only what that costs."""
    from studio.services import judging
    from studio.services import ratings as desks

    known = desks.desks(store, options.run)
    desk = (
        desks.desk_of(store, options.run, options.desk)
        if options.desk
        else known[0]
        if known
        else desks.outlined(store, options.run)
    )
    endpoint = judging.Endpoint(options.url, options.model, os.environ.get("STUDIO_JUDGE_KEY", ""))
    cost = judging.cost(store, desk, endpoint, tuple(options.prices) if options.prices else None)
    if not options.yes:
        if options.json:
            return print_json({"desk": desk.id if known else None, "cost": asdict(cost)})
        price = f", about {cost.price:.4g} at these prices" if cost.price is not None else ""
        print(
            f"{desk.id if known else desk.source}: {cost.pairs} pairs, {cost.requests} requests, about "
            f"{cost.read:,} tokens to read and {cost.written:,} to write{price}. Prompts and answers go to "
            f"{endpoint.url}: add --yes to send them."
        )
        return DONE
    own = False
    if not known:
        before = {one.id for one in desks.desks(store, options.run)}
        desk = desks.from_evaluation(store, options.run)
        own = desk.id not in before
    try:
        with shown_progress() as progress:
            found = judging.judge(desk, endpoint, lambda done, total: progress("judging", done, total))
    except BaseException:
        if own:
            with suppress(StudioError, OSError):
                _settled(desk)
        raise
    if own:
        _settled(desk)
    told = replace(found, summary={}) if desks.is_blind(store, options.run) else found
    if options.json:
        return print_json({"desk": desk.id, **asdict(told)})
    if told.summary.get("ratings"):
        _print_summary(told.summary)
    elif found.summary.get("ratings"):
        print(f"Kept at {desk.id}: told once all comparisons of the run are ended (`studio ratings --end`).")
    print(f"{found.unclear} pairs unclear; {found.read:,} tokens read, {found.written:,} written")
    return DONE


def _settled(desk: Desk) -> None:
    """End a desk that was made for a judge, or delete it where it said nothing; not one where a person rates by now."""
    from studio.services import ratings as desks

    if desks.by_judges_alone(desk):
        desks.close(desk)
    elif not desks.done(desk):
        desks.delete(desk)


def _print_summary(summary: dict[str, Any]) -> None:
    rate, alpha = summary["win_rate"], summary["agreement"]
    print(
        f"    the tuned model wins {rate['value']:.0%} ({rate['low']:.0%} to {rate['high']:.0%}), "
        f"chance {rate['p']:.3f}, agreement {'not known' if alpha is None else format(alpha, '.2f')}"
    )
    for name, item in summary["dimensions"].items():
        print(f"    {name:14}{item['base']:6.2f}{item['tuned']:6.2f}  {item['difference']['value']:+.2f}")
