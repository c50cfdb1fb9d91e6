"""The map of a set as SVG: a mark for each row, coloured and shaped by its group, and the groups as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from studio.engine.similarity_map import CLUSTERS, Cluster, MapPoint, SimilarityMap
from studio.ui import views
from studio.ui.i18n import Words

WIDTH, HEIGHT = 640, 400
MARGIN = 12
SIZE = 4.2
"""Half of the width of a mark."""
NAMED_ROWS = 6
"""Rows of a group that the table names."""


def _polygon(corners: int, turned: float = 0.0, inner: float = 1.0) -> str:
    """A closed outline around 0 0; with `inner` below 1 a star whose every other corner lies further in."""
    places = []
    for corner in range(corners):
        angle = 2 * math.pi * (corner / corners + turned) - math.pi / 2
        reach = SIZE * (inner if corner % 2 else 1.0) * 1.15
        places.append((reach * math.cos(angle), reach * math.sin(angle)))
    first, *rest = places
    steps = [(x - a, y - b) for (a, b), (x, y) in zip(places, rest, strict=False)]
    return f"m{first[0]:.1f} {first[1]:.1f}" + "".join(f"l{x:.1f} {y:.1f}" for x, y in steps) + "z"


SHAPES = (
    f"m{-SIZE} 0a{SIZE} {SIZE} 0 1 0 {2 * SIZE} 0a{SIZE} {SIZE} 0 1 0 {-2 * SIZE} 0z",
    _polygon(4, 1 / 8),
    _polygon(3),
    _polygon(4),
    _polygon(3, 1 / 2),
    _polygon(10, 0, 0.45),
    _polygon(6),
    _polygon(8, 0, 0.4),
)
"""Circle, square, triangle, diamond, triangle on its tip, star, hexagon, cross: relative to the place of the row."""
assert len(SHAPES) == CLUSTERS


def similarity_map(say: Words, found: SimilarityMap, left: frozenset[int] | None = None) -> str:
    """The figure with its legend, which is a table that says the same in words; a sentence where there is no map.

    Of a selection, `left` are the rows that would go: their marks are hollow.
    """
    if not found.points:
        return f'<p class="muted">{escape(say("map.none"))}</p>'
    groups = "".join(
        _group(say, number, [point for point in found.points if point.cluster == number], left or frozenset())
        for number in range(len(found.clusters))
    )
    name = "map" if left is None else "selection-map"
    drawing = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(say("map.title"))}</title>'
        f'<desc id="{name}-desc">{escape(_described(say, found.clusters))}</desc>{groups}</svg>'
    )
    drawn, total = views.count(len(found.points)), views.count(found.rows)
    note = (
        say("map.note.sample", drawn=drawn, total=total)
        if len(found.points) < found.rows
        else say("map.note")
    )
    note += f" {say('map.note.hollow')}" if left else ""
    return (
        f'<figure class="row-map"><figcaption><b>{escape(say("map.title"))}</b></figcaption>{drawing}'
        f'<p class="muted small">{escape(note)}</p></figure>{_legend(say, found)}'
    )


def _group(say: Words, number: int, points: Sequence[MapPoint], left: frozenset[int]) -> str:
    marks = "".join(_mark(say, point, point.row in left) for point in points)
    return f'<g class="map-{number + 1}">{marks}</g>'


def _mark(say: Words, point: MapPoint, hollow: bool) -> str:
    x = MARGIN + point.x * (WIDTH - 2 * MARGIN)
    y = MARGIN + point.y * (HEIGHT - 2 * MARGIN)
    goes = f" ({say('map.goes')})" if hollow else ""
    return (
        f'<path class="act{" hollow" if hollow else ""}" data-row="{point.row}" '
        f'd="M{x:.1f} {y:.1f}{SHAPES[point.cluster]}"><title>{point.row}{goes}: {escape(point.text)}</title></path>'
    )


def _described(say: Words, clusters: Sequence[Cluster]) -> str:
    named = "; ".join(f"{cluster.name} ({100 * cluster.share:.0f} %)" for cluster in clusters)
    return say("map.described", groups=named)


def _legend(say: Words, found: SimilarityMap) -> str:
    heads = [say("map.group"), say("map.rows"), say("map.share"), say("map.examples")]
    lines = "".join(
        _line(number, cluster, [point for point in found.points if point.cluster == number])
        for number, cluster in enumerate(found.clusters)
    )
    return f'<div class="map-legend">{views.table(heads, lines)}</div>'


def _line(number: int, cluster: Cluster, points: Sequence[MapPoint]) -> str:
    key = (
        f'<svg class="map-key" viewBox="-6 -6 12 12" aria-hidden="true"><g class="map-{number + 1}">'
        f'<path d="M0 0{SHAPES[number]}"/></g></svg>'
    )
    rows = "".join(
        f'<button type="button" class="act row-number" data-row="{point.row}" title="{escape(point.text)}">'
        f"{point.row}</button>"
        for point in _central(points)
    )
    return (
        f'<tr><td>{key} {escape(cluster.name)}</td><td class="num">{views.count(cluster.count)}</td>'
        f'<td class="num">{100 * cluster.share:.0f} %</td><td class="row-numbers">{rows}</td></tr>'
    )


def _central(points: Sequence[MapPoint]) -> list[MapPoint]:
    """The rows in the middle of a group, in the order of the file: what it is about is seen there."""
    x = sorted(point.x for point in points)[len(points) // 2]
    y = sorted(point.y for point in points)[len(points) // 2]
    nearest = sorted(points, key=lambda point: (math.hypot(point.x - x, point.y - y), point.row))[:NAMED_ROWS]
    return sorted(nearest, key=lambda point: point.row)
