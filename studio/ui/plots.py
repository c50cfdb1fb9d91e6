"""Curves as SVG, drawn from numbers alone: loss by step, runs compared. Pure functions, colours by CSS."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from studio.ui import live
from studio.ui.i18n import Words
from studio.ui.progress import Point, Progress

WIDTH, HEIGHT = 1000, 400
"""Units of the drawing. It is stretched over its room; labels are HTML beside it, so that they keep their size."""
DRAWN = 600
"""Points of one curve that are drawn at most."""
LISTED = 40
"""Rows of the table alternative at most, apart from those with a held-out loss."""


@dataclass(frozen=True)
class Curve:
    """One line of a chart; `look` names its class in the style sheet."""

    name: str
    points: Sequence[Point]
    look: str
    dots: bool = False
    legend: bool = True
    read: bool = True
    """Whether the pointer's readout names its values."""


@dataclass(frozen=True)
class Labels:
    """What a chart says of itself, in the reader's language."""

    title: str
    description: str
    step: str


def run_charts(say: Words, progress: Progress) -> str:
    """All that is drawn of one run."""
    return f"{loss_chart(say, progress)}{forgetting_charts(say, progress)}{settings_charts(say, progress)}"


def loss_chart(say: Words, progress: Progress) -> str:
    """Train and held-out loss of a run from its first point on, with the same numbers as a folded table."""
    losses, held_out = progress.losses, progress.held_out
    if not losses and not held_out:
        return waiting(say("plot.waiting"))
    curves = [
        Curve(say("plot.train"), losses, "raw"),
        Curve(say("plot.train.smooth"), smoothed(losses, span(progress.steps)), "train", read=False),
        Curve(say("plot.held_out"), held_out, "held-out", dots=True),
    ]
    labels = Labels(say("plot.loss"), _described(say, losses, held_out), say("plot.step"))
    drawn = chart("loss", [curve for curve in curves if curve.points], progress.steps, labels)
    return f"{drawn}{loss_table(say, losses, held_out)}"


def forgetting_charts(say: Words, progress: Progress) -> str:
    """What the run forgets: loss on general rows and divergence from the start; empty where neither is gauged."""
    if not progress.general:
        return ""
    shown = [
        ("general", say("plot.general"), progress.general, True),
        ("divergence", say("plot.divergence"), progress.divergence, True),
        ("penalty", say("plot.penalty"), progress.penalties, False),
    ]
    charts = "".join(
        chart(
            name,
            [Curve(title, points, "held-out", dots=dots, legend=False)],
            progress.steps,
            Labels(title, f"{title}: {_number(points[-1][1])}", say("plot.step")),
        )
        for name, title, points, dots in shown
        if points
    )
    return (
        f'<section class="forgetting"><h3>{escape(say("plot.forgetting"))}</h3>'
        f'<p class="muted small">{escape(say("plot.forgetting.about"))}</p>'
        f'<div class="grid-2 small-plots">{charts}</div></section>'
    )


def settings_charts(say: Words, progress: Progress) -> str:
    """Learning rate and gradient norm, small and side by side; empty until there are points."""
    if not progress.rates:
        return ""
    shown = [("rate", say("plot.rate"), progress.rates), ("norm", say("plot.norm"), progress.norms)]
    charts = "".join(
        chart(
            name,
            [Curve(title, points, "train", legend=False)],
            progress.steps,
            Labels(title, title, say("plot.step")),
        )
        for name, title, points in shown
        if points
    )
    return live.fold("more", say("plot.more"), f'<div class="grid-2 small-plots">{charts}</div>')


def compared(say: Words, runs: Sequence[tuple[str, Progress]]) -> str:
    """Held-out loss of several runs in one chart; their train loss, smoothed, where none was measured."""
    curves = []
    for index, (name, progress) in enumerate(runs, start=1):
        measured = progress.held_out or smoothed(progress.losses, span(progress.steps))
        curves.append(Curve(name, measured, f"run-{index}", dots=bool(progress.held_out)))
    drawn = [curve for curve in curves if curve.points]
    if not drawn:
        return waiting(say("plot.nothing"))
    described = "; ".join(f"{curve.name}: {_number(curve.points[-1][1])}" for curve in drawn)
    labels = Labels(say("plot.compared"), described, say("plot.step"))
    return chart("compared", drawn, 0, labels)


