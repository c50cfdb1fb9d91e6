"""Finding good settings: `studio sweep`, `studio sweeps` and `studio lr-range`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from studio.cli import parsing
from studio.cli.parsing import add_verb, add_verbs
from studio.cli.printing import DONE, print_json
from studio.cli.progress import shown_progress
from studio.domain.errors import StudioError
from studio.services.store import Store

if TYPE_CHECKING:
    from studio.cli.parsing import Verbs
    from studio.services.jobs import Jobs
    from studio.services.sweeps import Place, Sweep


def add_to(verbs: Verbs) -> None:
    """Declare the verbs of this module."""
    begin = add_verb(verbs, "sweep", sweep, "queue a run for each combination of some settings' values")
    test = add_verb(verbs, "lr-range", lr_range, "find the learning rates that a run can use")
    for parser in (begin, test):
        parser.add_argument("config", help="YAML or JSON file")
        parser.add_argument("--set", action="append", metavar="section.key=value", help="replace one setting")
    begin.add_argument(
        "--over",
        action="append",
        required=True,
        metavar="train.key=VALUE,VALUE,…",
        help="values to try of a setting; up to three times",
    )
    begin.add_argument(
        "--dry-run", action="store_true", help="only say how many runs it is and how long they take"
    )
    test.add_argument(
        "--steps", type=int, default=80, help="steps from a rate of 1e-6 to one of 0.1 (default: 80)"
    )
    inner = add_verbs(add_verb(verbs, "sweeps", list_sweeps, "all searches"))
    show_one = add_verb(inner, "show", show, "the runs of a search, the best first")
    end = add_verb(inner, "cancel", cancel, "stop all runs of a search that wait or work")
    for parser in (show_one, end):
        parser.add_argument("sweep", help="id of the search, as `studio sweeps` shows it")


def sweep(options: argparse.Namespace, store: Store) -> int:
    """Queue a run for each combination of some settings' values."""
    from studio.services import sweeps
    from studio.services.jobs import Jobs

    config, axes = parsing.config(options), _axes(options.over)
    cost = sweeps.cost(store, config, axes)
    time = f"about {cost.seconds / 60:.0f} minutes" if cost.seconds else "for how long is not known"
    print(f"{cost.runs} runs, {time}", file=sys.stderr)
    if cost.too_large:
        print(f"{cost.too_large} of them do not fit into this machine.", file=sys.stderr)
    if options.dry_run:
        return print_json({"runs": cost.runs, "seconds": cost.seconds}) if options.json else DONE
    jobs = Jobs(store)
    return _print(jobs, sweeps.start(jobs, config, axes), options.json)


def list_sweeps(options: argparse.Namespace, store: Store) -> int:
    """All searches, the newest first."""
    from studio.services import sweeps

    found = sweeps.all_of(store)
    if options.json:
        return print_json(
            [{"id": one.id, "name": one.name, "axes": one.axes, "runs": one.runs} for one in found]
        )
    if not found:
        print("No search yet. `studio sweep CONFIG --over train.rank=8,16` starts one.")
    for one in found:
        print(f"{one.id}  {one.name}  {len(one.runs)} runs over {', '.join(one.axes)}")
    return DONE


def show(options: argparse.Namespace, store: Store) -> int:
    """The runs of a search, the best first."""
    from studio.services import sweeps
    from studio.services.jobs import Jobs

    return _print(Jobs(store), sweeps.get(store, options.sweep), options.json)


def cancel(options: argparse.Namespace, store: Store) -> int:
    """Stop all runs of a search that wait or work."""
    from studio.services import sweeps
    from studio.services.jobs import Jobs

    stopped = sweeps.cancel(Jobs(store), sweeps.get(store, options.sweep))
    if options.json:
        return print_json({"stopped": stopped})
    print(f"{stopped} runs are told to stop.")
    return DONE


def lr_range(options: argparse.Namespace, store: Store) -> int:
    """Find the learning rates that a run can use."""
    from studio.services import rate_range

    if options.steps < 10:
        raise StudioError("{steps} steps are too few for a range.", "Take 60 to 100.", steps=options.steps)
    with shown_progress() as progress:
        found = rate_range.range_of(store, parsing.config(options), steps=options.steps, progress=progress)
    if options.json:
        return print_json(found.to_json())
    for rate, loss, smooth in zip(found.rates, found.losses, found.smoothed, strict=True):
        print(f"{rate:9.2e}  {loss:8.4f}  {smooth:8.4f}")
    if found.exploded:
        print("Ended early: the loss exploded.")
    if found.suggested is None:
        print("The loss did not fall at any rate, so none is suggested.")
    else:
        print(f"falls fastest at {found.steepest:.1e}, lowest at {found.lowest:.1e}")
        print(f"suggested: --set train.learning_rate={found.suggested:g}")
    return DONE


def _axes(given: list[str]) -> dict[str, list[Any]]:
    """Values by key, from `key=VALUE,VALUE`.

    >>> _axes(["train.rank=8,16", "train.scheduler=linear"])
    {'train.rank': [8, 16], 'train.scheduler': ['linear']}
    """
    axes: dict[str, list[Any]] = {}
    for item in given:
        key, equals, values = item.partition("=")
        if not equals:
            raise StudioError("--over {item} has no values.", "Write --over train.rank=8,16.", item=item)
        axes[key.strip()] = [parsing.value_of(part.strip()) for part in values.split(",") if part.strip()]
    return axes


def _print(jobs: Jobs, one: Sweep, as_json: bool) -> int:
    from studio.services import sweeps

    places = sweeps.leaderboard(jobs, one)
    if as_json:
        return print_json({"sweep": one.id, "axes": one.axes, "places": [_record(place) for place in places]})
    print(f"sweep {one.id}")
    for place in places:
        values = "  ".join(
            f"{key.partition('.')[2]} {json.dumps(value)}" for key, value in place.values.items()
        )
        state = place.run.state if place.run else "deleted"
        loss = "" if place.held_out_loss is None else f"  held-out loss {place.held_out_loss:.4f}"
        forgot = "" if place.forgetting is None else f"  forgetting {place.forgetting:+.4f}"
        print(f"{place.rank or '-':>3}  {values}{loss}{forgot}  {state}  {place.run.id if place.run else ''}")
    return DONE


def _record(place: Place) -> dict[str, Any]:
    return {
        "rank": place.rank,
        "values": place.values,
        "run": place.run.id if place.run else None,
        "state": place.run.state if place.run else "deleted",
        "held_out_loss": place.held_out_loss,
        "forgetting": place.forgetting,
    }
