"""Runs side by side as HTML: a table that can be put in order, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from studio.services.comparison import Candidate, differences, ordered
from studio.ui import live
from studio.ui.i18n import Words

_LONGEST = 80
"""Letters of a setting's value that are shown."""
_COLUMNS = {
    "held_out_loss": "plot.held_out",
    "held_out_loss_before": "training.before",
    "train_loss": "plot.train",
    "forgetting": "training.forgotten",
    "seconds": "runs.duration",
    "steps": "plan.steps",
    "learning_rate": "setting.train.learning_rate.label",
    "rank": "setting.train.rank.label",
    "epochs": "setting.train.epochs.label",
}


def table(say: Words, found: Sequence[Candidate], by: str) -> str:
    """The figures of runs, by one of which they are ordered; a click on a head orders by it."""
    heads = "".join(_head(say, name, say(title), by) for name, title in _COLUMNS.items())
    places = {one.run.id: place for place, one in enumerate(found, start=1)}
    rows = "".join(_row(say, one, places[one.run.id]) for one in ordered(found, by))
    return (
        f'<div class="table-wrap"><table class="rows num compared-table"><thead><tr>'
        f"<th>{escape(say('runs.name'))}</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _head(say: Words, name: str, title: str, by: str) -> str:
    state = ' aria-sort="ascending"' if name == by else ""
    label = escape(say("runs.order_by", figure=title))
    button = (
        f'<button type="button" class="act plain" data-do="order" data-by="{name}" title="{label}">'
        f"{escape(title)}{' ↑' if name == by else ''}</button>"
    )
    return f"<th{state}>{button}</th>"


def _row(say: Words, one: Candidate, place: int) -> str:
    name = f'<span class="plot-key key-run-{place}">{escape(one.run.name or one.run.id)}</span>'
    cells = "".join(f"<td>{_figure(name, one.figure(name))}</td>" for name in _COLUMNS)
    return f"<tr><td>{name}</td>{cells}</tr>"


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    if name == "seconds":
        return live.clock(value, 0)
    if name == "forgetting":
        return f"{value:+.3f}"
    return f"{value:.3f}" if "loss" in name else f"{value:,.6g}"


def settings(say: Words, found: Sequence[Candidate]) -> str:
    """The settings in which the runs differ, and nothing of those that are the same."""
    different = differences(found)
    if not different:
        return f'<p class="muted">{escape(say("runs.same_settings"))}</p>'
    heads = "".join(f"<th>{escape(one.run.name or one.run.id)}</th>" for one in found)
    lines = "".join(
        f'<tr><th scope="row">{escape(say(f"setting.{key}.label"))}</th>'
        + "".join(f"<td>{escape(_shown(say, value))}</td>" for value in values)
        + "</tr>"
        for key, values in different.items()
    )
    return (
        f'<p class="section-title">{escape(say("runs.differences"))}</p><div class="table-wrap">'
        f'<table class="rows compared-table"><thead><tr><th></th>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _shown(say: Words, value: Any) -> str:
    if value is None or value == []:
        return "–"
    if isinstance(value, bool):
        return say("form.yes" if value else "form.no")
    if isinstance(value, float):
        return f"{value:.6g}"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _LONGEST else f"… {text[-_LONGEST:]}"
