"""What a row's trained tokens cost a model, token by token: levels to colour them by, means, and the hardest ones."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, TypedDict

from studio.ui import token_views, views
from studio.ui.i18n import Words
from studio.ui.page import Draft

Losses = Sequence[float | None]
"""Nats a token; None where it is not trained."""

EDGES = (0.1, 0.5, 1.0, 2.0, 4.0)
"""Nats at which a token's colour changes: 0.1 is a probability of 90 %, 4 one of 2 %."""
HARDEST = 10


@dataclass(frozen=True)
class Asked:
    """A row whose losses the browser wants: the settings that it shows the row by, which may not be the latest ones."""

    draft: Draft
    run: str
    """The run whose tuned model is asked too, or empty."""
    place: int
    key: str
    """Comes back with the answer, so that the browser knows what it is the answer to."""
    limit: int | None
    token: str
    """To give the question up by; it comes back too."""

    @classmethod
    def from_json(cls, data: Any) -> Asked:
        data = data if isinstance(data, dict) else {}
        place, limit = data.get("place"), data.get("limit")
        return cls(
            Draft.from_json(data.get("draft")),
            str(data.get("run") or ""),
            place if isinstance(place, int) else 0,
            str(data.get("key", "")),
            limit if isinstance(limit, int) else None,
            str(data.get("token", "")),
        )


class Heat(TypedDict):
    """Losses of one row as assets/row_view.js shows them, base first; where there is no tuned model, base alone."""

    key: str
    place: int
    token: str
    done: bool
    heads: list[str]
    levels: list[str]
    values: dict[str, list[float | None]]


def heat(
    say: Words, asked: Asked, texts: Sequence[str], base: Losses, tuned: Losses | None, run: str = ""
) -> Heat:
    """`texts` are the tokens; `run` names the tuned model."""
    sides = [base] if tuned is None else [base, tuned]
    names = [say("loss.of_base"), say("loss.of_tuned", run=run)]
    heads = [
        head(say, name, side, base if side is tuned else None, texts)
        for name, side in zip(names, sides, strict=False)
    ]
    values = {name: rounded(side) for name, side in zip(("base", "tuned"), sides, strict=False)}
    return _heat(asked, done=True, heads=heads, levels=[levels(side) for side in sides], values=values)


def _heat(
    asked: Asked,
    *,
    done: bool,
    heads: list[str],
    levels: Sequence[str] = (),
    values: Mapping[str, list[float | None]] | None = None,
) -> Heat:
    return Heat(
        key=asked.key,
        place=asked.place,
        token=asked.token,
        done=done,
        heads=heads,
        levels=list(levels),
        values=dict(values or {}),
    )


def waiting(asked: Asked, said: str) -> Heat:
    """While the losses are worked out."""
    head = sentence(said)
    return _heat(asked, done=False, heads=[head, head])


def sentence(said: str) -> str:
    """What stands where the means will be; the browser counts the seconds in it."""
    clock = '<span class="loss-clock num" aria-hidden="true"></span>'
    return f'<p class="loss-waiting muted" role="status">{escape(said)} {clock}</p>'


def failed(asked: Asked, problem: str) -> Heat:
    """Where they could not be worked out; `problem` is HTML."""
    return _heat(asked, done=True, heads=[problem])


def levels(losses: Losses) -> str:
    """One sign a token: `-` where it is not trained, else 0 (expected) to 5 (a surprise).

    >>> levels([None, 0.02, 0.3, 7.5])
    '-015'
    """
    return "".join("-" if loss is None else str(bisect_left(EDGES, loss)) for loss in losses)


def mean(losses: Losses) -> float | None:
    """
    >>> mean([None, 1.0, 2.0]), mean([None])
    (1.5, None)
    """
    known = [loss for loss in losses if loss is not None]
    return sum(known) / len(known) if known else None


def rounded(losses: Losses) -> list[float | None]:
    return [None if loss is None else round(loss, 4) for loss in losses]


def head(say: Words, name: str, losses: Losses, before: Losses | None, texts: Sequence[str]) -> str:
    """A side's name, its mean, the legend and the hardest tokens; `before` are the base model's losses."""
    average = mean(losses)
    if average is None:
        return f'<p class="muted">{escape(say("loss.nothing"))}</p>'
    tokens = sum(loss is not None for loss in losses)
    said = say(
        "loss.mean.one" if tokens == 1 else "loss.mean", loss=f"{average:.3f}", tokens=views.count(tokens)
    )
    parts = [f"<b>{escape(name)}</b> ", escape(said)]
    if before is not None:
        change = average - (mean(before) or 0.0)
        parts.append(f' <span class="num">{escape(say("loss.change", change=f"{change:+.3f}"))}</span>')
    return f'<p class="loss-mean num">{"".join(parts)}</p>{legend(say)}{hardest(say, losses, texts)}'


def legend(say: Words) -> str:
    """What the colours mean, from expected to surprising."""
    names = [f"≤ {EDGES[0]:g}", *(f"≤ {edge:g}" for edge in EDGES[1:]), f"> {EDGES[-1]:g}"]
    swatches = "".join(
        f'<span class="tok trained"><b class="h{index}">{escape(name)}</b></span>'
        for index, name in enumerate(names)
    )
    return (
        f'<p class="loss-legend heat"><span class="muted small">{escape(say("loss.low"))}</span>{swatches}'
        f'<span class="muted small">{escape(say("loss.high"))}</span></p>'
    )


def hardest(say: Words, losses: Losses, texts: Sequence[str]) -> str:
    """The tokens with the highest losses, in words."""
    known = [(loss, place) for place, loss in enumerate(losses) if loss is not None]
    top = sorted(known, reverse=True)[:HARDEST]
    lines = "".join(
        f'<tr><td class="num">{place + 1}</td><td class="mono">{token_views.visible(texts[place])}</td>'
        f'<td class="num">{loss:.3f}</td></tr>'
        for loss, place in top
    )
    heads = [say("loss.place"), say("loss.token"), say("loss.loss")]
    summary = f"<summary>{escape(say('loss.hardest'))}</summary>"
    return f'<details class="fold">{summary}{views.table(heads, lines)}</details>'
