"""How varied a set is, at a glance: small bars with their numbers, and the map below."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from studio.engine.similarity_map import SimilarityMap
from studio.engine.spread import MANY_TURNS, Percentiles, Spreading
from studio.engine.task_words import OTHER
from studio.ui import map_views, views
from studio.ui.i18n import Words

LISTED = 8
"""Bars of one group at most; the rest is one bar."""


def overview_html(say: Words, spread: Spreading, found: SimilarityMap, rows: int) -> str:
    """What is in the file, which has so many rows: figures, mixes, lengths, and the map."""
    return (
        f'<div class="spread">{_sampled(say, spread.rows, rows)}{_figures(say, spread)}<div class="spread-grid">'
        f"{_tasks(say, spread)}{_languages(say, spread)}{_forms(say, spread)}{_has(say, spread)}"
        f"{_turns(say, spread)}{_openings(say, spread)}</div>{_lengths(say, spread)}"
        f"{map_views.similarity_map(say, found)}</div>"
    )


def _sampled(say: Words, looked_at: int, rows: int) -> str:
    """That not all rows are looked at, where that is so."""
    if looked_at == rows:
        return ""
    note = say("spread.sampled", looked_at=views.count(looked_at), rows=views.count(rows))
    return f'<p class="note">{escape(note)}</p>'


def waiting(say: Words) -> str:
    """In its place while the rows are looked at."""
    return f'<p class="muted" role="status">{escape(say("spread.waiting"))}</p>'


def _figures(say: Words, spread: Spreading) -> str:
    answered = spread.rows - spread.forms.get("empty", 0) - spread.forms.get("call", 0)
    different = min(spread.distinct_responses, answered)
    figures = [
        (views.count(spread.rows), say("spread.row" if spread.rows == 1 else "spread.rows")),
        (views.count(different), say("spread.different.one" if different == 1 else "spread.different")),
    ]
    figures += [
        (f"{ratio:.2f}", say(f"spread.distinct.{n}")) for n, ratio in enumerate(spread.distinct_n, start=1)
    ]
    stats = "".join(
        f'<div class="stat"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for value, name in figures
    )
    note = say("spread.distinct.note", words=views.count(spread.words))
    return f'<div class="spread-figures">{stats}</div><p class="muted small">{escape(note)}</p>'


def _tasks(say: Words, spread: Spreading) -> str:
    named = [(say(f"task.{name}"), rows) for name, rows in spread.tasks.items() if name != OTHER]
    rest = [(say("task.other"), spread.tasks[OTHER])] if OTHER in spread.tasks else []
    return _bars(
        say, say("spread.tasks"), _shortened(say, named) + rest, spread.rows, say("spread.tasks.note")
    )


def _languages(say: Words, spread: Spreading) -> str:
    named = [(say(f"languages.{name}"), rows) for name, rows in spread.languages.items()]
    return _bars(say, say("spread.languages"), _shortened(say, named), spread.rows)


def _forms(say: Words, spread: Spreading) -> str:
    named = [(say(f"forms.{name}"), rows) for name, rows in spread.forms.items()]
    return _bars(say, say("spread.forms"), named, spread.rows)


def _has(say: Words, spread: Spreading) -> str:
    named = [(say(f"has.{name}"), spread.has.get(name, 0)) for name in ("system", "tools", "reasoning")]
    return _bars(say, say("spread.has"), named, spread.rows)


def _turns(say: Words, spread: Spreading) -> str:
    named = [
        (say("spread.turns.many", count=turns) if turns == MANY_TURNS else str(turns), rows)
        for turns, rows in spread.turns.items()
    ]
    return _bars(say, say("spread.turns"), named, spread.rows)


def _openings(say: Words, spread: Spreading) -> str:
    return _bars(say, say("spread.openings"), list(spread.openings.items())[:LISTED], spread.rows)


def _shortened(say: Words, named: list[tuple[str, int]]) -> list[tuple[str, int]]:
    if len(named) <= LISTED:
        return named
    return [*named[: LISTED - 1], (say("spread.rest"), sum(rows for _, rows in named[LISTED - 1 :]))]


def _bars(say: Words, title: str, named: Iterable[tuple[str, int]], rows: int, note: str = "") -> str:
    lines = "".join(_bar(name, count, rows) for name, count in named)
    said = f'<p class="muted small">{escape(note)}</p>' if note else ""
    body = f"<dl>{lines}</dl>" if lines else f'<p class="muted small">{escape(say("spread.nothing"))}</p>'
    return f"<section><h3>{escape(title)}</h3>{body}{said}</section>"


def _bar(name: str, count: int, rows: int) -> str:
    share = 100 * count / max(1, rows)
    shown = f"{share:.0f} %" if share >= 1 or not count else "< 1 %"
    return (
        f'<div class="spread-bar"><dt>{escape(name)}</dt><dd><span class="bar" aria-hidden="true">'
        f'<i style="width:{share:.1f}%"></i></span><span class="num">{views.count(count)} · {escape(shown)}</span>'
        "</dd></div>"
    )


def _lengths(say: Words, spread: Spreading) -> str:
    heads = [say("spread.lengths"), *("5 %", "25 %", "50 %", "75 %", "95 %", "99 %"), say("spread.longest")]
    lines = _length_line(say("spread.prompts"), spread.prompts) + _length_line(
        say("spread.responses"), spread.responses
    )
    return f'{views.table(heads, lines)}<p class="muted small">{escape(say("spread.lengths.note"))}</p>'


def _length_line(name: str, found: Percentiles) -> str:
    values = (found.p5, found.p25, found.p50, found.p75, found.p95, found.p99, found.longest)
    cells = "".join(f'<td class="num">{views.count(value)}</td>' for value in values)
    return f"<tr><td>{escape(name)}</td>{cells}</tr>"
