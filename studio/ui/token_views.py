"""One row as tokens: which are trained, masked or cut. Pure functions; every text is escaped."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape

from studio.domain import visible_text
from studio.domain.encoded import Encoded
from studio.domain.visible_text import KINDS, runs
from studio.ui import views
from studio.ui.i18n import Words

SCREENFUL = 400
"""Tokens of a row's first piece at least: about what a panel shows without scrolling."""
PIECE = 2000
"""Tokens of each further piece at least, drawn once the first one is seen."""
PART = "◌"
"""Stands for a token that continues a character begun by the one before."""


def pieces(
    encoded: Encoded, special: Collection[int], first: int = SCREENFUL, further: int = PIECE
) -> list[str]:
    """Every token of a row as HTML, in pieces to be drawn one after the other.

    A run of one kind is a `.tok`, cut where a piece ends; a token in it is a `<b>`, a special one `<b class="s">`. A
    piece ends where a line does, if one ends in good time: then the browser need not lay out again what is there.
    """
    ids = (*encoded.input_ids, *encoded.cut_ids)
    dots = visible_text.dots(encoded, special)
    done: list[str] = []
    parts: list[str] = []
    drawn, room, position = 0, first, 0
    for state, run in runs(encoded):
        parts.append(f'<span class="tok {state}">')
        for index in run:
            full = drawn >= room and encoded.text[position - 1 : position] == "\n"
            if full or drawn >= 2 * room:
                done.append("".join([*parts, "</span>"]))
                parts, drawn, room = [f'<span class="tok {state}">'], 0, further
            start, end = encoded.spans[index]
            if start > position:  # text that stands for no token
                parts.append(f"<i>{_visible(encoded.text, position, start, dots)}</i>")
            # A character of several tokens is shown at its first.
            shown = _visible(encoded.text, max(start, position), end, dots) or PART
            parts.append(f'<b class="s">{shown}</b>' if ids[index] in special else f"<b>{shown}</b>")
            position = max(position, end)
            drawn += 1
        parts.append("</span>")
    rest = _visible(encoded.text, position, len(encoded.text), dots)
    return [*done, "".join([*parts, f"<i>{rest}</i>" if rest else ""])]


def visible(text: str) -> str:
    """One token by itself as HTML, every space a dot.

    >>> visible(" a")
    '<em>·</em>a'
    """
    return _visible(text, 0, len(text), range(len(text))) or PART


def _visible(text: str, start: int, end: int, dots: Collection[int]) -> str:
    """`text[start:end]` as HTML in which white space and invisible characters are seen.

    >>> _visible("a  b\\n", 0, 5, {1, 2})
    'a<em>··</em>b<em>↵\\n</em>'
    """
    signed = ((is_sign, escape(part)) for is_sign, part in visible_text.signed(text, start, end, dots))
    return "".join(f"<em>{part}</em>" if is_sign else part for is_sign, part in signed)


def shares(say: Words, rows: Sequence[Encoded]) -> str:
    """How many tokens are trained, masked and cut: in words, as a bar, and as the legend of the colours."""
    counts = {"trained": sum(row.trained for row in rows), "cut": sum(len(row.cut_ids) for row in rows)}
    kept = sum(row.total for row in rows)
    counts["masked"] = kept - counts["trained"]
    every = max(1, kept + counts["cut"])
    bar = "".join(
        f'<i class="{name}" style="width:{100 * counts[name] / every:.2f}%"></i>'
        for name in KINDS
        if counts[name]
    )
    legend = "".join(
        f'<span class="legend"><span class="tok {name}"><b>{escape(say(f"template.{name}"))}</b></span>'
        f'<span class="num muted">{views.count(counts[name])} · {100 * counts[name] / every:.0f} %</span></span>'
        for name in KINDS
    )
    special = f'<span class="tok masked"><b class="s">{escape(say("template.special"))}</b></span>'
    head = say(
        "template.share",
        trained=views.count(counts["trained"]),
        total=views.count(kept + counts["cut"]),
        share=round(100 * counts["trained"] / every),
    )
    return (
        f'<div class="shares"><p class="share-line num">{escape(head)}</p><div class="bar token-bar">{bar}</div>'
        f'<div class="legends">{legend}<span class="legend">{special}</span></div></div>'
    )


def as_text(say: Words, rows: Sequence[Encoded], special: Collection[int]) -> str:
    """The same in words, run by run, for whom colours and lines under words say nothing.

    A special token is named as one, so that its mere spelling in a row's text is not taken for it.
    """
    items = []
    for row in rows:
        dots = visible_text.dots(row, special)
        for run in visible_text.stretches(row, special):
            said = "".join(_said(say, row.text, part, dots) for part in run.parts)
            items.append(
                f'<li class="{run.kind}"><b>{escape(say(f"template.run.{run.kind}"))}</b> <span>{said}</span>'
                f'<span class="num muted">{escape(views.tokens(say, run.tokens))}</span></li>'
            )
    legend = f'<p class="muted small">{escape(say("template.run.legend"))}</p>'
    return f'{legend}<ol class="runs">{"".join(items)}</ol>'


def _said(say: Words, text: str, part: visible_text.Part, dots: Collection[int]) -> str:
    shown = _visible(text, part.start, part.end, dots)
    return f'<b class="s"><i>{escape(say("template.run.special"))} </i>{shown}</b>' if part.special else shown
