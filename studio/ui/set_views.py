"""The whole set of the Template tab: how much of it is trained, how long its rows are, and which have a hazard."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from studio.domain.finding import Finding
from studio.services.preview import ELSEWHERE, Bar, Fates, Measured, Overview
from studio.ui import views
from studio.ui.i18n import Words

HASH = 12
"""Characters of a fingerprint that are shown."""
NAMED = 24
"""Rows of one hazard that are named."""


def overview(say: Words, found: Overview) -> str:
    """The panel: figures, lengths, hazards."""
    share = 100 * found.trained / max(1, found.tokens)
    stats = [
        (f"{share:.1f} %", say("set.share")),
        (views.count(found.trained), say("set.trained", tokens=views.count(found.tokens))),
        (views.count(found.fed), _rows(say, found)),
    ]
    figures = "".join(
        f'<div class="stat"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in stats
    )
    return (
        f'<div class="panel set">{_title(say)}{_drawn(say, found)}<div class="set-body">'
        f'<div class="figures">{figures}{_hash(say, found.sha256)}</div>'
        f"{lengths(say, found)}</div>{hazards(say, found.findings)}</div>"
    )


def waiting(say: Words) -> str:
    """In its place while the set is encoded."""
    return f'<div class="panel set">{_title(say)}<p class="muted set-waiting">{escape(say("set.waiting"))}</p></div>'


def drawing(say: Words) -> str:
    """In its place while the rows of a large file are drawn."""
    return failed(say, f'<p class="muted set-waiting" role="status">{escape(say("set.drawing"))}</p>')


def broken(say: Words) -> str:
    """In its place while one's own template cannot be used, which is said beneath it."""
    return failed(say, f'<p class="muted" role="status">{escape(say("set.broken"))}</p>')


def failed(say: Words, problem: str) -> str:
    """In its place where the set cannot be trained; `problem` is HTML."""
    return f'<div class="panel set failed">{_title(say)}{problem}</div>'


def of_settings(key: str, panel: str) -> str:
    """A panel with the key of the settings that it is about, so that the browser can tell when these are changed."""
    return f'<div data-settings="{key}">{panel}</div>'


def _title(say: Words) -> str:
    """With what stands there once the panel is `.stale`."""
    stale = f'<span class="set-stale" role="status">· {escape(say("set.stale"))}</span>'
    return f'<p class="section-title">{escape(say("set.title"))} {stale}</p>'


def _drawn(say: Words, found: Overview) -> str:
    """That the figures are of a part of the file."""
    return f'<p class="muted small">{escape(say.text(found.drawn))}</p>' if found.drawn else ""


def _rows(say: Words, found: Overview) -> str:
    """What the number of rows counts, and where the other rows of the set are."""
    split = found.fed > found.rows
    one = "set.rows.one" if found.fed == 1 else "set.rows"
    said = say("set.rows.more", rows=views.rows(say, found.rows)) if split else say(one)
    if found.held_out and not found.held_out.elsewhere:
        said += say("set.rows.held_out", rows=views.rows(say, found.held_out.rows))
    if found.left_out:
        said += say("set.rows.left_out", rows=views.rows(say, found.left_out))
    return said


def _hash(say: Words, sha256: str) -> str:
    return (
        f'<div class="stat"><b class="mono" tabindex="0" title="{sha256}" aria-label="{sha256}" data-whole="{sha256}">'
        f'{sha256[:HASH]}</b><span title="{escape(say("set.hash.info"))}">{escape(say("set.hash"))}</span></div>'
    )


def lengths(say: Words, found: Overview) -> str:
    """A histogram of tokens a row, with the line at which rows are too long and what becomes of those beyond it."""
    bars = found.bars
    highest = max(bar.rows for bar in bars)
    cut = sum(bar.last <= found.max_length for bar in bars)
    drawn = "".join(_bar(say, bar, highest, bar.first > found.max_length) for bar in bars)
    sentence = over(say, found)
    line = f'<i class="cut-line" style="left:{100 * cut / len(bars):.2f}%"></i>' if found.over else ""
    return (
        f'<figure class="lengths"><figcaption><b>{escape(say("set.lengths"))}</b></figcaption>'
        f'<div class="length-bars" role="img" aria-label="{escape(described(say, found))}">{drawn}{line}</div>'
        f"{_axis(say, found, 100 * cut / len(bars))}"
        f'<p class="small{"" if found.over else " muted"}">{escape(sentence)}</p>{_held_out(say, found)}</figure>'
    )


