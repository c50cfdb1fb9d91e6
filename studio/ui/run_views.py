"""A run as HTML: state, progress, result, warnings, log. Pure functions; every text from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

import yaml

from studio.domain.config import RunConfig
from studio.domain.events import Warned
from studio.domain.run import ALIVE, RESUMABLE, Run
from studio.services import comparison
from studio.services.diagnoses import diagnoses
from studio.services.progress import Progress
from studio.ui import downloads, live, step_views, views
from studio.ui.i18n import Words

if TYPE_CHECKING:
    from studio.services.history import Taken
    from studio.services.plan import Plan

NOTHING: Mapping[str, Mapping[str, Any]] = {}
STATE_CHIPS = {
    "queued": "info",
    "starting": "info",
    "running": "info",
    "stopping": "warn",
    "stopped": "warn",
    "interrupted": "warn",
    "failed": "bad",
    "finished": "good",
}


def chip(say: Words, run: Run) -> str:
    """The run's state, as a word on a colour."""
    live = " live" if run.state in ALIVE else ""
    return (
        f'<span class="chip chip-{STATE_CHIPS[run.state]}{live}">{escape(say(f"state.{run.state}"))}</span>'
    )


def title(run: Run) -> str:
    """What a run is called, short enough for a list of choices."""
    return run.name or run.id


def continuable(run: Run) -> bool:
    """Whether it has left an adapter that another run can go on with."""
    return run.state == "finished" and run.method in ("qlora", "lora")


def choice(run: Run) -> tuple[str, str]:
    """A run as one of a list of choices; its time is this machine's."""
    made = datetime.fromisoformat(run.created.replace("Z", "+00:00")).astimezone() if run.created else None
    return (f"{title(run)} · {made:%Y-%m-%d %H:%M:%S}" if made else title(run), run.id)


def status(
    say: Words, run: Run, progress: Progress, remedies: Mapping[str, Mapping[str, Any]] = NOTHING
) -> str:
    """The head of the Training tab: what runs, how far it is, and in figures how it goes."""
    alive = run.state in ALIVE
    steps = progress.steps or run.steps
    step = progress.step
    share = min(1.0, step / steps) if steps else 0.0
    if run.state == "finished":
        share = 1.0  # also where it ended early
    return (
        f'<div class="run-head"><b class="run-name">{escape(title(run))}</b>{chip(say, run)}'
        f'<span class="muted run-phase" aria-live="polite">{escape(doing(say, run, progress))}</span></div>'
        f'<p class="muted small run-facts">{facts(say, run)}</p>'
        f"{live.bar(say, share)}"
        f'<div class="figures">{figures(say, run, progress, step, steps, alive)}</div>'
        f"{trouble(say, run, progress, remedies)}{outcome(say, run, progress)}"
    )


def also(say: Words, others: Sequence[Run]) -> str:
    """Runs that are at work while another one is looked at."""
    if not others:
        return ""
    names = "".join(
        f'<button type="button" class="act quiet" data-run="{escape(other.id)}">{escape(title(other))}</button>'
        for other in others
    )
    return f'<p class="note also">{escape(say("training.also"))} {names}</p>'


def facts(say: Words, run: Run) -> str:
    """Model, method and data, in one line."""
    method = (
        say(f"choice.train.method.{run.method}") if run.method in ("qlora", "lora", "full") else run.method
    )
    parts = (run.model, method, run.data)
    return " · ".join(escape(part) for part in parts if part)


def doing(say: Words, run: Run, progress: Progress) -> str:
    """What goes on right now, in words; empty where the state says it all."""
    if run.state == "stopping":
        return say("training.stopping")
    if run.state not in ALIVE:
        return ""
    if run.state == "queued":
        return in_line(say, run) or say("training.queued")
    if progress.phase is None:
        return say("training.starting")
    doing = say(f"phase.{progress.phase.name}")
    counted = progress.phase.name in ("evaluating", "remembering") and progress.phase.total > 0
    return f"{doing} ({progress.phase.done:.0f}/{progress.phase.total:.0f})" if counted else doing


def in_line(say: Words, run: Run) -> str:
    """The run's place in the queue, where others wait too."""
    if run.place is None or run.waiting < 2:
        return ""
    return say("runs.in_line", place=views.count(run.place), waiting=views.count(run.waiting))


