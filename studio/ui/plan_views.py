"""What a run will come to, before it starts: steps, tokens, memory by part, time, and why these values."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from studio.domain.machine import Machine
from studio.engine.memory import shares_memory, usable
from studio.engine.models import ModelInfo
from studio.ui import views
from studio.ui.i18n import Words

if TYPE_CHECKING:
    from studio.engine.fit import Fitted
    from studio.services.plan import Plan


def model_title(say: Words, info: ModelInfo) -> str:
    """A model in the list of choices: its name and size."""
    size = f"{info.parameters / 1e9:.1f} B" if info.parameters >= 1e9 else f"{info.parameters / 1e6:.0f} M"
    return say("model.title", name=info.id, size=size)


def estimate(say: Words, plan: Plan, machine: Machine) -> str:
    """The panel beside the form."""
    found = plan.estimate
    seconds = (
        say("plan.unknown")
        if found.seconds is None
        else say("plan.about", time=views.about(say, found.seconds))
    )
    stats = [
        (seconds, say("plan.time")),
        (views.count(found.steps), say("plan.steps")),
        (views.count(found.tokens), say("plan.tokens")),
        (views.count(found.trained_tokens), say("plan.trained_tokens")),
        (views.count(plan.rows), say("plan.rows")),
        (views.count(plan.held_out), say("plan.held_out")),
    ]
    grid = "".join(
        f'<div class="stat"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in stats
    )
    return (
        f'<div class="panel estimate"><p class="section-title">{escape(say("plan.title"))}</p>'
        f'<div class="stats">{grid}</div>{_memory(say, found.memory, found.fits, machine, _whose(say, plan, machine))}'
        f"{_findings(say, plan)}{_reasons(say, plan)}</div>"
    )


def fitted(say: Words, found: Fitted) -> str:
    """What was changed to make a run fit, in sentences, and what it needs now."""
    lines = "".join(f"<li>{escape(say.text(change.said))}</li>" for change in found.changes)
    key = "fit.fits" if found.fits else "fit.too_large"
    ending = say(key, need=views.size(found.need))
    offer = f"<p>{escape(say.text(found.offer.changes[0].said))}</p>" if found.offer else ""
    return (
        f'<div class="panel fitted" role="status"><p class="section-title">{escape(say("fit.title"))}</p>'
        f"<ul>{lines}</ul><p>{escape(ending)}</p>{offer}</div>"
    )


def offer(say: Words, found: Fitted) -> str:
    """The label of the button that takes another method; empty where none is needed."""
    if found.offer is None:
        return ""
    return say("fit.offer", method=say(f"choice.train.method.{found.offer.config.train.method}"))


def _whose(say: Words, plan: Plan, machine: Machine) -> str:
    """Of which processes the memory is, where there are several."""
    launch = plan.config.launch
    if not launch.several:
        return ""
    together = shares_memory(plan.config, machine)
    return say("plan.together" if together else "plan.each", count=views.count(launch.processes))


def _memory(say: Words, memory: Mapping[str, float], fits: bool, machine: Machine, whose: str = "") -> str:
    """The need as a stacked bar against what a run can use of this machine, and whether that much is free now."""
    total = memory["total"]
    parts = sorted(
        ((name, size) for name, size in memory.items() if name != "total" and size > 0), key=lambda p: -p[1]
    )
    limit = usable(machine)
    scale = max(total, limit, 1)
    bar = "".join(
        f'<i class="part-{index}" style="width:{100 * size / scale:.2f}%"></i>'
        for index, (_, size) in enumerate(parts)
    )
    lines = "".join(
        f'<li><i class="swatch part-{index}"></i><span>{escape(say(f"memory.{name}"))}</span>'
        f'<span class="num">{views.size(size)}</span></li>'
        for index, (name, size) in enumerate(parts)
    )
    kind, chip = ("good", say("plan.fits.chip")) if fits else ("bad", say("plan.too_large.chip"))
    needs, has = views.size(total), views.size(limit)
    text = say("plan.fits", total=needs, limit=has) if fits else say("plan.too_large", total=needs, limit=has)
    text = f"{text} {whose}".rstrip()
    return (
        f'<div class="memory"><p class="memory-line">{views.chip(kind, chip)} {escape(text)}</p>'
        f'<div class="bar stacked">{bar}</div><ul class="parts">{lines}</ul>'
        f"{_taken(say, total, machine) if fits else ''}</div>"
    )


def _taken(say: Words, total: float, machine: Machine) -> str:
    """A warning where other programs hold what the run will need."""
    if total <= machine.free_bytes:
        return ""
    chip = views.chip("warn", say("severity.warning"))
    text = say("plan.taken", free=views.size(machine.free_bytes))
    return f'<p class="memory-line">{chip} {escape(text)}</p>'


def _findings(say: Words, plan: Plan) -> str:
    lines = "".join(
        f"<li>{views.chip(views.CHIPS[finding.severity], say(f'severity.{finding.severity}'))} "
        f'{escape(say.text(finding.text))} <span class="muted">{escape(say.text(finding.remedy_text))}</span></li>'
        for finding in plan.findings
        if finding.severity != "info" or finding.check == "drawn"
    )
    return f'<ul class="plan-findings">{lines}</ul>' if lines else ""


def _reasons(say: Words, plan: Plan) -> str:
    lines = "".join(
        f"<li><b>{escape(say.ui.get(f'setting.{key}.label', key))}</b> {escape(say.text(reason))}</li>"
        for key, reason in plan.reasons.items()
    )
    if not lines:
        return ""
    return f'<details class="reasons"><summary>{escape(say("plan.why"))}</summary><ul>{lines}</ul></details>'
