"""How far work with a model in the background is, as HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from studio.ui import views
from studio.ui.i18n import Words

if TYPE_CHECKING:
    from studio.services.tasks import TaskStatus


def progress(say: Words, found: TaskStatus, sentence: str) -> str:
    """A bar, and how long the rest takes. The task knows how much there is to do."""
    left = (
        f" {say('background.left', time=views.about(say, found.seconds_left))}" if found.seconds_left else ""
    )
    percent = 100 * min(1.0, found.done / found.total)
    bar = f'<div class="bar"><i style="width:{percent:.1f}%"></i></div><span>{percent:.0f} %</span>'
    return f'<div class="run-progress">{bar}</div>{note(sentence + left)}'


def note(sentence: str) -> str:
    return f'<p class="note" role="status">{escape(sentence)}</p>'