def figures(say: Words, run: Run, progress: Progress, step: int, steps: int, alive: bool) -> str:
    """Steps, time, speed, memory and losses. A dash stands for what is not known yet, so that nothing moves later."""
    latest = progress.latest
    left = run.seconds_left if alive else None
    speed, memory = (latest.tokens_per_second, latest.memory_bytes) if latest else (None, None)
    shown = [
        (
            say("training.of", step=views.count(step), steps=views.count(steps)) if steps else "–",
            say("training.step"),
        ),
        (live.clock(progress.elapsed(alive), 1 if alive and progress.since else 0), say("training.elapsed")),
        *([(live.clock(left, -1) if left is not None else "–", say("training.left"))] if alive else []),
        (f"{latest.epoch:.2f}" if latest else "–", say("training.epoch")),
        (_short(latest.loss if latest else None), say("plot.train")),
        (_short(progress.held_out[-1][1] if progress.held_out else None), say("plot.held_out")),
        *(
            [(f"{progress.forgotten:+.3f}", say("training.forgotten"))]
            if progress.forgotten is not None
            else []
        ),
        (views.count(round(speed)) if speed else "–", say("training.speed")),
        (views.size(memory) if memory else "–", say("training.memory")),
    ]
    return "".join(
        f'<div class="stat"><b>{value}</b><span>{escape(name)}</span></div>' for value, name in shown
    )


def trouble(
    say: Words, run: Run, progress: Progress, remedies: Mapping[str, Mapping[str, Any]] = NOTHING
) -> str:
    """Why a run did not come to its end, and what to do."""
    if run.state == "failed" and progress.failed:
        failed = progress.failed
        text = views.error_text(say, say.text(failed.text), say.text(failed.remedy_text), failed.traceback)
        button = again(say, failed.kind, remedies)
        return text + f'<p class="note">{escape(kept(say, progress))} {button}</p>'
    if run.state == "failed":
        return views.error_text(say, say.message(run.reason) or say("state.failed"), say.message(run.remedy))
    if run.state == "interrupted":
        reason = " ".join(filter(None, (say.message(run.reason), say.message(run.remedy))))
        return f'<p class="note note-warn">{escape(reason)} {escape(kept(say, progress))}</p>'
    if run.state == "stopped":
        return f'<p class="note">{escape(kept(say, progress))}</p>'
    return ""


def kept(say: Words, progress: Progress) -> str:
    if not (progress.started or progress.saved or progress.failed):
        return say("training.not_begun")
    return (
        say("training.kept", step=views.count(progress.saved))
        if progress.saved
        else say("training.kept_nothing")
    )


def outcome(say: Words, run: Run, progress: Progress, *, in_page: bool = True) -> str:
    """Held-out loss before and after: the figure that says whether anything was learnt; `in_page` also what is next."""
    before, now = progress.baseline, progress.measured
    if run.state != "finished" or before is None or now is None:
        return ""
    better = now < before
    change = f"{abs(1 - now / before) * 100:.0f}" if before else "0"
    verdict = say("training.fell", percent=change) if better else say("training.rose", percent=change)
    if better and in_page:
        verdict = f"{verdict} {say('training.fell.next')}"
    first, last = ((_short(before), say("training.before")),), ((_short(now), say("training.after")),)
    return (
        f'<div class="outcome {"good" if better else "bad"}">{stats(first)}'
        f'<span class="arrow" aria-hidden="true">→</span>{stats(last)}<p>{escape(verdict)}</p></div>'
    )


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def notes(
    say: Words, progress: Progress, log: Sequence[str], remedies: Mapping[str, Mapping[str, Any]] = NOTHING
) -> str:
    """What its curves say, what the run warned of, and the end of its raw log.

    `remedies` are by trouble the settings that a new run would have instead.
    """
    lines = "".join(
        _warning(say, found.said, again(say, found.kind, remedies)) for found in diagnoses(progress)
    )
    lines += "".join(_warning(say, warned) for warned in progress.warnings)
    listed = (
        f'<p class="section-title">{escape(say("training.warnings"))}</p><ul class="notes">{lines}</ul>'
        if lines
        else ""
    )
    shown = f"{listed}{raw_log(say, log)}"
    return f'<div class="panel">{shown}</div>' if shown else ""


