"""How far work with a model in the background is, as HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from studio.ui import live, views
from studio.ui.i18n import Words

if TYPE_CHECKING:
    from studio.services.tasks import TaskStatus


def progress(say: Words, found: TaskStatus, sentence: str, left: str = "background.left") -> str:
    """A bar, and how long the rest takes. The task knows how much there is to do; `left` names the text of the time."""
    rest = f" {say(left, time=views.about(say, found.seconds_left))}" if found.seconds_left else ""
    return live.bar(say, min(1.0, found.done / found.total)) + note(sentence + rest)


def part(say: Words, found: TaskStatus, key: str) -> str:
    """The same of one part of several, named by the text `key`: the time is that of the part alone."""
    if not found.total:
        return note(say(key))
    done, total = views.count(int(found.done)), views.count(int(found.total))
    return progress(say, found, say(key, done=done, total=total), "background.left_part")


def note(sentence: str) -> str:
    return f'<p class="note" role="status">{escape(sentence)}</p>'
