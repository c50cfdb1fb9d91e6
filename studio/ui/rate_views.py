"""A learning-rate range test as HTML: the loss against the rate on a logarithmic axis, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from studio.engine.rate_range import HIGHEST, LOWEST, RangeTest
from studio.ui import axes, live, plots
from studio.ui.axes import Axis
from studio.ui.i18n import Words
from studio.ui.plots import HEIGHT, WIDTH


def result(say: Words, found: RangeTest) -> str:
    """The curve, in sentences what it shows, and its numbers folded away."""
    if not found.rates:
        return plots.waiting(say("rates.nothing"))
    return f"{_chart(say, found)}{''.join(f'<p>{escape(line)}</p>' for line in _said(say, found))}{_table(say, found)}"


def number(rate: float) -> str:
    """
    >>> number(0.0003), number(0.00123), number(0.02)
    ('3e-4', '1.2e-3', '2e-2')
    """
    digits, _, power = f"{rate:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{int(power)}"


def _said(say: Words, found: RangeTest) -> list[str]:
    lines = [say("rates.exploded", rate=number(found.rates[-1]))] if found.exploded else []
    if found.steepest is None or found.lowest is None or found.suggested is None:
        return [*lines, say("rates.never")]
    falls = say("rates.falls", steepest=number(found.steepest), lowest=number(found.lowest))
    return [*lines, f"{falls} {say('rates.suggested', rate=number(found.suggested))}"]


def _chart(say: Words, found: RangeTest) -> str:
    upright = axes.roomy(min(found.smoothed), max(found.smoothed))
    curves = [("raw", say("plot.train"), found.losses), ("train", say("plot.train.smooth"), found.smoothed)]
    grid = "".join(f"M0 {_height(upright, mark):.1f}H{WIDTH}" for mark in upright.marks)
    lines = "".join(
        f'<path class="plot-line line-{look}" d="{_line(upright, found.rates, losses)}"/>'
        for look, _, losses in curves
    )
    named = zip(upright.marks, upright.labels(), strict=True)
    values = "".join(
        f'<span style="bottom:{100 * upright.share(mark):.2f}%">{text}</span>' for mark, text in named
    )
    legend = "".join(f'<span class="plot-key key-{look}">{escape(name)}</span>' for look, name, _ in curves)
    title = escape(say("rates.plot"))
    return (
        f'<figure class="plot plot-rates"><figcaption><b>{title}</b>{legend}</figcaption><div class="plot-body">'
        f'<div class="plot-y" aria-hidden="true">{values}</div><div class="plot-canvas">{_suggestion(found)}'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{title}">'
        f'<path class="plot-grid" d="{grid}"/>{lines}</svg></div>'
        f'<div class="plot-x" aria-hidden="true">{_powers()}</div>'
        f'<div class="plot-unit" aria-hidden="true">{escape(say("plot.rate"))}</div></div></figure>'
    )


def _height(upright: Axis, loss: float) -> float:
    """Units from the top of the drawing; what is beyond the axis, as a single wild step may be, stands at its end."""
    return HEIGHT * (1 - upright.share(min(upright.high, max(upright.low, loss))))


def _line(upright: Axis, rates: Sequence[float], losses: Sequence[float]) -> str:
    places = zip(rates, losses, strict=True)
    return "M" + "L".join(f"{WIDTH * _share(rate):.1f} {_height(upright, loss):.1f}" for rate, loss in places)


def _suggestion(found: RangeTest) -> str:
    """An upright line at the suggested rate, with its number."""
    if found.suggested is None:
        return ""
    place = 100 * _share(found.suggested)
    side = " left" if place > 80 else ""
    return f'<i class="rate-mark{side}" style="left:{place:.2f}%"><span>{number(found.suggested)}</span></i>'


def _powers() -> str:
    powers = range(round(math.log10(LOWEST)), round(math.log10(HIGHEST)) + 1)
    return "".join(
        f'<span style="left:{100 * _share(10.0**power):.2f}%">1e{power}</span>' for power in powers
    )


def _share(rate: float) -> float:
    """Where a rate stands between the lowest and the highest, 0 to 1."""
    return math.log(rate / LOWEST) / math.log(HIGHEST / LOWEST)


def _table(say: Words, found: RangeTest) -> str:
    rows = "".join(
        f"<tr><td>{number(rate)}</td><td>{loss:.4g}</td><td>{smooth:.4g}</td></tr>"
        for rate, loss, smooth in zip(found.rates, found.losses, found.smoothed, strict=True)
    )
    heads = (say("plot.rate"), say("plot.train"), say("plot.train.smooth"))
    head = "".join(f"<th>{escape(title)}</th>" for title in heads)
    table = f'<table class="rows num"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return live.fold("rates", say("plot.table"), f'<div class="table-wrap tall">{table}</div>')