def again(say: Words, trouble: str, remedies: Mapping[str, Mapping[str, Any]]) -> str:
    """The button that starts the run anew with other settings; none where no setting would help."""
    changes = remedies.get(trouble)
    if not changes:
        return ""
    named = ", ".join(f"{say(f'setting.{key}.label')} {_set(say, value)}" for key, value in changes.items())
    label = escape(say("training.again", changes=named))
    return f'<button type="button" class="act quiet again" data-again="{escape(trouble)}">{label}</button>'


def _set(say: Words, value: Any) -> str:
    return say("form.yes") if value is True else f"{value:g}"


def _warning(say: Words, warned: Warned, button: str = "") -> str:
    chip = views.chip(views.CHIPS[warned.severity], say(f"severity.{warned.severity}"))
    remedy = f'<span class="muted">{escape(say.text(warned.remedy_text))}</span>'
    return f"<li>{chip}<span>{escape(say.text(warned.text))} {remedy}{_rows(say, warned.rows)} {button}</span></li>"


def raw_log(say: Words, log: Sequence[str]) -> str:
    if not log:
        return ""
    return live.fold("log", say("training.log"), live.raw("\n".join(log)))


def _rows(say: Words, rows: Sequence[int]) -> str:
    if not rows:
        return ""
    shown = ", ".join(map(str, rows[:20])) + (" …" if len(rows) > 20 else "")
    return f' <span class="muted num">{escape(say("training.rows", rows=shown))}</span>'


