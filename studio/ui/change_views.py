"""A row before and after a change as HTML: words that go are struck through, words that come are underlined."""

from __future__ import annotations

from html import escape

from studio.domain.chat import Conversation, Message
from studio.domain.history import RowChange
from studio.engine.checks.parts import shown
from studio.engine.word_difference import Stretch, difference, shortened
from studio.ui import views
from studio.ui.data_turns import clipped
from studio.ui.i18n import Words

AROUND = 60
"""Characters of what stays the same that are shown on either side of a difference."""
LONGEST = 4_000
"""Characters of one stretch that goes or comes that are shown."""
_MARKS = {" ": "·", "\n": "↵\n", "\t": "→"}
_TAGS = {"gone": "del", "new": "ins"}


def change(say: Words, made: RowChange, number: str, pick: str = "") -> str:
    """One row: its number, what becomes of it and why, and the difference. `pick` is the HTML of its tick box."""
    action = "dropped" if made.dropped else "changed"
    chip = views.chip("bad" if made.dropped else "info", say(f"change.{action}"))
    why = " · ".join(say.text(reason) for reason in made.reasons)
    body = _dropped(say, made.before) if made.after is None else _changed(say, made.before, made.after)
    return (
        f'<article class="row-change"><div class="row-change-head">{pick}<b class="num">{escape(number)}</b> {chip}'
        f'<span class="muted small">{escape(why)}</span></div>{body}</article>'
    )


def _dropped(say: Words, before: Conversation) -> str:
    """The row in short, as it is the whole of it that goes."""
    blank = f"<i>{escape(say('data.blank'))}</i>"
    lines = [(say("data.part.prompt"), before.prompt), (say("data.part.response"), before.response)]
    return "".join(
        f'<p class="row-change-turn"><span class="muted small">{escape(name)}</span>'
        f"<span>{clipped(text) or blank}</span></p>"
        for name, text in lines
    )


def _changed(say: Words, before: Conversation, after: Conversation) -> str:
    """The turns that differ; the whole as one text where turns were joined or left out."""
    if [m.role for m in before.messages] != [m.role for m in after.messages]:
        return _turn("", shown(before), shown(after))
    pairs = zip(before.messages, after.messages, strict=True)
    return "".join(_turn(say(f"role.{old.role}"), _text(old), _text(new)) for old, new in pairs if old != new)


def _text(message: Message) -> str:
    """All that a turn says, thinks and calls."""
    parts = [message.reasoning, message.content, *(f"{c.name}({c.arguments})" for c in message.tool_calls)]
    return "\n".join(part for part in parts if part)


def _turn(name: str, before: str, after: str) -> str:
    return (
        f'<p class="row-change-turn"><span class="muted small">{escape(name)}</span>'
        f'<span class="difference">{difference_html(before, after)}</span></p>'
    )


def difference_html(before: str, after: str) -> str:
    """The two texts in one; of what is the same only what stands around a difference."""
    return "".join(map(_stretch, shortened(difference(before, after), AROUND)))


def _stretch(part: Stretch) -> str:
    if part.kind == "same":
        return escape(part.text)
    text = part.text[:LONGEST] + ("…" if len(part.text) > LONGEST else "")
    tag = _TAGS[part.kind]
    return f"<{tag}>{escape(visible(text))}</{tag}>"


def visible(text: str) -> str:
    """The text with marks in place of what cannot be seen: white space where there is nothing else, and controls.

    >>> visible(" "), visible("a b"), visible("x\\u200b")
    ('·', 'a b', 'xU+200B')
    """
    blank = not text.strip()
    return "".join(_mark(character, blank) for character in text)


def _mark(character: str, blank: bool) -> str:
    if character in _MARKS:
        return _MARKS[character] if blank else character
    return character if character.isprintable() else f"U+{ord(character):04X}"
