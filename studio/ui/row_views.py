"""One row of the Template tab, drawn: its tokens under one or two templates, and what is to be known of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape
from typing import TypedDict

from studio.domain.config import Overlong
from studio.domain.encoded import Encoded, Hazard
from studio.domain.finding import Severity
from studio.domain.visible_text import KINDS
from studio.engine.hazards import MEANINGS
from studio.ui import loss_views, token_views, views
from studio.ui.i18n import Words

_BAD: dict[Hazard, Severity] = {"answer_cut": "warning", "split": "info"}
"""Hazards of a row that the set's findings count under another name."""


class Side(TypedDict):
    """A row under one template, as assets/row_view.js draws it. All but `text` and `ids` is HTML."""

    head: str
    pieces: list[str]
    """To be drawn one after the other."""
    runs: str
    text: str
    ids: list[int]
    problem: str
    """Why there are no tokens, where there are none."""
    kept: bool
    """Whether the tokens that were drawn before may stay for as long as there are none."""


class Drawn(TypedDict):
    """A row as assets/row_view.js draws it."""

    number: int
    """In the file; 0 for a general row that is mixed in."""
    position: str
    sides: list[Side]


def side(
    say: Words, title: str, rows: Sequence[Encoded], special: Collection[int], notes: Sequence[str]
) -> Side:
    """A row as one run's row, or as several where its turns are split. `notes` are HTML."""
    pieces: list[str] = []
    for number, row in enumerate(rows, start=1):
        if len(rows) > 1:
            part = say("template.part", part=number, parts=len(rows))
            pieces.append(f'<p class="part">{escape(part)}</p>')
        pieces += token_views.pieces(row, special)
    problem = next((row.problem for row in rows if row.problem is not None), None)
    heading = f'<h3 class="pane-title">{escape(title)}</h3>' if title else ""
    listed = f'<ul class="row-notes">{"".join(notes)}</ul>' if notes else ""
    return Side(
        head=f"{heading}{token_views.shares(say, rows)}{listed}",
        pieces=[] if problem else pieces,
        runs=token_views.as_text(say, rows, special),
        text="\n".join(row.text for row in rows),
        ids=[token for row in rows for token in (*row.input_ids, *row.cut_ids)],
        problem=views.empty(say("template.refused"), say.text(problem)) if problem else "",
        kept=False,
    )


def failed(title: str, problem: str, *, kept: bool = False) -> Side:
    """Where a row cannot be encoded at all; `problem` is HTML."""
    heading = f'<h3 class="pane-title">{escape(title)}</h3>' if title else ""
    return Side(head=heading, pieces=[], runs="", text="", ids=[], problem=problem, kept=kept)


def notes(
    say: Words, rows: Sequence[Encoded], overlong: Overlong, *, held_out: bool = False, mixed_in: bool = False
) -> list[str]:
    """What is to be known of a row, as list items: its hazards, and whether it is trained at all."""
    found = []
    if held_out:
        found.append(_note(say, "info", say("template.held_out"), say("template.held_out.row")))
    if mixed_in:
        found.append(_note(say, "info", say("template.general"), say("template.general.row")))
    if overlong == "drop" and any(row.truncated for row in rows):
        found.append(_note(say, "warning", say("template.dropped"), say("template.dropped.row")))
    hazards = dict.fromkeys(hazard for row in rows for hazard in row.hazards)
    order = ("error", "warning", "info")
    for hazard in sorted(hazards, key=lambda hazard: order.index(severity(hazard))):
        found.append(_note(say, severity(hazard), say(f"hazard.{hazard}"), say(f"hazard.{hazard}.row")))
    return found


def severity(hazard: Hazard) -> Severity:
    return _BAD[hazard] if hazard in _BAD else MEANINGS[hazard].severity


def _note(say: Words, severity: Severity, name: str, sentence: str) -> str:
    chip = views.chip(views.CHIPS[severity], name)
    return f"<li>{chip} <span>{escape(sentence)}</span></li>"


SHELL_WORDS = (
    "previous-row", "next-row", "previous-hazard", "next-hazard", "number", "tokens", "as_text", "rendered", "earlier"
)  # fmt: skip
"""What stands in the shell; the browser puts it there, as the shell is made before its reader is known."""


def shell() -> str:
    """What stays while rows come and go: the way from row to row, and the rooms for tokens."""

    def button(name: str, sign: str) -> str:
        mark, word = f'<span aria-hidden="true">{sign}</span>', f'<span data-word="{name}"></span>'
        parts = (mark, word) if name.startswith("previous") else (word, mark)
        return f'<button type="button" class="plain" id="{name}" disabled>{" ".join(parts)}</button>'

    panes = "".join(
        f'<section class="pane"{" hidden" if index else ""}><div class="pane-head"></div><div class="loss-head"></div>'
        f'<div class="tokens" id="{"other-tokens" if index else "tokens"}" tabindex="0" role="group" '
        f'data-label="tokens"></div>'
        f'<details class="fold as-text"><summary data-word="as_text"></summary><div></div></details>'
        f'<details class="fold rendered"><summary data-word="rendered"></summary><div class="copyable">'
        f'<button type="button" class="plain" data-word="copy"></button><pre class="raw"></pre></div></details>'
        f"</section>"
        for index in range(2)
    )
    return (
        f'<div class="row-nav"><span class="steps">{button("previous-row", "←")}'
        f'<input id="row-number" inputmode="numeric" autocomplete="off" data-label="number">'
        f'{button("next-row", "→")}</span><span id="row-position" class="muted small num"></span>'
        f'<span class="steps">{button("previous-hazard", "←")}{button("next-hazard", "→")}</span></div>'
        f'<p class="field-wrong" role="alert" hidden></p><p class="run-note" role="note" hidden></p>'
        f'<p class="earlier" role="status" data-word="earlier" hidden></p>'
        f'<div class="panes">{panes}</div>'
        f'<div class="tok-tip" role="status" hidden></div>'
    )


def labels(say: Words) -> dict[str, str]:
    """The words that the browser puts in place itself."""
    names = (
        *SHELL_WORDS,
        *KINDS,
        "part_token",
        "token_of",
        "id",
        "no_row",
        "failed",
        "loss.base",
        "loss.tuned",
    )
    return {
        **{name: say(f"template.{name}") for name in names},
        "copy": say("copy"),
        "copied": say("copy.done"),
        "marked": say("copy.marked"),
        "waiting": loss_views.sentence(say("loss.waiting")),
    }
