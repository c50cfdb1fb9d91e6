"""The blind desk as HTML: the desks of a run, a pair of answers to be rated, and what came of it once all is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from studio.domain.answer import SIDES
from studio.engine.ratings import DIMENSIONS, LEAST, MOST
from studio.services import ratings
from studio.services.ratings import PLACES, Desk, Shown
from studio.ui import live, views
from studio.ui.chat_views import prose
from studio.ui.evaluate_views import message
from studio.ui.i18n import Words

Summary = Mapping[str, Any]
SURE = 0.05
"""From this probability of a chance result on, nobody is said to have won."""
_TRUST = (0.8, "high"), (0.667, "fair"), (-1.0, "low")
"""Krippendorff's own limits for alpha (Content Analysis, 2004): from 0.8 on reliable, from 0.667 on tentative."""


def shell() -> str:
    """What stays while pairs come and go."""
    return '<div class="desk" tabindex="-1"></div><div class="desk-problem" role="alert"></div>'


def listed(say: Words, desks: Sequence[Desk], opened: str, ending: str, deleting: str = "") -> str:
    """The desks of a run; `opened` is at work, and of `ending` and `deleting` it is asked whether that is really meant.

    What came of the ended ones waits for those that are blind: it is the same models that are told apart there.
    """
    blind = any(not desk.closed for desk in desks)
    return "".join(
        _entry(say, desk, desk.id == opened, desk.id == ending, desk.id == deleting, blind) for desk in desks
    )


def _entry(say: Words, desk: Desk, opened: bool, ending: bool, deleting: bool, blind: bool) -> str:
    done = ratings.done(desk)
    said = [
        say("rating.rater", rater=rater, done=count, total=len(desk.asked)) for rater, count in done.items()
    ]
    source = say(f"rating.from.{desk.source}") if desk.source in ("held_out", "prompts") else desk.source
    head = (
        f"<b>{escape(source)}</b> {live.moment(desk.created, 'muted small')} "
        f"{views.chip('info', say('rating.blind')) if not desk.closed else views.chip('good', say('rating.told'))}"
    )
    told = " · ".join(said) or say("rating.nobody")
    question = ""
    if deleting:
        acts = [_act(say("rating.delete.yes"), "delete", desk), _act(say("rating.delete.no"), "keep", desk)]
        question = say("rating.delete.sure")
    elif desk.closed:
        acts = [_act(say("rating.results"), "results", desk), _act(say("rating.csv"), "csv", desk)]
        if blind:
            acts, question = [], say("rating.waits")
        acts.append(_act(say("rating.delete"), "discard", desk))
    elif ending:
        question = say("rating.end.sure")
        acts = [_act(say("rating.end.yes"), "end", desk), _act(say("rating.end.no"), "keep", desk)]
    else:
        acts = [_act(say("rating.rate"), "rate", desk)]
        acts += [_act(say("rating.end"), "ask", desk)] if done else []
        acts.append(_act(say("rating.delete"), "discard", desk))
    asked = f'<p class="note">{escape(question)}</p>' if question else ""
    state = " opened" if opened else ""
    return (
        f'<article class="desk-entry{state}"><div><p>{head}</p>'
        f'<p class="muted small">{escape(told)}</p>{asked}</div><div class="acts">{"".join(acts)}</div></article>'
    )


def _act(label: str, act: str, desk: Desk) -> str:
    return (
        f'<button type="button" class="act plain" data-act="{act}" data-desk="{escape(desk.id)}">'
        f"{escape(label)}</button>"
    )


def who(say: Words, name: str) -> str:
    """The question for the rater's name, which stands before everything else."""
    return (
        f'<div class="desk-name"><label for="rater-name">{escape(say("rating.name"))}</label>'
        f'<input id="rater-name" maxlength="40" autocomplete="off" value="{escape(name)}">'
        f'<button type="button" class="plain" data-begin>{escape(say("rating.begin"))}</button>'
        f'<p class="muted small">{escape(say("rating.name.info"))}</p></div>'
    )


def pair(say: Words, rater: str, shown: Shown, token: str) -> str:
    """A pair as it is rated: nothing in it tells the sides apart. `token` comes back with the vote."""
    if shown.done == shown.total:
        status = say("rating.all_done")
    else:
        status = say("rating.done", done=shown.done, total=shown.total)
    position = say("rating.position", place=shown.place, total=shown.total)
    steps = "".join(
        f'<button type="button" class="plain" data-step="{step}"{"" if possible else " disabled"}>'
        f"{escape(say(word))}</button>"
        for step, word, possible in (
            (-1, "rating.previous", shown.place > 1),
            (1, "rating.next", shown.place < shown.total),
        )
    )
    answers = "".join(_answer(say, name, text) for name, text in (("A", shown.left), ("B", shown.right)))
    asked = "".join(message(say, one) for one in shown.messages)
    return (
        f'<div class="desk-head" data-place="{shown.place}" data-token="{escape(token)}"><b>{escape(position)}</b>'
        f'<span class="muted small">{escape(rater)} · {escape(status)}</span>'
        f'<button type="button" class="plain" data-another>{escape(say("rating.another"))}</button>'
        f'<span class="steps">{steps}</span></div>'
        f'<div class="round">{asked}<div class="grid-2 answers">{answers}</div></div>'
        f"{_scores(say, shown)}{_votes(say, shown)}"
        f'<p class="muted small desk-keys">{escape(say("rating.keys"))}</p>'
    )


def _answer(say: Words, name: str, text: str) -> str:
    body = prose(text) or f'<p class="muted">{escape(say("chat.nothing"))}</p>'
    return f'<section class="answer"><header><b>{name}</b></header><div class="said">{body}</div></section>'


