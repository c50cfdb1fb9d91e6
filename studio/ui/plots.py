"""Curves as SVG, drawn from numbers alone: a run by step, runs compared. Pure functions, colours by CSS."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape

from studio.services.progress import Progress
from studio.services.series import Point, Series
from studio.ui import axes, live
from studio.ui.axes import Axis
from studio.ui.i18n import Words

WIDTH, HEIGHT = 1000, 400
"""Units of the drawing. It is stretched over its room; labels are HTML beside it, so that they keep their size."""
DRAWN = 600
"""Points of one curve that are drawn at most."""
LISTED = 40
"""Rows of the table alternative at most, apart from those with a held-out loss."""
_GIB = 1 << 30


@dataclass(frozen=True)
class View:
    """How curves are looked at."""

    smoothing: float = 7.0
    """Percent of the run that the moving average of a noisy curve goes over; 0: it is drawn as it is."""
    log: bool = False
    """Whether equal distances are equal ratios."""

    def span(self, steps: float) -> float:
        """Steps that are averaged over: by the planned ones, so that a curve never changes afterwards."""
        return max(1.0, self.smoothing / 100 * steps)


USUAL = View()


@dataclass(frozen=True)
class Curve:
    """One line of a chart; `look` names its class in the style sheet."""

    name: str
    points: Series
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


def run_charts(say: Words, progress: Progress, view: View = USUAL) -> str:
    """All that is drawn of one run, with the same numbers as a folded table."""
    charts = (loss_chart, forgetting_charts, work_charts)
    return "".join(draw(say, progress, view) for draw in charts) + table(say, progress)


def loss_chart(say: Words, progress: Progress, view: View = USUAL) -> str:
    """Train and held-out loss of a run from its first point on."""
    losses, held_out = progress.losses, progress.held_out
    if not losses and not held_out:
        return waiting(say("plot.waiting"))
    curves = [
        *noisy(say("plot.train"), say("plot.train.smooth"), losses, progress.steps, view),
        Curve(say("plot.held_out"), held_out, "held-out", dots=True),
    ]
    labels = Labels(say("plot.loss"), _described(say, losses, held_out), say("plot.step"))
    return chart("loss", curves, progress.steps, labels, view.log)


def noisy(name: str, smooth: str, points: Series, steps: int, view: View) -> list[Curve]:
    """A curve that jumps from step to step, pale, and its moving average; or as it is where none is wanted."""
    if not view.smoothing:
        return [replace(Curve(name, points, "train"), legend=bool(smooth))]
    average = points.smoothed(view.span(steps or len(points)), DRAWN)
    return [
        Curve(name, points, "raw", legend=bool(smooth)),
        Curve(smooth, average, "train", legend=bool(smooth), read=bool(smooth)),
    ]


def forgetting_charts(say: Words, progress: Progress, view: View = USUAL) -> str:
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
            view.log,
            axes.fitted,
        )
        for name, title, points, dots in shown
        if points
    )
    return (
        f'<section class="forgetting"><h3>{escape(say("plot.forgetting"))}</h3>'
        f'<p class="muted small">{escape(say("plot.forgetting.about"))}</p>'
        f'<div class="grid-2 small-plots">{charts}</div></section>'
    )


def work_charts(say: Words, progress: Progress, view: View = USUAL) -> str:
    """Learning rate, gradient norm, speed and memory, small and side by side; empty until there are points."""
    if not progress.rates:
        return ""
    steps, plain = progress.steps, replace(view, smoothing=0.0)
    gib = Series.of(progress.memory.steps, progress.memory.values / _GIB)
    shown = [
        ("rate", say("plot.rate"), progress.rates, plain, axes.roomy),
        ("norm", say("plot.norm"), progress.norms, view, axes.roomy),
        ("speed", say("plot.speed"), progress.speeds, view, axes.roomy),
        ("memory", say("plot.memory"), gib, plain, axes.roomy),
    ]
    charts = "".join(
        chart(
            name,
            noisy(title, "", points, steps, how),
            steps,
            Labels(title, f"{title}: {_number(points[-1][1])}", say("plot.step")),
            view.log,
            axis,
        )
        for name, title, points, how, axis in shown
        if points
    )
    return live.fold("more", say("plot.more"), f'<div class="grid-2 small-plots">{charts}</div>')


def compared(say: Words, runs: Sequence[tuple[str, Progress]], view: View = USUAL) -> str:
    """Held-out, train and general loss of several runs, each kind in one chart."""
    kinds: list[tuple[str, str, Callable[[Progress], Series], bool]] = [
        ("held-out", say("plot.held_out"), lambda progress: progress.held_out, True),
        ("train", say("plot.train"), lambda progress: _average(progress, view), False),
        ("general", say("plot.general"), lambda progress: progress.general, True),
    ]
    drawn = ""
    for kind, title, points_of, dots in kinds:
        curves = [
            Curve(name, points_of(progress), f"run-{index}", dots=dots)
            for index, (name, progress) in enumerate(runs, start=1)
        ]
        curves = [curve for curve in curves if curve.points]
        if curves:
            said = "; ".join(f"{curve.name}: {_number(curve.points[-1][1])}" for curve in curves)
            labels = Labels(title, said, say("plot.step"))
            drawn += chart(f"compared-{kind}", curves, 0, labels, view.log, axes.fitted)
    return f'<div class="grid-2 compared-plots">{drawn}</div>' if drawn else waiting(say("plot.nothing"))


def _average(progress: Progress, view: View) -> Series:
    losses = progress.losses
    return losses.smoothed(view.span(progress.steps or len(losses)), DRAWN)


def waiting(text: str) -> str:
    """Where the chart will be."""
    return f'<div class="plot-empty"><p>{escape(text)}</p></div>'


def chart(
    name: str,
    curves: Sequence[Curve],
    steps: int,
    labels: Labels,
    log: bool = False,
    axis_for: Callable[[float, float], Axis] = axes.roomy,
) -> str:
    """A figure of several curves over 0 to `steps`, or as far as they reach; `name` tells it from others.

    Of all that is drawn, no curve has more than about `DRAWN` points.
    """
    curves = [replace(curve, points=curve.points.thinned(DRAWN)) for curve in curves if curve.points]
    if log:
        curves = [replace(curve, points=_above_zero(curve.points)) for curve in curves]
        curves = [curve for curve in curves if curve.points]
    if not curves:
        return ""
    last = max(steps, 1, *(math.ceil(curve.points[-1][0]) for curve in curves))
    low = min(float(curve.points.values.min()) for curve in curves)
    high = max(float(curve.points.values.max()) for curve in curves)
    axis = axes.logarithmic(low, high) if log else axis_for(low, high)
    legend = "".join(
        f'<span class="plot-key key-{curve.look}">{escape(curve.name)}</span>'
        for curve in curves
        if curve.legend
    )
    return (
        f'<figure class="plot plot-{name}"><figcaption><b>{escape(labels.title)}</b>{legend}</figcaption>'
        f'<div class="plot-body"><div class="plot-y" aria-hidden="true">{_y_labels(axis)}</div>'
        f'<div class="plot-canvas" data-plot="{escape(_readout(curves, last, labels.step))}">'
        f"{_drawing(name, curves, last, axis, labels)}</div>"
        f'<div class="plot-x" aria-hidden="true">{_x_labels(last)}</div>'
        f'<div class="plot-unit" aria-hidden="true">{escape(labels.step)}</div></div></figure>'
    )


def _drawing(name: str, curves: Sequence[Curve], last: int, axis: Axis, labels: Labels) -> str:
    def height(value: float) -> float:
        return HEIGHT * (1 - axis.share(value))

    grid = "".join(f"M0 {height(mark):.1f}H{WIDTH}" for mark in axis.marks)
    paths = "".join(
        _path(curve, [(WIDTH * x / last, height(y)) for x, y in curve.points]) for curve in curves
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-labelledby="{name}-title {name}-desc"><title id="{name}-title">{escape(labels.title)}</title>'
        f'<desc id="{name}-desc">{escape(labels.description)}</desc><path class="plot-grid" d="{grid}"/>{paths}</svg>'
    )


def _y_labels(axis: Axis) -> str:
    named = zip(axis.marks, axis.labels(), strict=True)
    return "".join(
        f'<span style="bottom:{100 * axis.share(mark):.2f}%">{text}</span>' for mark, text in named
    )


def _x_labels(last: int) -> str:
    marks = axes.step_marks(last)
    return "".join(f'<span style="left:{100 * mark / last:.2f}%">{mark:,}</span>' for mark in marks)


def _above_zero(points: Series) -> Series:
    kept = points.values > 0
    return Series.of(points.steps[kept], points.values[kept])


def _path(curve: Curve, places: Sequence[Point]) -> str:
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
        for x, y in curve.points:
            values.setdefault(x, [None] * len(read))[index] = _number(y)
    rows = [[int(x), *found] for x, found in sorted(values.items())]
    names = [[curve.name, curve.look] for curve in read]
    return json.dumps(
        {"step": step, "last": last, "names": names, "rows": rows}, separators=(",", ":"), ensure_ascii=False
    )


def table(say: Words, progress: Progress) -> str:
    """The numbers for who cannot see the curves: every evaluation, and the steps at even distances between them."""
    losses = progress.losses
    columns = [
        (say("plot.train"), losses, 1.0),
        (say("plot.held_out"), progress.held_out, 1.0),
        (say("plot.general"), progress.general, 1.0),
        (say("plot.divergence"), progress.divergence, 1.0),
        (say("plot.rate"), progress.rates, 1.0),
        (say("plot.norm"), progress.norms, 1.0),
        (say("plot.speed"), progress.speeds, 1.0),
        (say("plot.memory"), progress.memory, 1 / _GIB),
    ]
    columns = [column for column in columns if column[1]]
    if not columns:
        return ""
    every = max(1, -(-len(losses) // LISTED))
    steps = {*losses[::every].steps, *losses[-1:].steps, *progress.held_out.steps, *progress.general.steps}
    lines = "".join(
        f"<tr><td>{step:,.0f}</td>{''.join(_cell(points, step, unit) for _, points, unit in columns)}</tr>"
        for step in sorted(steps)
    )
    heads = "".join(
        f"<th>{escape(head)}</th>" for head in (say("plot.step"), *(name for name, _, _ in columns))
    )
    body = f'<table class="rows num"><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>'
    return live.fold("table", say("plot.table"), f'<div class="table-wrap tall">{body}</div>')


def _cell(points: Series, step: float, unit: float) -> str:
    value = points.at(step)
    return f"<td>{'–' if value is None else _number(unit * value)}</td>"


def _described(say: Words, losses: Series, held_out: Series) -> str:
    parts = [
        say(
            "plot.from_to",
            name=name,
            first=_number(points[0][1]),
            last=_number(points[-1][1]),
            step=f"{points[-1][0]:.0f}",
        )
        for name, points in ((say("plot.train"), losses), (say("plot.held_out"), held_out))
        if points
    ]
    return " ".join(parts)


def _number(value: float) -> str:
    """Short, and of the same precision from tick to tick.

    >>> _number(1.23456), _number(0.01234), _number(2.0), _number(1520.4)
    ('1.235', '0.01234', '2', '1,520')
    """
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