def waiting(text: str) -> str:
    """Where the chart will be."""
    return f'<div class="plot-empty"><p>{escape(text)}</p></div>'


def chart(name: str, curves: Sequence[Curve], steps: int, labels: Labels) -> str:
    """A figure of several curves over 0 to `steps`, or as far as they reach; `name` tells it from others."""
    last = max(steps, 1, *(math.ceil(x) for curve in curves for x, _ in curve.points))
    low, high, marks = value_axis([y for curve in curves for _, y in curve.points])

    def place(point: Point) -> tuple[float, float]:
        x, y = point
        return WIDTH * x / last, HEIGHT * (high - y) / (high - low)

    def share(mark: float) -> float:
        return 100 * (mark - low) / (high - low)

    grid = "".join(f"M0 {HEIGHT * (high - mark) / (high - low):.1f}H{WIDTH}" for mark in marks)
    paths = "".join(
        _path(curve, [place(point) for point in thinned(curve.points, DRAWN)]) for curve in curves
    )
    places = decimals(marks)
    y_labels = "".join(f'<span style="bottom:{share(mark):.2f}%">{mark:.{places}f}</span>' for mark in marks)
    x_labels = "".join(
        f'<span style="left:{100 * mark / last:.2f}%">{mark:g}</span>' for mark in step_marks(last)
    )
    legend = "".join(
        f'<span class="plot-key key-{curve.look}">{escape(curve.name)}</span>'
        for curve in curves
        if curve.legend
    )
    drawing = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-labelledby="{name}-title {name}-desc"><title id="{name}-title">{escape(labels.title)}</title>'
        f'<desc id="{name}-desc">{escape(labels.description)}</desc><path class="plot-grid" d="{grid}"/>{paths}</svg>'
    )
    return (
        f'<figure class="plot plot-{name}"><figcaption><b>{escape(labels.title)}</b>{legend}</figcaption>'
        f'<div class="plot-body"><div class="plot-y" aria-hidden="true">{y_labels}</div>'
        f'<div class="plot-canvas" data-plot="{escape(_readout(curves, last, labels.step))}">{drawing}</div>'
        f'<div class="plot-x" aria-hidden="true">{x_labels}</div>'
        f'<div class="plot-unit" aria-hidden="true">{escape(labels.step)}</div></div></figure>'
    )


def _path(curve: Curve, places: Sequence[tuple[float, float]]) -> str:
    line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) if len(places) > 1 else ""
    drawn = f'<path class="plot-line line-{curve.look}" d="{line}"/>' if line else ""
    if curve.dots or len(places) == 1:
        # A stroke of no length with round ends: a dot that stays round however the drawing is stretched.
        dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)
        drawn += f'<path class="plot-dot line-{curve.look}" d="{dots}"/>'
    return drawn


def _readout(curves: Sequence[Curve], last: int, step: str) -> str:
    """What the pointer reads out: for each step the value of every curve that has one there."""
    read = [curve for curve in curves if curve.read]
    values: dict[float, list[str | None]] = {}
    for index, curve in enumerate(read):
        for x, y in thinned(curve.points, DRAWN):
            values.setdefault(x, [None] * len(read))[index] = _number(y)
    rows = [[x, *found] for x, found in sorted(values.items())]
    names = [[curve.name, curve.look] for curve in read]
    return json.dumps(
        {"step": step, "last": last, "names": names, "rows": rows}, separators=(",", ":"), ensure_ascii=False
    )


