"""One row as tokens: which are trained, masked or cut. Pure functions; every text is escaped."""

from __future__ import annotations

from collections.abc import Collection
from html import escape

from studio.domain.encoded import IGNORED, Encoded
from studio.ui import views
from studio.ui.i18n import Words

DRAWN = 3000
"""Tokens drawn at most; a browser lays out no more at ease."""


def tokens(say: Words, encoded: Encoded, special: Collection[int], drawn: int = DRAWN) -> str:
    """Legend, shares and every token of a row, in reading order."""
    ids = (*encoded.input_ids, *encoded.cut_ids)
    parts: list[str] = []
    position = 0
    for index, token_id in enumerate(ids[:drawn]):
        start, end = encoded.spans[index]
        if start > position:  # text that stands for no token
            parts.append(f'<span class="gap">{_visible(encoded.text[position:start])}</span>')
        # A character of several tokens is shown at its first; the others stand as a mark.
        text = encoded.text[max(start, position) : end]
        parts.append(_token(token_id, text, kind(encoded, index), token_id in special))
        position = max(position, end)
    hidden = len(ids) - drawn
    note = (
        f'<p class="muted small">{escape(say("template.more_tokens", count=views.count(hidden)))}</p>'
        if hidden > 0
        else ""
    )
    return f'{_shares(say, encoded)}<div class="tokens">{"".join(parts)}</div>{note}'


def kind(encoded: Encoded, index: int) -> str:
    """
    >>> row = Encoded((5, 6), (IGNORED, 6), ((0, 1), (1, 2), (2, 3)), "abc", cut_ids=(7,))
    >>> [kind(row, index) for index in range(3)]
    ['masked', 'trained', 'cut']
    """
    if index >= encoded.total:
        return "cut"
    # Nothing precedes the first token, so it is never predicted.
    return "masked" if index == 0 or encoded.labels[index] == IGNORED else "trained"


def _token(token_id: int, text: str, state: str, special: bool) -> str:
    marked = " special" if special else ""
    return f'<span class="tok {state}{marked}" data-id="{token_id}">{_visible(text) or "·"}</span>'


def _visible(text: str) -> str:
    return escape(text).replace("\t", "⇥").replace("\n", '<span class="nl">↵</span>\n')


def _shares(say: Words, encoded: Encoded) -> str:
    """How many tokens are trained, masked and cut: as a bar, in words, and as the legend of the colours."""
    cut, trained = len(encoded.cut_ids), encoded.trained
    masked = encoded.total - trained
    every = max(1, encoded.total + cut)
    bar = "".join(
        f'<i class="{name}" style="width:{100 * number / every:.2f}%"></i>'
        for name, number in (("trained", trained), ("masked", masked), ("cut", cut))
        if number
    )
    legend = "".join(
        f'<span class="legend"><span class="tok {name}">{escape(say(f"template.{name}"))}</span>'
        f'<span class="num muted">{views.count(number)} · {100 * number / every:.0f} %</span></span>'
        for name, number in (("trained", trained), ("masked", masked), ("cut", cut))
    )
    head = say(
        "template.share",
        trained=views.count(trained),
        total=views.count(encoded.total + cut),
        share=round(100 * trained / every),
    )
    special = f'<span class="tok masked special">{escape(say("template.special"))}</span>'
    return (
        f'<div class="shares"><p class="share-line num">{escape(head)}</p><div class="bar token-bar">{bar}</div>'
        f'<div class="legends">{legend}<span class="legend">{special}</span></div></div>'
    )


def rendered(encoded: Encoded) -> str:
    """The text that the template makes of the row, as it is before it becomes tokens."""
    return f'<pre class="rendered">{escape(encoded.text)}</pre>'
