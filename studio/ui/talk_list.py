"""The conversations that are kept, as HTML: opened, renamed, written out and deleted by a click."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from studio.domain.talk import Talk
from studio.services.talks import Listed
from studio.ui import live
from studio.ui.i18n import Words

RENAMING = """
element.addEventListener('submit', (event) => {
  event.preventDefault();
  const form = event.target;
  trigger('click', {...form.dataset, title: form.elements.title.value});
});
"""
"""For gr.HTML(js_on_load=…): a title that was written reaches Python."""
FORMATS = {"markdown": "md", "json": "json"}
"""What a talk can be written out as, with the ending of the file."""


@dataclass(frozen=True)
class Asked:
    """What is done to one of those kept, and not finished: the id of the one to be renamed, or to be deleted."""

    renaming: str = ""
    deleting: str = ""


def talk_list(say: Words, kept: Listed, runs: Mapping[str, str], current: str, asked: Asked) -> str:
    """All that are kept; `runs` are the names of the runs that are still there, by id."""
    if not kept.talks and not kept.damaged:
        return f'<p class="muted small">{escape(say("chat.kept.none"))}</p>'
    items = [_talk(say, talk, runs, current, asked) for talk in kept.talks]
    items += [_damaged(say, talk_id, asked) for talk_id in kept.damaged]
    return f'<ul class="talk-list">{"".join(items)}</ul>'


def _talk(say: Words, talk: Talk, runs: Mapping[str, str], current: str, asked: Asked) -> str:
    if talk.id == asked.renaming:
        return f"<li>{_form(say, talk)}</li>"
    if talk.id == asked.deleting:
        return f"<li>{_confirmation(say, talk.id, talk.title)}</li>"
    run = runs.get(talk.run)
    here = ' aria-current="true"' if talk.id == current else ""
    title = (
        f'<button type="button" class="act quiet talk-title" data-do="open" data-talk="{escape(talk.id)}"{here}>'
        f"{escape(talk.title)}</button>"
        if run
        else f'<b class="talk-title">{escape(talk.title)}</b>'
    )
    about = [run or say("chat.kept.gone", run=talk.run), say("chat.kept.turns", count=len(talk.turns))]
    told = f'<span class="muted small">{escape(" · ".join(about))} · {live.moment(talk.changed)}</span>'
    acts = "".join(_act(talk.id, do, say(f"chat.kept.{do}")) for do in ("rename", *FORMATS, "delete"))
    return f'<li><div>{title}{told}</div><div class="run-actions">{acts}</div></li>'


def _damaged(say: Words, talk_id: str, asked: Asked) -> str:
    if talk_id == asked.deleting:
        return f"<li>{_confirmation(say, talk_id, talk_id)}</li>"
    told = f'<span class="muted small">{escape(say("chat.kept.damaged"))}</span>'
    delete = _act(talk_id, "delete", say("chat.kept.delete"))
    title = f'<b class="talk-title">{escape(talk_id)}</b>'
    return f'<li><div>{title}{told}</div><div class="run-actions">{delete}</div></li>'


def _form(say: Words, talk: Talk) -> str:
    label, save = escape(say("chat.kept.title")), escape(say("chat.kept.save"))
    cancel = _act(talk.id, "rename-no", say("chat.cancel"))
    return (
        f'<form class="talk-rename" data-do="rename-yes" data-talk="{escape(talk.id)}">'
        f'<input name="title" value="{escape(talk.title)}" aria-label="{label}" autocomplete="off">'
        f'<button type="submit" class="plain strong">{save}</button>{cancel}</form>'
    )


def _confirmation(say: Words, talk_id: str, title: str) -> str:
    yes, no = (_act(talk_id, f"delete-{word}", say(f"runs.delete.{word}")) for word in ("yes", "no"))
    question = escape(say("chat.kept.delete.ask", title=title))
    return f'<div class="confirm" role="alertdialog"><p>{question}</p>{yes}{no}</div>'


def _act(talk_id: str, do: str, text: str) -> str:
    return (
        f'<button type="button" class="act quiet do-{do}" data-do="{do}" data-talk="{escape(talk_id)}">'
        f"{escape(text)}</button>"
    )
