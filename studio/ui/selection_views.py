"""A proposed selection as HTML: what would stay and go, and how the spread of the set would change."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import get_args

from studio.domain.chat import Conversation
from studio.engine.selection import Kept, Left, Selection, Share, Why
from studio.ui import views
from studio.ui.i18n import Words

EXAMPLES = 5
"""Rows shown at once of those that stay, and of those that go for each kind of reason."""
LISTED = 200
"""Rows that unfold below them."""
_WORDS = 120
"""Characters of a prompt that are shown."""


def proposal(say: Words, found: Selection, conversations: Sequence[Conversation]) -> str:
    """The whole proposal; `conversations` are those that it was made for."""
    counts = say("selection.counts", kept=views.count(len(found.kept)), all=views.count(len(conversations)))
    spreads = "".join(
        _spread(say, say(f"selection.{name}"), shares)
        for name, shares in (
            ("scores", found.histogram),
            ("tasks", found.tasks),
            ("lengths", found.lengths),
        )
    )
    kept = sorted(found.kept, key=lambda item: -item.score)
    examples = _examples(say, say("selection.kept"), kept, conversations)
    for why in get_args(Why):
        left = [item for item in found.left if item.why == why]
        title = say(f"selection.why.{why}", count=views.count(len(left)))
        examples += _examples(say, title, left, conversations)
    return (
        f'<p class="note" role="status">{escape(counts)}</p><div class="selection-spreads">{spreads}</div>'
        f'<div class="selection-examples">{examples}</div>'
    )


def _spread(say: Words, title: str, shares: Sequence[Share]) -> str:
    """A table: of each class its share of the rows before and after, in percent."""
    before, after = sum(share.before for share in shares), sum(share.after for share in shares)
    rows = "".join(
        f"<tr><th scope='row'>{escape(share.name or say('selection.other'))}</th>"
        f"<td>{_percent(share.before, before)}</td><td>{_percent(share.after, after)}</td></tr>"
        for share in shares
        if share.before
    )
    head = "".join(
        f"<th scope='col'>{escape(text)}</th>"
        for text in (title, say("selection.before"), say("selection.after"))
    )
    return (
        f'<div class="table-wrap"><table class="rows selection-spread"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} % ({views.count(part)})" if whole else "–"


def _examples(
    say: Words, title: str, items: Sequence[Kept | Left], conversations: Sequence[Conversation]
) -> str:
    if not items:
        return ""

    def lines(some: Sequence[Kept | Left]) -> str:
        rows = "".join(
            f"<li><b>{escape(say('selection.row', row=item.row))}</b> "
            f"{escape(_short(conversations[item.position].prompt))}"
            f'<br><span class="muted">{escape(say.text(item.reason))}</span></li>'
            for item in some
        )
        return f'<ul class="selection-rows">{rows}</ul>'

    more, rest = items[EXAMPLES:LISTED], len(items) - LISTED
    unfolded = ""
    if more:
        head = escape(say("selection.more", count=views.count(len(more))))
        beyond = f'<p class="muted small">{escape(say("change.more", count=views.count(rest)))}</p>'
        unfolded = f"<details><summary>{head}</summary>{lines(more)}{beyond if rest > 0 else ''}</details>"
    return f"<section><h3>{escape(title)}</h3>{lines(items[:EXAMPLES])}{unfolded}</section>"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WORDS else line[: _WORDS - 1] + "…"
