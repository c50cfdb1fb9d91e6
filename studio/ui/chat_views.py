"""A conversation with two models as HTML. What a model wrote is text and stays text: escaped, never markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from studio.domain.answer import SIDES, Answer, Side
from studio.domain.chat import Conversation, Message
from studio.ui.i18n import Words

EXAMPLES = 4
_CHIP = 160
"""Characters of an example's prompt on its button."""


@dataclass(frozen=True)
class Round:
    """A prompt with what both sides made of it; `expected` where it is known."""

    prompt: str
    expected: str = ""
    answers: dict[Side, Answer] = field(default_factory=dict)


@dataclass(frozen=True)
class Example:
    """A held-out row to be asked: nothing of it was trained on."""

    row: int
    system: str
    prompt: str
    expected: str


def history(rounds: Sequence[Round], side: Side, system: str) -> list[Message]:
    """What one side is given: the system message, its own earlier answers, and the last prompt."""
    messages = [Message("system", system)] if system.strip() else []
    for number, turn in enumerate(rounds, start=1):
        messages.append(Message("user", turn.prompt))
        if number < len(rounds):
            messages.append(Message("assistant", turn.answers[side].text))
    return messages


def examples(rows: Sequence[Conversation]) -> list[Example]:
    """A few held-out rows from all over the set, the first turn of each, no two with the same answer if it can be."""
    usable = [example for row in rows if (example := _first_turn(row))]
    spread = (
        [usable[index * len(usable) // EXAMPLES] for index in range(EXAMPLES)]
        if len(usable) > EXAMPLES
        else usable
    )
    chosen: list[Example] = []
    for candidate in [*spread, *usable]:
        if len(chosen) < EXAMPLES and all(candidate.expected != other.expected for other in chosen):
            chosen.append(candidate)
    return chosen


def _first_turn(row: Conversation) -> Example | None:
    spoken = [message for message in row.messages if message.role != "system"]
    if len(spoken) < 2 or (spoken[0].role, spoken[1].role) != ("user", "assistant"):
        return None
    return Example(row.row, row.system, spoken[0].content, spoken[1].content)


def shared_system(rows: Sequence[Conversation]) -> str:
    """The system message that all rows have in common, or an empty string."""
    found = {row.system for row in rows}
    return found.pop() if len(found) == 1 else ""


def example_chips(say: Words, chips: Sequence[Example]) -> str:
    """Held-out prompts to be sent with one click."""
    if not chips:
        return ""
    buttons = "".join(
        f'<button type="button" class="example act" data-row="{chip.row}" title="{escape(chip.prompt[:1000])}">'
        f"{escape(clipped(chip.prompt))}</button>"
        for chip in chips
    )
    return f'<p class="muted small">{escape(say("chat.examples"))}</p><div class="examples">{buttons}</div>'


def clipped(text: str) -> str:
    """
    >>> clipped("two\\nlines")
    'two lines'
    """
    line = " ".join(text.split())
    return line if len(line) <= _CHIP else line[: _CHIP - 1].rstrip() + "…"


def talk(say: Words, rounds: Sequence[Round], phase: str = "") -> str:
    """All rounds: the prompt across, the two answers side by side beneath it. `phase` is what is waited for."""
    if not rounds:
        return f'<div class="talk-empty"><p>{escape(say("chat.empty"))}</p></div>'
    last = len(rounds) - 1
    parts = [_round(say, turn, phase if index == last else "") for index, turn in enumerate(rounds)]
    return f'<div class="talk" role="log">{"".join(parts)}</div>'


def _round(say: Words, turn: Round, phase: str) -> str:
    sides = "".join(_answer(say, side, turn, phase) for side in SIDES)
    expected = ""
    if turn.expected:
        head = f'<span class="muted small">{escape(say("chat.expected"))}</span>'
        expected = f'<div class="expected">{head}{prose(turn.expected)}</div>'
    asked = f'<div class="asked">{prose(turn.prompt)}</div>'
    return f'<div class="round">{asked}<div class="grid-2 answers">{sides}</div>{expected}</div>'


def _answer(say: Words, side: Side, turn: Round, phase: str) -> str:
    answer = turn.answers.get(side, Answer())
    equal = bool(turn.expected) and answer.done and answer.text.strip() == turn.expected.strip()
    mark = f'<span class="chip chip-good">{escape(say("chat.as_expected"))}</span>' if equal else ""
    if phase and not answer.text and not answer.done:
        body = f'<p class="muted thinking">{escape(say(f"chat.{phase}"))}</p>'
    elif not answer.text and answer.done:
        body = f'<p class="muted">{escape(say("chat.nothing"))}</p>'
    else:
        body = prose(answer.text) + ("" if answer.done else '<span class="cursor" aria-hidden="true"></span>')
    return (
        f'<section class="answer answer-{side}"><header><b>{escape(say(f"chat.{side}"))}</b>{mark}</header>'
        f'<div class="said">{body}</div><p class="cost num">{escape(_figures(say, answer))}</p></section>'
    )


def _figures(say: Words, answer: Answer) -> str:
    if not answer.tokens and not answer.done:
        return ""
    speed = answer.tokens / answer.seconds if answer.seconds > 0 else 0.0
    shown = [say("chat.tokens", count=answer.tokens), say("chat.seconds", seconds=f"{answer.seconds:.1f}")]
    if speed:
        shown.append(say("chat.speed", speed=f"{speed:.1f}"))
    if answer.stop_reason:
        shown.append(say(f"chat.stop.{answer.stop_reason}"))
    return " · ".join(shown)


def prose(text: str) -> str:
    """Text with its line breaks; what stands between ``` fences, and text that is JSON as a whole, as code.

    >>> prose('a <b>\\n```py\\nx < 1\\n```')
    '<p class="prose-text">a &lt;b&gt;</p><pre class="code">x &lt; 1</pre>'
    """
    if is_json(text):
        return f'<pre class="code">{escape(text.strip())}</pre>'
    parts = []
    for index, part in enumerate(text.split("```")):
        if index % 2:
            first, newline, rest = part.partition("\n")
            part = rest if newline and " " not in first else part
        if part.strip():
            shown = escape(part.strip("\n"))
            parts.append(
                f'<pre class="code">{shown}</pre>' if index % 2 else f'<p class="prose-text">{shown}</p>'
            )
    return "".join(parts)


def is_json(text: str) -> bool:
    """Whether text begins as a JSON object or list does: an answer that still comes has no end yet.

    >>> is_json('{"a": '), is_json('[{"a": 1}]'), is_json('{sure} ok')
    (True, True, False)
    """
    return text.lstrip().startswith(('{"', "{\n", "[{", '["'))