def loss_table(say: Words, losses: Sequence[Point], held_out: Sequence[Point]) -> str:
    """The same numbers for who cannot see the curve: every held-out loss, and the train loss at even distances."""
    trained, measured = dict(losses), dict(held_out)
    every = max(1, -(-len(losses) // LISTED))
    steps = sorted({*measured, *(x for x, _ in losses[::every]), *(x for x, _ in losses[-1:])})
    lines = "".join(
        f"<tr><td>{step:g}</td><td>{_listed(trained, step)}</td><td>{_listed(measured, step)}</td></tr>"
        for step in steps
    )
    heads = "".join(
        f"<th>{escape(head)}</th>" for head in (say("plot.step"), say("plot.train"), say("plot.held_out"))
    )
    table = f'<table class="rows num"><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>'
    return live.fold("table", say("plot.table"), f'<div class="table-wrap tall">{table}</div>')


def _listed(values: dict[float, float], step: float) -> str:
    return _number(values[step]) if step in values else "–"


def _described(say: Words, losses: Sequence[Point], held_out: Sequence[Point]) -> str:
    parts = [
        say(
            "plot.from_to",
            name=name,
            first=_number(points[0][1]),
            last=_number(points[-1][1]),
            step=f"{points[-1][0]:g}",
        )
        for name, points in ((say("plot.train"), losses), (say("plot.held_out"), held_out))
        if points
    ]
    return " ".join(parts)


def span(steps: int) -> int:
    """Steps that the train loss is smoothed over: by the planned steps, so that a curve never changes afterwards."""
    return min(100, max(2, steps // 15))


def smoothed(points: Sequence[Point], span: int) -> tuple[Point, ...]:
    """The exponential moving average over about `span` steps, unbiased at the start (as Adam's).

    >>> smoothed([(1, 4.0), (2, 2.0)], 3)
    ((1, 4.0), (2, 2.6666666666666665))
    """
    keep = 1 - 2 / (span + 1)
    total = weight = 0.0
    found = []
    for x, y in points:
        total, weight = keep * total + (1 - keep) * y, keep * weight + (1 - keep)
        found.append((x, total / weight))
    return tuple(found)


def thinned(points: Sequence[Point], limit: int) -> Sequence[Point]:
    """About `limit` points at most: of each stretch the lowest and the highest, so that no spike is lost, and the last.

    >>> thinned([(1, 5.0), (2, 1.0), (3, 9.0), (4, 2.0), (5, 3.0), (6, 4.0)], 4)
    [(2, 1.0), (3, 9.0), (4, 2.0), (6, 4.0)]
    """
    if len(points) <= limit:
        return points
    stretch = -(-2 * len(points) // limit)
    kept: list[Point] = []
    for start in range(0, len(points), stretch):
        part = points[start : start + stretch]
        kept.extend(sorted({min(part, key=_value), max(part, key=_value)}))
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def _value(point: Point) -> float:
    return point[1]


def value_axis(values: Iterable[float]) -> tuple[float, float, list[float]]:
    """(lowest, highest, marks) of an axis with room below the values, so that it stands still while a loss falls.

    It begins at 0 once the values fill half of the way there.

    >>> value_axis([3.1, 2.9])
    (1.0, 3.5, [1.0, 1.5, 2.0, 2.5, 3.0, 3.5])
    >>> value_axis([3.1, 0.2])
    (0.0, 4.0, [0.0, 1.0, 2.0, 3.0, 4.0])
    """
    known = list(values)
    top, bottom = max(known), min(known)
    if top <= 0:
        return -1.0, 1.0, [-1.0, 0.0, 1.0]
    floor = 0.45 * bottom if 0.45 * bottom > 0.25 * top else 0.0
    unit = nice((top - floor) / 5)
    low = math.floor(floor / unit + 1e-9)
    high = max(low + 1, math.ceil(top / unit - 1e-9))
    return low * unit, high * unit, [float(f"{mark * unit:.12g}") for mark in range(low, high + 1)]


def decimals(marks: Sequence[float]) -> int:
    """How many decimals tell all marks exactly.

    >>> decimals([0.0, 0.5, 1.0]), decimals([0.0, 0.00025]), decimals([0.0, 20.0])
    (1, 5, 0)
    """
    return max(len(f"{mark:.9f}".rstrip("0").partition(".")[2]) for mark in marks)


def step_marks(last: int) -> list[int]:
    """Whole steps to be named below the chart: about six, 0 and the end among them.

    >>> step_marks(38)
    [0, 10, 20, 30, 38]
    >>> step_marks(2)
    [0, 1, 2]
    """
    unit = max(1, int(nice(last / 6)))
    marks = [mark for mark in range(0, last, unit) if last - mark > 0.6 * unit or mark == 0]
    return [*marks, last]


def nice(length: float) -> float:
    """The next length of 1, 2 or 5 times a power of ten.

    >>> nice(0.3), nice(7), nice(12)
    (0.5, 10.0, 20.0)
    """
    power = 10.0 ** math.floor(math.log10(length))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= length * (1 - 1e-9))


def _number(value: float) -> str:
    """Short, and of the same precision from tick to tick.

    >>> _number(1.23456), _number(0.01234), _number(2.0)
    ('1.235', '0.01234', '2')
    """
    return f"{value:.4g}"
