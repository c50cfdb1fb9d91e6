"""What each token of an answer was chosen from, as HTML: the answer with its doubtful tokens marked, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from studio.engine.choices import Choice, Likely
from studio.ui import live, views
from studio.ui.i18n import Words
from studio.ui.token_views import visible

_DOUBTS = ((0.9, "sure"), (0.5, "likely"), (0.1, "doubtful"), (0.0, "unlikely"))
"""Each from its probability on."""


def odds(say: Words, choices: Sequence[Choice]) -> str:
    """The tokens in their order. What one was chosen from is told beneath, of the one under pointer or focus."""
    tokens = "".join(_token(say, choice, first=place == 0) for place, choice in enumerate(choices))
    legend = "".join(
        f'<span class="odd {name}">{escape(say(f"chat.odds.{name}"))}</span>' for _, name in _DOUBTS
    )
    return (
        f'<p class="muted small">{escape(say("chat.odds.about"))}</p>'
        f'<div class="odds" role="group" aria-label="{escape(say("chat.odds"))}">{tokens}</div>'
        f'<p class="odds-said" role="status">{escape(say("chat.odds.hint"))}</p><p class="odds-legend">{legend}</p>'
        f"{live.fold('odds', say('chat.odds.table'), table(say, choices))}"
    )


def table(say: Words, choices: Sequence[Choice]) -> str:
    """The same in words."""
    lines = "".join(
        f'<tr><td>{visible(choice.chosen.text)}</td><td class="num">{percent(choice.chosen.probability)}</td>'
        f"<td>{' · '.join(_likely(other) for other in choice.others)}</td></tr>"
        for choice in choices
    )
    return views.table(
        [say("chat.odds.token"), say("chat.odds.probability"), say("chat.odds.instead")], lines
    )


def doubt(probability: float) -> str:
    """
    >>> doubt(0.95), doubt(0.09)
    ('sure', 'unlikely')
    """
    return next(name for least, name in _DOUBTS if probability >= least)


def percent(probability: float) -> str:
    """
    >>> percent(0.8374), percent(0.004), percent(0.9999)
    ('84 %', '0.4 %', '> 99.9 %')
    """
    share = 100 * probability
    if share > 99.9:
        return "> 99.9 %"
    if share < 0.1:
        return "< 0.1 %"
    return f"{share:.0f} %" if share >= 10 else f"{share:.1f} %"


def _token(say: Words, choice: Choice, *, first: bool) -> str:
    chosen = choice.chosen
    told = say(
        "chat.odds.said",
        token=_shown(chosen),
        probability=percent(chosen.probability),
        others=", ".join(f"{_shown(other)} {percent(other.probability)}" for other in choice.others),
    )
    return (
        f'<span class="odd {doubt(chosen.probability)}" tabindex="{0 if first else -1}" data-told="{escape(told)}">'
        f"{visible(chosen.text)}</span>"
    )


def _shown(likely: Likely) -> str:
    return f"“{likely.text.replace(' ', '·')}”"


def _likely(likely: Likely) -> str:
    return f'{visible(likely.text)} <span class="muted num">{percent(likely.probability)}</span>'