def _scores(say: Words, shown: Shown) -> str:
    lines = "".join(
        f'<div class="score-name">{escape(say(f"rating.{name}"))} '
        f'<span class="muted small">{escape(say(f"rating.{name}.info"))}</span></div>'
        + "".join(_cell(say, name, place, shown) for place in PLACES)
        for name in DIMENSIONS
    )
    heads = "".join(f'<b aria-hidden="true">{name}</b>' for name in "AB")
    title = f'<span class="muted small">{escape(say("rating.scores"))}</span>'
    return f'<div class="ratings">{title}{heads}{lines}</div>'


def _cell(say: Words, dimension: str, place: str, shown: Shown) -> str:
    given = shown.given.scores.get(place, {}).get(dimension) if shown.given else None  # type: ignore[call-overload]
    name = {"left": "A", "right": "B"}[place]
    label = escape(f"{say(f'rating.{dimension}')}, {name}")
    options = "".join(
        f'<label><input type="radio" name="{place}-{dimension}" value="{score}"'
        f"{' checked' if score == given else ''}><span>{score}</span></label>"
        for score in range(LEAST, MOST + 1)
    )
    return f'<fieldset data-cell="{place} {dimension}"><legend class="sr-only">{label}</legend>{options}</fieldset>'


def _votes(say: Words, shown: Shown) -> str:
    chosen = shown.given.vote if shown.given else ""
    buttons = "".join(
        f'<button type="button" data-vote="{vote}" aria-pressed="{"true" if vote == chosen else "false"}">'
        f"{escape(say(f'rating.vote.{vote}'))} <kbd>{key}</kbd></button>"
        for vote, key in (("left", "A"), ("tie", "T"), ("right", "B"))
    )
    return f'<div class="votes" role="group" aria-label="{escape(say("rating.vote"))}">{buttons}</div>'


def results(say: Words, desk: Desk) -> str:
    """What came of a desk that was ended: what people said, and each judge model."""
    people = ratings.summary(desk)
    judged = "".join(judge(say, name, found) for name, found in ratings.judges(desk).items())
    return (result(say, people) if people["ratings"] else "") + judged


def judge(say: Words, name: str, found: Summary) -> str:
    """What one judge model said."""
    title = say("rating.judge", name=name)
    return f'<p class="section-title">{escape(title)}</p>{result(say, found, judged=True)}'


def result(say: Words, found: Summary, *, judged: bool = False) -> str:
    """Who wins, and the scores; see `engine.ratings.summary`. A judge agrees with nobody: it is alone."""
    rate, votes = found["win_rate"], found["votes"]
    verdict = "same" if rate["p"] >= SURE else "tuned" if rate["value"] > 0.5 else "base"
    share, low, high = (f"{100 * rate[name]:.0f} %" for name in ("value", "low", "high"))
    told = say(f"rating.won.{verdict}", share=share, low=low, high=high, p=chance(rate["p"]))
    counts = say(
        "rating.counts",
        pairs=found["pairs"],
        ratings=found["ratings"],
        raters=", ".join(found["raters"]),
        **votes,
    )
    alike = f" {say('rating.alike', count=found['alike'])}" if found["alike"] else ""
    kind = {"same": "warn", "tuned": "good", "base": "bad"}[verdict]
    agreed = "" if judged else f'<p class="muted small">{escape(_agreed(say, found))}</p>'
    name = "judge-told" if judged else "rating-told"
    return (
        f'<div class="proof {kind}" id="{name}"><p>{escape(told)}</p>'
        f'<p class="muted small">{escape(counts + alike)}</p>{agreed}</div>'
        f"{_dimensions(say, found['dimensions'])}"
    )


def _agreed(say: Words, found: Summary) -> str:
    alpha = found["agreement"]
    if alpha is None:
        return (
            say("rating.agreement.same", shared=found["shared"])
            if found["shared"]
            else say("rating.agreement.none")
        )
    trust = next(name for least, name in _TRUST if alpha >= least)
    return say(f"rating.agreement.{trust}", alpha=f"{alpha:.2f}")


def _dimensions(say: Words, found: Mapping[str, Any]) -> str:
    if not found:
        return ""
    lines = "".join(
        f"<tr><td>{escape(say(f'rating.{name}'))}</td>"
        + "".join(f'<td class="num">{item[side]:.2f}</td>' for side in SIDES)
        + f'<td class="num">{_signed(item["difference"])}</td>'
        f'<td class="num">{chance(item["difference"]["p"])}</td>'
        f'<td class="num">{item["ratings"]}</td>'
        f'<td class="num">{"–" if item["agreement"] is None else format(item["agreement"], ".2f")}</td></tr>'
        for name, item in found.items()
    )
    heads = [
        say("rating.dimension"),
        say("chat.base"),
        say("chat.tuned"),
        say("evaluate.change"),
        say("evaluate.by_chance"),
        say("rating.ratings"),
        say("rating.alpha"),
    ]
    note = f'<p class="muted small">{escape(say("rating.dimensions.info"))}</p>'
    return views.panel(say("rating.dimensions"), views.table(heads, lines) + note)


def _signed(difference: Mapping[str, float]) -> str:
    value, low, high = (f"{difference[name]:+.2f}".replace("-", "−") for name in ("value", "low", "high"))
    return f"{value} ({low} … {high})"


def chance(p: float) -> str:
    """A probability in percent."""
    return "< 0.1 %" if p < 0.001 else f"{100 * p:.1f} %"
