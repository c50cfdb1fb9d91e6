"""A search over settings as HTML: what it would take, and its runs, the best first. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from studio.ui import run_views, views
from studio.ui.i18n import Words

if TYPE_CHECKING:
    from studio.services.sweeps import Cost, Place, Sweep


def cost(say: Words, found: Cost) -> str:
    """How many runs, for how long, and whether they fit."""
    if found.seconds is None:
        sentence = say("search.unknown", runs=views.count(found.runs))
    else:
        key = "search.one" if found.runs == 1 else "search.cost"
        sentence = say(key, runs=views.count(found.runs), time=views.about(say, found.seconds))
    line = f'<p class="note" role="status">{escape(sentence)}</p>'
    if not found.too_large:
        return line
    return f'{line}<p class="note note-warn">{escape(say("search.too_large", runs=found.too_large))}</p>'


def leaderboard(say: Words, sweep: Sweep, places: Sequence[Place]) -> str:
    """The runs of a search with their values, held-out loss and what they forgot."""
    forgets = any(place.forgetting is not None for place in places)
    heads = [
        "",
        *(say(f"setting.{key}.label") for key in sweep.axes),
        say("plot.held_out"),
        *([say("search.forgetting")] if forgets else []),
        say("runs.state"),
        "",
    ]
    head = "".join(f"<th>{escape(title)}</th>" for title in heads)
    body = "".join(_row(say, sweep, place, forgets) for place in places)
    return (
        f'<div class="table-wrap"><table class="rows num search"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(say: Words, sweep: Sweep, place: Place, forgets: bool) -> str:
    run = place.run
    cells = [
        str(place.rank or "–"),
        *(escape(value(place.values[key])) for key in sweep.axes),
        "–" if place.held_out_loss is None else f"{place.held_out_loss:.4f}",
        *(["–" if place.forgetting is None else f"{place.forgetting:+.3f}"] if forgets else []),
        run_views.chip(say, run) if run else escape(say("search.deleted")),
        _actions(say, run.id, place.rank is not None) if run else "",
    ]
    best = ' class="best"' if place.rank == 1 else ""
    return f"<tr{best}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def value(held: Any) -> str:
    """
    >>> value(0.0003), value(8), value("linear"), value(True)
    ('0.0003', '8', 'linear', 'true')
    """
    if isinstance(held, bool):
        return str(held).lower()
    return f"{held:.6g}" if isinstance(held, float) else str(held)


def _actions(say: Words, run: str, done: bool) -> str:
    buttons = [("use", say("search.use"))] if done else []
    shown = "".join(
        f'<button type="button" class="act quiet" data-run="{escape(run)}" data-do="{do}">{escape(label)}</button>'
        for do, label in [*buttons, ("open", say("runs.open"))]
    )
    return f'<div class="run-actions">{shown}</div>'