def configuration(say: Words, config: RunConfig) -> str:
    """Every setting as it was used, in the form that a config file has."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return live.fold("config", say("runs.configuration"), live.copyable(say, text))


def planned(say: Words, plan: Plan | None, data: str, waits: bool) -> str:
    """What would run, before it is started; None while that is worked out."""
    if plan is None:
        return f'<p class="muted">{escape(say("training.working_out"))}</p>'
    config, found = plan.config, plan.estimate
    seconds = (
        say("plan.unknown")
        if found.seconds is None
        else say("plan.about", time=views.duration(say, found.seconds))
    )
    shown = [
        (config.model.id, say("runs.model")),
        (say(f"choice.train.method.{config.train.method}"), say("runs.method")),
        (data, say("runs.data")),
        (views.count(plan.rows), say("plan.rows")),
        (views.count(plan.held_out), say("plan.held_out")),
        (views.count(found.steps), say("plan.steps")),
        (seconds, say("plan.time")),
        (views.size(found.memory["total"]), say("training.memory")),
    ]
    unfit = "" if found.fits else f'<p class="note note-warn">{escape(say("training.unfit"))}</p>'
    wait = f'<p class="muted small">{escape(say("training.waits"))}</p>' if waits else ""
    return f'<div class="figures">{stats(shown)}</div>{unfit}{wait}'


def stats(shown: Iterable[tuple[str, str]]) -> str:
    """Named figures side by side; both are texts."""
    return "".join(
        f'<div class="stat"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in shown
    )


@dataclass(frozen=True)
class Look:
    """What is unfolded in the list of runs: ids."""

    opened: str = ""
    deleting: str = ""
    compared: tuple[str, ...] = ()
    by: str = comparison.USUAL
    """The figure that compared runs are ordered by."""


@dataclass(frozen=True)
class Listed:
    """One run of the list; configuration, log and size only where they are looked at."""

    run: Run
    progress: Progress
    config: RunConfig | None = None
    log: Sequence[str] = ()
    size: int = 0
    taken: Sequence[Taken] = ()
    """The steps that its rows went through."""


def table(say: Words, listed: Sequence[Listed], look: Look) -> str:
    """Every run with its true state, its figures, and what can be done with it."""
    heads = "".join(
        f"<th>{escape(title)}</th>"
        for title in (
            say("runs.name"),
            say("runs.state"),
            say("runs.progress"),
            say("runs.loss"),
            say("runs.duration"),
            say("runs.created"),
        )
    )
    bodies = "".join(_item(say, one, look) for one in listed)
    return f'<table class="runs"><thead><tr>{heads}</tr></thead>{bodies}</table>'


def _item(say: Words, one: Listed, look: Look) -> str:
    run, progress = one.run, one.progress
    alive = run.state in ALIVE
    losses = (run.metrics.get("loss"), progress.held_out[-1][1] if progress.held_out else None)
    cells = (
        ("", f'<b class="run-title">{escape(title(run))}</b>'),
        ("", f'{chip(say, run)} <span class="muted small">{escape(in_line(say, run))}</span>'),
        (say("runs.progress"), _small_bar(say, run)),
        (say("runs.loss"), " / ".join(_short(loss) for loss in losses)),
        (say("runs.duration"), live.clock(progress.elapsed(alive), 1 if alive and progress.since else 0)),
        (
            say("runs.created"),
            live.moment(run.created),
        ),
    )
    row = "".join(f'<td class="num" data-label="{escape(label)}">{cell}</td>' for label, cell in cells)
    about, actions = facts(say, run), _actions(say, run, look)
    below = [f'<tr class="run-sub"><td colspan="3">{about}</td><td colspan="3">{actions}</td></tr>']
    if run.id == look.deleting:
        below.append(f'<tr class="run-more"><td colspan="6">{_confirmation(say, one)}</td></tr>')
    if run.id == look.opened:
        used = configuration(say, one.config) if one.config else ""
        shown = trouble(say, run, progress) + step_views.of_run(say, one.taken) + used + raw_log(say, one.log)
        if run.state not in ALIVE:
            shown += _taken_along(say, run)
        below.append(f'<tr class="run-more"><td colspan="6">{shown}</td></tr>')
    return f'<tbody class="run-item"><tr>{row}</tr>{"".join(below)}</tbody>'


def _small_bar(say: Words, run: Run) -> str:
    steps = say("training.of", step=views.count(run.step), steps=views.count(run.steps)) if run.steps else "–"
    bar = f'<div class="bar" aria-hidden="true"><i style="width:{100 * run.progress:.1f}%"></i></div>'
    return f'<div class="small-bar">{bar}<span>{escape(steps)}</span></div>'


def _actions(say: Words, run: Run, look: Look) -> str:
    shown = [_act(run, "open", say("runs.open"))]
    if run.place and run.place > 1:
        shown.append(_act(run, "earlier", say("runs.earlier")))
    if run.place and run.place < run.waiting:
        shown.append(_act(run, "later", say("runs.later")))
    if run.state in ALIVE and run.state != "stopping":
        shown.append(_act(run, "stop", say("runs.cancel" if run.state == "queued" else "runs.stop")))
    if run.state in RESUMABLE:
        shown.append(_act(run, "resume", say("runs.resume")))
    if continuable(run):
        shown.append(_act(run, "continue", say("runs.continue")))
    shown.append(_act(run, "compare", say("runs.compare"), run.id in look.compared))
    opened = run.id == look.opened
    shown.append(_act(run, "details", say("runs.less" if opened else "runs.details"), opened))
    shown.append(_act(run, "delete", say("runs.delete")))
    return f'<div class="run-actions">{"".join(shown)}</div>'


def _taken_along(say: Words, run: Run) -> str:
    address = escape(downloads.run_address(run.id))
    link = views.download(address, say("runs.download"))
    return f'<p class="run-archive">{link}<span class="muted small">{escape(say("runs.download.about"))}</span></p>'


def _act(run: Run, do: str, label: str, pressed: bool | None = None) -> str:
    state = "" if pressed is None else f' aria-pressed="{str(pressed).lower()}"'
    return (
        f'<button type="button" class="act quiet do-{do}" data-run="{escape(run.id)}" data-do="{do}"{state} '
        f'aria-label="{escape(label)}: {escape(title(run))}">{escape(label)}</button>'
    )


def _confirmation(say: Words, one: Listed) -> str:
    key = "runs.delete.alive" if one.run.state in ALIVE else "runs.delete.ask"
    question = say(key, name=title(one.run), size=views.size(one.size))
    yes = _act(one.run, "delete-yes", say("runs.delete.yes"))
    no = _act(one.run, "delete-no", say("runs.delete.no"))
    return f'<div class="confirm" role="alertdialog"><p>{escape(question)}</p>{yes}{no}</div>'