def _bar(say: Words, bar: Bar, highest: int, beyond: bool) -> str:
    rows = views.rows(say, bar.rows)
    if bar.first == bar.last:
        text = say("set.bar.one", tokens=views.tokens(say, bar.last), rows=rows)
    else:
        text = say("set.bar", first=views.count(bar.first), last=views.count(bar.last), rows=rows)
    height = max(2.0, 100 * bar.rows / highest) if bar.rows else 0
    return f'<span title="{escape(text)}"><i{" class=over" if beyond else ""} style="height:{height:.1f}%"></i></span>'


def _axis(say: Words, found: Overview, cut: float) -> str:
    """What stands below the bars: where they begin and end, and the maximum where it lies between."""
    marks = [
        "<span>1</span>",
        f"<span>{escape(say('set.longest', tokens=views.count(found.longest)))}</span>",
    ]
    if found.over:
        # Near an end the name would run into that of the end.
        side = "left" if cut > 50 else "right"
        name = escape(say("set.maximum", tokens=views.count(found.max_length)))
        marks.append(f'<span class="cut-name {side}" style="left:{cut:.2f}%">{name}</span>')
    return f'<div class="length-axis num" aria-hidden="true">{"".join(marks)}</div>'


def described(say: Words, found: Overview) -> str:
    """The histogram in words."""
    return say(
        "set.described",
        median=views.count(found.median),
        longest=views.count(found.longest),
        maximum=views.count(found.max_length),
        over=views.rows(say, found.over),
    )


def over(say: Words, found: Overview) -> str:
    """How many rows are too long, and what becomes of how many of them."""
    maximum = views.count(found.max_length)
    if not found.over:
        return say("set.over.none", maximum=maximum)
    return " ".join(
        [say("set.over", rows=views.rows(say, found.over), maximum=maximum), *_fates(say, found.fates)]
    )


def _held_out(say: Words, found: Overview) -> str:
    """The lengths of the rows that are measured on, which are not among the bars."""
    if not found.held_out:
        return ""
    sentence = escape(measured(say, found.held_out, found.max_length))
    return f'<p class="small{"" if found.held_out.over else " muted"}">{sentence}</p>'


def measured(say: Words, held_out: Measured, max_length: int) -> str:
    """How long held-out rows are, and on what of them the evaluation loss is measured."""
    longest = views.count(held_out.longest)
    said = [say("set.held_out", rows=views.rows(say, held_out.rows), longest=longest)]
    if held_out.over:
        over = views.rows(say, held_out.over)
        said += [say("set.over", rows=over, maximum=views.count(max_length)), *_fates(say, held_out.fates)]
    if held_out.fates.cut or held_out.unfed:
        said.append(say("set.held_out.part", rows=views.rows(say, held_out.rows - held_out.unfed)))
    return " ".join(said)


def _fates(say: Words, fates: Fates) -> list[str]:
    said = []
    if fates.cut:
        said.append(
            say("set.over.cut", rows=views.rows(say, fates.cut), tokens=views.tokens(say, fates.cut_tokens))
        )
    if fates.left_out:
        said.append(say("set.over.left_out", rows=views.rows(say, fates.left_out)))
    if fates.split:
        said.append(
            say("set.over.split", rows=views.rows(say, fates.split), parts=views.rows(say, fates.parts))
        )
    if fates.kept:
        said.append(say("set.over.kept", rows=views.rows(say, fates.kept)))
    return said


def hazards(say: Words, findings: Sequence[Finding]) -> str:
    """Each hazard by name, with its count and rows."""
    if not findings:
        return f'<p class="all-clear">{escape(say("set.clear"))}</p>'
    listed = "".join(_hazard(say, item) for item in findings)
    return f'<div class="hazards"><h3>{escape(say("set.hazards"))}</h3>{listed}</div>'


def _hazard(say: Words, item: Finding) -> str:
    chip = views.chip(views.CHIPS[item.severity], say(f"severity.{item.severity}"))
    first = item.rows[:NAMED]
    numbers = "".join(
        f'<button type="button" class="row-number" data-row="{row}">{row}</button>' for row in first
    )
    if item.check in ELSEWHERE:
        numbers = f'<span class="muted small num">{", ".join(map(str, first))}</span>'
    more = item.count - NAMED
    rest = (
        f'<span class="muted small">{escape(say("data.more_rows", count=views.count(more)))}</span>'
        if more > 0
        else ""
    )
    return (
        f'<div class="finding"><details><summary>{chip} <b>{escape(say(f"hazard.{item.check}"))}</b> '
        f'<span class="muted num">{escape(views.rows(say, item.count))}</span></summary><div class="more">'
        f"<p>{escape(say.text(item.text))}</p><p>{escape(say.text(item.remedy_text))}</p></div></details>"
        f'<div class="row-numbers">{numbers}{rest}</div></div>'
    )
