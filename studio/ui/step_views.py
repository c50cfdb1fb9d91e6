"""What the rows of a dataset went through, as HTML: each step with what it did to which rows and why, and its undo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from studio.domain.history import Step
from studio.domain.text import Text
from studio.ui import change_views, live, views
from studio.ui.i18n import Words

if TYPE_CHECKING:
    from studio.services.history import Taken

SHOWN = 20
"""Rows of one step, and records that cannot be read, that are shown."""


def steps(say: Words, taken: Sequence[Taken], unusable: Sequence[Mapping[str, Any]]) -> str:
    """The list, and the records that never were rows; nothing where there is no step."""
    if not taken:
        return ""
    items = "".join(_step(say, one) for one in taken)
    original = f'<button type="button" class="act quiet" data-undo="all">{escape(say("data.undo"))}</button>'
    body = f'<p class="muted small">{escape(say("step.about"))} {original}</p><ol class="data-steps">{items}</ol>'
    return views.panel(say("step.title"), body + _unusable(say, unusable))


def of_run(say: Words, taken: Sequence[Taken]) -> str:
    """The steps that a run's rows went through before; nothing where there were none."""
    if not taken:
        return ""
    items = "".join(
        f"<li><b>{one.step.number}. {escape(title(say, one))}</b> "
        f'<span class="muted small">{escape(counts(say, one.step))}</span></li>'
        for one in taken
    )
    return live.fold("steps", say("runs.steps", count=len(taken)), f'<ul class="data-steps">{items}</ul>')


def title(say: Words, one: Taken) -> str:
    """What was done, in one line."""
    return f"{say.text(one.what)} {', '.join(map(say.text, one.names))}".strip()


def counts(say: Words, step: Step) -> str:
    spared = len(step.asked.get("spared", ()))
    said = say("step.counts", changed=views.count(step.changed), dropped=views.count(step.dropped))
    return f"{said} {say('step.spared', count=views.count(spared))}" if spared else said


def _step(say: Words, one: Taken) -> str:
    step = one.step
    undo = (
        f'<button type="button" class="act plain" data-undo="{step.number}" '
        f'aria-label="{escape(say("step.undo.number", step=step.number))}">{escape(say("step.undo"))}</button>'
    )
    rows = "".join(
        change_views.change(say, change, say("step.row", row=views.count(change.row)))
        for change in one.changes
    )
    more = escape(say("change.more", count=views.count(one.more)))
    rest = f'<p class="muted small">{more}</p>' if one.more else ""
    when = (
        f'<time class="muted small num">{escape(step.at[:16].replace("T", " "))} UTC</time>'
        if step.at
        else ""
    )
    return (
        f'<li class="data-step"><details><summary><b>{step.number}. {escape(title(say, one))}</b> '
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
