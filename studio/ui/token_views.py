"""One row as tokens: which are trained, masked or cut. Pure functions; every text is escaped."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from html import escape
from itertools import groupby
from typing import Literal

from studio.domain.encoded import IGNORED, Encoded
from studio.ui import views
from studio.ui.i18n import Words

Kind = Literal["trained", "masked", "cut"]
KINDS: tuple[Kind, ...] = ("trained", "masked", "cut")
SCREENFUL = 400
"""Tokens of a row's first piece at least: about what a panel shows without scrolling."""
PIECE = 2000
"""Tokens of each further piece at least, drawn once the first one is seen."""
PART = "◌"
"""Stands for a token that continues a character begun by the one before."""

# A single space between two words speaks for itself; beside other white space or at an end it does not.
_SPACE = re.compile(r"(?<=\s) | (?=\s)|\A | \Z")
_INVISIBLE = "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f"
_UNSEEN = re.compile(rf"[^\S ]|[\x00-\x1f\x7f{_INVISIBLE}]")
_JOINERS = frozenset("\u200c\u200d")
_SIGNS = {" ": "·", "\t": "⇥", "\n": "↵\n", "\r": "␍", "\u00a0": "⍽"}


def kind(encoded: Encoded, index: int) -> Kind:
    """
    >>> row = Encoded((5, 6), (IGNORED, 6), ((0, 1), (1, 2), (2, 3)), "abc", cut_ids=(7,))
    >>> [kind(row, index) for index in range(3)]
    ['masked', 'trained', 'cut']
    """
    if index >= encoded.total:
        return "cut"
    # Nothing precedes the first token, so it is never predicted.
    return "masked" if index == 0 or encoded.labels[index] == IGNORED else "trained"


def runs(encoded: Encoded) -> Iterator[tuple[Kind, list[int]]]:
    """Neighbouring tokens of one kind, as their places, in reading order."""
    for found, group in groupby(range(len(encoded.spans)), key=lambda index: kind(encoded, index)):
        yield found, list(group)


def pieces(
    encoded: Encoded, special: Collection[int], first: int = SCREENFUL, further: int = PIECE
) -> list[str]:
    """Every token of a row as HTML, in pieces to be drawn one after the other.

    A run of one kind is a `.tok`, cut where a piece ends; a token in it is a `<b>`, a special one `<b class="s">`. A
    piece ends where a line does, if one ends in good time: then the browser need not lay out again what is there.
    """
    ids = (*encoded.input_ids, *encoded.cut_ids)
    dots = _dots(encoded, special)
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


def _dots(encoded: Encoded, special: Collection[int]) -> frozenset[int]:
    """Places of the spaces that are drawn as dots: beside other white space, special tokens and the borders of runs."""
    text, spans = encoded.text, encoded.spans
    beside = [place for _, run in runs(encoded) for place in (spans[run[0]][0], spans[run[-1]][1] - 1)]
    ids = (*encoded.input_ids, *encoded.cut_ids)
    for token, (start, end) in zip(ids, spans, strict=False):
        if token in special:
            beside += [start - 1, end]
    places = {match.start() for match in _SPACE.finditer(text)}
    return frozenset(places.union(place for place in beside if 0 <= place < len(text) and text[place] == " "))


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
    part = text[start:end]
    dotted = " " in part and any(place in dots for place in range(start, end))
    if not dotted and not _UNSEEN.search(part) and not _JOINERS.issuperset(part):
        return escape(part)
    joined = _JOINERS.issuperset(
        part
    )  # alone they are a token that cannot be seen, within an emoji or a word they join

    def sign(item: tuple[int, str]) -> bool:
        place, character = item
        return place in dots if character == " " else joined or bool(_UNSEEN.match(character))

    shown = []
    for seen_as_sign, group in groupby(enumerate(part, start), key=sign):
        characters = [character for _, character in group]
        if seen_as_sign:
            signs = (_SIGNS.get(character, f"⟨{ord(character):X}⟩") for character in characters)
            shown.append(f"<em>{''.join(signs)}</em>")
        else:
            shown.append(escape("".join(characters)))
    return "".join(shown)


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


def as_text(say: Words, rows: Sequence[Encoded]) -> str:
    """The same in words, run by run, for whom colours and lines under words say nothing."""
    items = []
    for row in rows:
        position = 0
        for state, run in runs(row):
            end = max(position, row.spans[run[-1]][1])
            said = escape(row.text[position:end])
            count = (
                say("template.run.token")
                if len(run) == 1
                else say("template.run.tokens", count=views.count(len(run)))
            )
            items.append(
                f'<li class="{state}"><b>{escape(say(f"template.run.{state}"))}</b> <span>{said}</span>'
                f'<span class="num muted">{escape(count)}</span></li>'
            )
            position = end
    return f'<ol class="runs">{"".join(items)}</ol>'
