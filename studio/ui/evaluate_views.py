"""An evaluation as HTML: what changed, by how much and how surely; every row with both answers; what was forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from studio.domain.answer import SIDES, Side
from studio.services import evaluations, ratings
from studio.services.store import Store
from studio.ui import live, views
from studio.ui.chat_views import clipped, prose
from studio.ui.i18n import Words

LOWER_IS_BETTER = frozenset({"loss", "perplexity"})
NEUTRAL = frozenset({"length_ratio"})
"""Neither more nor less of it is better as such."""
SHOWN = ("loss", "perplexity", "accuracy", "f1", "json_valid", "json_fields", "exact_match")
"""First of all, where they are there; the others after them."""
SURE = 0.05
"""From this probability of a chance result on, a difference counts as not shown."""
PERCENT = frozenset(
    {"accuracy", "f1", "json_valid", "json_fields", "exact_match", "rouge1", "rouge2", "rougeL"}
)
_ENDS = 3
"""Rows shown at once from each end of the list."""
_FORGOTTEN = 0.05
"""Nats a token of general rows, from which it is worth a word."""

Result = Mapping[str, Any]


def newest(say: Words, store: Store, run_id: str) -> str:
    """The newest evaluation of a run; not as long as people rate answers of its, which its figures would tell apart."""
    found = evaluations.latest(store, run_id) if run_id else None
    if found and ratings.is_blind(store, run_id):
        return withheld(say)
    return result(say, found) if found else ""


def withheld(say: Words) -> str:
    """In place of what tells how each side writes."""
    return f'<p class="note">{escape(say("evaluate.blind"))}</p>'


def result(say: Words, found: Result) -> str:
    """All that an evaluation found."""
    parts = [_headline(say, found), _figures(say, found)]
    if found.get("schema", evaluations.SCHEMA) < evaluations.SCHEMA:
        parts.append(f'<p class="note">{escape(say("evaluate.older"))}</p>')
    if found["samples"]:
        parts.append(_samples(say, found["samples"]))
    if found["general"]["rows"]:
        parts.append(_general(say, found))
    return "".join(parts)


def _headline(say: Words, found: Result) -> str:
    """Better, worse or not told apart: by the answers where there are some, else by the loss."""
    name = next(
        (name for name in ("json_fields", "accuracy", "chrf", "loss") if name in found["differences"]), ""
    )
    if not name:
        return ""
    apart, verdict = found["differences"][name], _verdict(name, found["differences"][name])
    before, after = (_value(name, found["metrics"][side][name]) for side in SIDES)
    told = say(f"evaluate.{verdict}", measure=say(f"measure.{name}"), before=before, after=after)
    counts = say("evaluate.on", rows=views.rows(say, found["answered"]), tokens=found["max_new_tokens"])
    left = len(found["left_out"])
    left_out = f" {say('evaluate.left_out', rows=views.rows(say, left))}" if left else ""
    kind = {"better": "good", "worse": "bad", "same": "warn"}[verdict]
    chance = say("evaluate.chance", p=_chance(apart["p"]))
    return (
        f'<div class="proof {kind}" id="evaluate-told"><p>{escape(told)} {escape(chance)}</p>'
        f'<p class="muted small">{escape(counts + left_out)}</p></div>'
    )


def _verdict(name: str, apart: Mapping[str, float]) -> str:
    if apart["p"] >= SURE or apart["value"] == 0:
        return "same"
    return "better" if (apart["value"] < 0) == (name in LOWER_IS_BETTER) else "worse"


def _figures(say: Words, found: Result) -> str:
    base, tuned = (found["metrics"][side] for side in SIDES)
    names = [*(name for name in SHOWN if name in base), *(name for name in base if name not in SHOWN)]
    lines = [_line(say, name, found) for name in names if name in tuned]
    if "accuracy" in base:
        texts = next(place for place, name in enumerate(names) if name not in (*SHOWN, *NEUTRAL))
        lines.insert(
            texts, f'<tr><td colspan="5" class="muted small">{escape(say("evaluate.of_texts"))}</td></tr>'
        )
    heads = [
        say("evaluate.measure"),
        say("chat.base"),
        say("chat.tuned"),
        say("evaluate.change"),
        say("evaluate.by_chance"),
    ]
    note = f'<p class="muted small">{escape(say("evaluate.figures.info"))}</p>'
    return views.panel(
        say("evaluate.figures"), f'<div class="measures">{views.table(heads, "".join(lines))}</div>{note}'
    )


def _line(say: Words, name: str, found: Result) -> str:
    apart = found["differences"].get(name)
    change = chance = ""
    if apart:
        kind = (
            ""
            if name in NEUTRAL
            else {"better": " good-text", "worse": " bad-text"}.get(_verdict(name, apart), "")
        )
        low, high = (_signed(name, apart[end]) for end in ("low", "high"))
        change = (
            f'<span class="num{kind}">{_signed(name, apart["value"])}</span>'
            f'<br><span class="muted small num">{low} … {high}</span>'
        )
        chance = _chance(apart["p"])
    cells = "".join(
        f'<td class="num" data-head="{escape(say(f"chat.{side}"))}">{_with_interval(name, found, side)}</td>'
        for side in SIDES
    )
    about = f'<span class="muted small measure-info">{escape(say(f"measure.{name}.info"))}</span>'
    title = f"<b>{escape(say(f'measure.{name}'))}</b><br>{about}"
    heads = {"change": change, "by_chance": f'<span class="num">{chance}</span>' if chance else ""}
    more = "".join(
        f'<td data-head="{escape(say(f"evaluate.{head}"))}">{text}</td>' for head, text in heads.items()
    )
    return f"<tr><td>{title}</td>{cells}{more}</tr>"


def _with_interval(name: str, found: Result, side: Side) -> str:
    low, high = (_value(name, end) for end in found["intervals"][side][name])
    value = _value(name, found["metrics"][side][name])
    return f'{value}<br><span class="muted small">{low} … {high}</span>'


def _value(name: str, value: float) -> str:
    if name in PERCENT:
        return f"{100 * value:.1f} %"
    if name in ("loss", "length_ratio"):
        return f"{value:.3f}"
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def _signed(name: str, value: float) -> str:
    shown = _value(name, abs(value))
    return ("−" if value < 0 else "+") + shown


def _chance(p: float) -> str:
    return "< 0.1 %" if p < 0.001 else f"{100 * p:.1f} %"


def _samples(say: Words, rows: Sequence[Mapping[str, Any]]) -> str:
    """Those that gained most and those that gained least in full, all of them folded."""
    best, worst = rows[:_ENDS], list(reversed(rows[_ENDS:]))[:_ENDS]
    parts = [
        f'<p class="section-title">{escape(say("evaluate.best"))}</p>',
        *(_sample(say, row) for row in best),
    ]
    if worst:
        parts += [
            f'<p class="section-title">{escape(say("evaluate.worst"))}</p>',
            *(_sample(say, row) for row in worst),
        ]
    rest = rows[_ENDS : len(rows) - len(worst)]
    if rest:
        body = "".join(_sample(say, row) for row in rest)
        parts.append(live.fold("evaluate-rest", say("evaluate.rest", count=len(rest)), body))
    return f'<div class="panel evaluated">{"".join(parts)}</div>'


def _sample(say: Words, row: Mapping[str, Any], name: str = "") -> str:
    # Of answers as texts the score is the chrF that stands there anyway.
    scored = any(
        abs(100 * row[side].get("score", 0) - row[side]["chrf"]) > 0.01
        for side in SIDES
        if "score" in row[side]
    )
    sides = "".join(_side(say, side, row[side], scored) for side in SIDES)
    number = name or say("evaluate.row", row=row["row"])
    messages = row.get("messages") or [{"role": "user", "content": row["prompt"]}]
    asked = f'<p class="muted small row-name">{escape(number)}</p>' + (
        f'<div class="asked">{prose(messages[0]["content"])}</div>'
        if len(messages) == 1
        else "".join(message(say, one) for one in messages)
    )
    head = f'<span class="muted small">{escape(say("chat.expected"))}</span>'
    return (
        f'<div class="round">{asked}<div class="grid-2 answers">{sides}</div>'
        f'<div class="expected">{head}{prose(row["expected"])}</div></div>'
    )


def message(say: Words, one: Mapping[str, Any]) -> str:
    """One turn of a conversation, with who says it."""
    role = escape(say(f"role.{one['role']}"))
    return f'<div class="asked"><span class="muted small">{role}</span>{prose(one["content"])}</div>'


def _side(say: Words, side: Side, answer: Mapping[str, Any], scored: bool) -> str:
    mark = f'<span class="chip chip-good">{escape(say("chat.as_expected"))}</span>' if answer["exact"] else ""
    body = prose(answer["text"]) or f'<p class="muted">{escape(say("chat.nothing"))}</p>'
    told = [
        *([say("evaluate.right", value=f"{100 * answer['score']:.0f} %")] if scored else []),
        say("evaluate.nearness", value=f"{answer['chrf']:.0f}"),
        say("chat.tokens", count=answer["tokens"]),
        say(f"chat.stop.{answer['stop_reason']}"),
    ]
    return (
        f'<section class="answer answer-{side}"><header><b>{escape(say(f"chat.{side}"))}</b>{mark}</header>'
        f'<div class="said">{body}</div><p class="cost num">{escape(" · ".join(told))}</p></section>'
    )


def _worst(say: Words, rows: Sequence[Mapping[str, Any]]) -> str:
    """Both answers to the general rows whose loss rose most."""
    if not rows:
        return ""
    body = "".join(_sample(say, row, row["task"].replace("_", " ")) for row in rows)
    title = f'<p class="section-title">{escape(say("evaluate.suffered"))}</p>'
    return f'<div class="panel evaluated">{title}{body}</div>'


def _general(say: Words, found: Result) -> str:
    """The general set before and after, by kind of task, the worst first."""
    general, rise = found["general"], found["forgetting"]
    key = "evaluate.forgot" if rise > _FORGOTTEN else "evaluate.kept"
    told = say(
        key,
        rise=f"{rise:+.3f}".replace("-", "−"),
        rows=views.rows(say, general["rows"]),
        before=f"{general['base']:.3f}",
        after=f"{general['tuned']:.3f}",
    )
    first, *heads = (
        say(key) for key in ("evaluate.task", "evaluate.rows", "chat.base", "chat.tuned", "evaluate.change")
    )
    lines = ""
    for task in general["tasks"]:
        change = _signed("loss", task["tuned"] - task["base"])
        figures = (task["rows"], f"{task['base']:.3f}", f"{task['tuned']:.3f}", change)
        cells = "".join(
            f'<td class="num" data-head="{escape(head)}">{value}</td>'
            for head, value in zip(heads, figures, strict=True)
        )
        lines += f"<tr><td>{escape(clipped(task['task'].replace('_', ' ')))}</td>{cells}</tr>"
    table = f'<div class="measures">{views.table([first, *heads], lines)}</div>'
    body = f'<p class="note">{escape(told)}</p>{table}'
    return views.panel(say("evaluate.general"), body) + _worst(say, general.get("worst", []))
