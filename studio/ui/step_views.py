"""What the rows of a dataset went through, as HTML: each step with what it did to which rows and why, and its undo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from studio.domain.history import RowChange, Step
from studio.domain.text import Text
from studio.engine.checks import CHECKS
from studio.ui import change_views, views
from studio.ui.i18n import Words

if TYPE_CHECKING:
    from studio.services.history import History

SHOWN = 20
"""Rows of one step, and records that cannot be read, that are shown."""


def steps(say: Words, found: History, changes: Mapping[int, Sequence[RowChange]]) -> str:
    """The list; `changes` holds the first SHOWN of each step. Nothing where there is no step."""
    if not found.steps:
        return ""
    items = "".join(_step(say, step, changes.get(step.number, ())) for step in found.steps)
    original = f'<button type="button" class="act quiet" data-undo="all">{escape(say("data.undo"))}</button>'
    body = f'<p class="muted small">{escape(say("step.about"))} {original}</p><ol class="data-steps">{items}</ol>'
    return views.panel(say("step.title"), body + _unusable(say, found.unusable))


def title(say: Words, step: Step) -> str:
    """What was done, in one line."""
    asked = step.asked
    if step.kind == "repair":
        names = [say.message(CHECKS[name].title) if name in CHECKS else name for name in asked["checks"]]
        return say("step.repair", checks=", ".join(names))
    if step.kind == "select":
        return say("step.select", rows=views.rows(say, asked["rows"]))
    if step.kind == "earlier":
        return say("step.earlier")
    return say(f"step.{step.kind}", row=asked["row"])


def counts(say: Words, step: Step) -> str:
    spared = len(step.asked.get("spared", ()))
    said = say("step.counts", changed=views.count(step.changed), dropped=views.count(step.dropped))
    return f"{said} {say('step.spared', count=views.count(spared))}" if spared else said


def _step(say: Words, step: Step, changes: Sequence[RowChange]) -> str:
    undo = (
        f'<button type="button" class="act plain" data-undo="{step.number}" '
        f'aria-label="{escape(say("step.undo.number", step=step.number))}">{escape(say("step.undo"))}</button>'
    )
    rows = "".join(
        change_views.change(say, change, say("step.row", row=views.count(change.row))) for change in changes
    )
    more = step.changed + step.dropped - len(changes)
    rest = (
        f'<p class="muted small">{escape(say("change.more", count=views.count(more)))}</p>'
        if more > 0
        else ""
    )
    when = f'<time class="muted small num">{escape(step.at[:16].replace("T", " "))}</time>' if step.at else ""
    return (
        f'<li class="data-step"><details><summary><b>{step.number}. {escape(title(say, step))}</b> '
        f'<span class="muted small">{escape(counts(say, step))}</span> {when}</summary>'
        f'<div class="row-changes">{rows}</div>{rest}</details>{undo}</li>'
    )


def _unusable(say: Words, records: Sequence[Mapping[str, Any]]) -> str:
    if not records:
        return ""
    lines = "".join(
        f'<li><b class="num">{escape(say("step.row", row=views.count(record["row"])))}</b> '
        f"{escape(say.text(Text.from_json(record['reason'])))}</li>"
        for record in records[:SHOWN]
    )
    more = len(records) - SHOWN
    rest = (
        f'<p class="muted small">{escape(say("change.more", count=views.count(more)))}</p>'
        if more > 0
        else ""
    )
    head = escape(say("step.unusable", count=views.count(len(records))))
    return f'<details class="passed"><summary>{head}</summary><ul class="plain-list">{lines}</ul>{rest}</details>'
