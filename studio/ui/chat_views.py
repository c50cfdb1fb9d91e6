"""A talk with up to four models as HTML. What a model wrote is text and stays text: escaped, never markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from studio.domain.answer import SIDES, Answer, Side
from studio.domain.chat import Conversation
from studio.domain.loading import stage_at
from studio.domain.talk import Turn
from studio.engine.word_difference import Stretch, difference
from studio.ui import live, odds_views, views
from studio.ui.chat_desk import Desk, Wait
from studio.ui.i18n import Words

EXAMPLES = 4
_ALIKE = 0.2
"""Of an answer's letters must be in the other one too, for the words that are not to tell anything."""
_CHIP = 160
"""Characters of an example's prompt on its button."""


@dataclass(frozen=True)
class Example:
    """A held-out row to be asked: nothing of it was trained on."""

    row: int
    system: str
    prompt: str
    expected: str


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


def talk(
    say: Words,
    desk: Desk,
    names: Mapping[Side, str],
    wait: Wait = Wait(),  # noqa: B008 (a constant)
    *,
    busy: bool = False,
) -> str:
    """The branch that is looked at: each message across, the answers side by side beneath it.

    `wait` is what its last turn waits for. As long as the models are `busy`, nothing else can be asked of them.
    """
    branch = desk.talk.branch
    if not branch:
        return f'<div class="talk-empty"><p>{escape(say("chat.empty"))}</p></div>'
    shown = _Shown(say, desk, names, busy)
    parts = [shown.turn(turn, wait if turn is branch[-1] else Wait()) for turn in branch]
    return f'<div class="talk" role="log">{"".join(parts)}</div>'


@dataclass(frozen=True)
class _Shown:
    """The turns of a talk as they are looked at."""

    say: Words
    desk: Desk
    names: Mapping[Side, str]
    busy: bool

    def turn(self, turn: Turn, wait: Wait) -> str:
        say = self.say
        answers = "".join(self._answer(turn, side) for side in turn.sides)
        expected = ""
        if turn.expected:
            head = f'<span class="muted small">{escape(say("chat.expected"))}</span>'
            expected = f'<div class="expected">{head}{prose(turn.expected)}</div>'
        left_out = (
            f'<p class="muted small left-out">{escape(say("chat.left_out", count=turn.left_out))}</p>'
            if turn.left_out
            else ""
        )
        asked = f'{left_out}<div class="asked">{prose(turn.prompt)}</div>{self._branches(turn)}'
        asked += _waited_for(say, wait)
        look = self._look(turn)
        return f'<div class="round">{asked}<div class="grid-2 answers">{answers}</div>{expected}{look}</div>'

    def _branches(self, turn: Turn) -> str:
        """Beneath a message: the ways to the other branches here, and to new ones."""
        say, branches = self.say, self.desk.talk.branches(turn)
        parts = []
        if len(branches) > 1:
            place = branches.index(turn)
            for step, sign, key in ((-1, "‹", "chat.branch.before"), (1, "›", "chat.branch.after")):
                other = branches[place + step].id if 0 <= place + step < len(branches) else ""
                parts.append(_act("show", sign, turn=other, label=say(key), disabled=self.busy or not other))
            count = say("chat.branch", number=place + 1, count=len(branches))
            parts.insert(1, f'<span class="muted small num">{escape(count)}</span>')
        if not self.busy:
            parts.append(_act("again", say("chat.again"), turn=turn.id))
            parts.append(_act("edit", say("chat.edit"), turn=turn.id))
            pressed = self.desk.differences
            parts.append(_act("differences", say("chat.differences"), turn=turn.id, pressed=pressed))
        return f'<div class="turn-acts">{"".join(parts)}</div>'

    def _answer(self, turn: Turn, side: Side) -> str:
        say, answer = self.say, turn.answers.get(side, Answer())
        equal = bool(turn.expected) and answer.done and answer.text.strip() == turn.expected.strip()
        mark = views.chip("good", say("chat.as_expected")) if equal else ""
        if not answer.text and answer.done:
            body = f'<p class="muted">{escape(say("chat.nothing"))}</p>'
        elif self.desk.differences and answer.done:
            body = marked(say, turn, side, self.names)
        else:
            body = prose(answer.text) + (
                "" if answer.done else '<span class="cursor" aria-hidden="true"></span>'
            )
        kind = side if side in SIDES else "other"
        return (
            f'<section class="answer answer-{kind}"><header><b>{escape(self.names.get(side, side))}</b>{mark}</header>'
            f'<div class="said">{body}</div><p class="cost num">{escape(figures(say, turn, answer))}</p>'
            f"{self._answer_acts(turn, side, answer)}</section>"
        )

    def _answer_acts(self, turn: Turn, side: Side, answer: Answer) -> str:
        if self.busy or not answer.done:
            return ""
        say, look = self.say, self.desk.look
        at = look.kind if look and (look.turn, look.side) == (turn.id, side) else ""
        acts = [_act("prompt", say("chat.sent"), turn=turn.id, side=side, pressed=at == "prompt")]
        if answer.ids:
            acts.append(_act("odds", say("chat.odds"), turn=turn.id, side=side, pressed=at == "odds"))
        if answer.text.strip():
            acts.append(_act("row", say("chat.row"), turn=turn.id, side=side))
        acts.append(_act("row-edit", say("chat.row.edit"), turn=turn.id, side=side))
        return f'<div class="answer-acts">{"".join(acts)}</div>'

    def _look(self, turn: Turn) -> str:
        say, look = self.say, self.desk.look
        if look is None or look.turn != turn.id:
            return ""
        name = self.names.get(look.side, look.side)
        if look.sent:
            head = say("chat.sent.head", side=name, count=views.count(look.sent.tokens))
            body = live.copyable(say, look.sent.text)
        else:
            head = say("chat.odds.head", side=name)
            body = _waited_for(say, look.wait) or odds_views.odds(say, look.choices)
        return f'<section class="answer look"><header><b>{escape(head)}</b></header>{body}</section>'


def _waited_for(say: Words, wait: Wait) -> str:
    """Nothing where nothing is waited for."""
    if not wait.phase:
        return ""
    loading = wait.phase == "loading"
    told = say(f"chat.loading.{stage_at(wait.share)}" if loading else f"chat.{wait.phase}")
    bar = live.bar(say, wait.share) if loading else ""
    look = "muted small" if loading else "muted small thinking"
    return f'<div class="waited-for" role="status">{bar}<p class="{look}">{escape(told)}</p></div>'


def _act(
    do: str,
    text: str,
    *,
    turn: str,
    side: Side = "",
    label: str = "",
    pressed: bool | None = None,
    disabled: bool = False,
) -> str:
    """A button whose click reaches Python."""
    more = f' aria-label="{escape(label)}" title="{escape(label)}"' if label else ""
    more += "" if pressed is None else f' aria-pressed="{str(pressed).lower()}"'
    more += " disabled" if disabled else ""
    return (
        f'<button type="button" class="act quiet do-{do}" data-do="{do}" data-turn="{escape(turn)}" '
        f'data-side="{escape(side)}"{more}>{escape(text)}</button>'
    )


def marked(say: Words, turn: Turn, side: Side, names: Mapping[Side, str]) -> str:
    """An answer with the words marked that the one most like it, of those that are not the same, has not."""
    own = turn.answers[side].text
    others = {other: answer.text for other, answer in turn.answers.items() if answer.text != own}
    if not others:
        return prose(own) + f'<p class="muted small">{escape(say("chat.differences.none"))}</p>'
    compared = {other: _without_gone(text, own) for other, text in others.items()}
    nearest = max(compared, key=lambda other: _shared(compared[other]))
    parts = compared[nearest]
    if _shared(parts) < _ALIKE * len(own.strip()):
        same = [
            names.get(other, other)
            for other, answer in turn.answers.items()
            if other != side and answer.text == own
        ]
        told = say("chat.differences.same", sides=", ".join(same)) if same else say("chat.differences.all")
        return prose(own) + f'<p class="muted small">{escape(told)}</p>'
    told = ""
    if len(turn.answers) > len(SIDES):
        beside = say("chat.differences.beside", side=names.get(nearest, nearest))
        told = f'<p class="muted small">{escape(beside)}</p>'
    shown = "".join(
        f'<mark class="only">{escape(part.text)}</mark>'
        if part.kind == "new" and part.text.strip()
        else escape(part.text)
        for part in parts
    )
    return f'<p class="prose-text">{shown}</p>{told}'


def _without_gone(theirs: str, own: str) -> list[Stretch]:
    return [part for part in difference(theirs, own) if part.kind != "gone"]


def _shared(parts: Sequence[Stretch]) -> int:
    """Letters that stand in both."""
    return sum(len(part.text.strip()) for part in parts if part.kind == "same")


def ended(answer: Answer) -> bool:
    """Whether an answer came to its own end."""
    return answer.stop_reason == "end"


def figures(say: Words, turn: Turn, answer: Answer) -> str:
    """How long an answer is, how fast it came, why it ended, and with which seed it was drawn."""
    if not answer.tokens and not answer.done:
        return ""
    speed = answer.tokens / answer.seconds if answer.seconds > 0 else 0.0
    shown = [say("chat.tokens", count=answer.tokens), say("chat.seconds", seconds=f"{answer.seconds:.1f}")]
    if speed:
        shown.append(say("chat.speed", speed=f"{speed:.1f}"))
    if answer.stop_reason:
        shown.append(say(f"chat.stop.{answer.stop_reason}"))
        shown.append(say("chat.seeded", seed=turn.settings.seed))
    return " · ".join(shown)


def note(say: Words, desk: Desk) -> str:
    """Above the field: what it holds, what is to be decided, where a row went, or how full the context is."""
    cancel = _act("cancel", say("chat.cancel"), turn="")
    if desk.pending and desk.fit:
        values = {"tokens": views.count(desk.fit.tokens), "context": views.count(desk.fit.context)}
        count = desk.fit.left_out - desk.pending.left_out
        text = say("chat.full", count=count, **values)
        return _notice(
            text,
            _act("leave-out", say("chat.full.yes"), turn=""),
            _act("cancel", say("chat.cancel"), turn=""),
        )
    if desk.writing:
        text = say("chat.writing.answer" if desk.writing.side else "chat.writing.message")
        if desk.writing.side and not ended(desk.turn(desk.writing.turn).answers[desk.writing.side]):
            text = f"{say('chat.writing.cut')} {text}"
        return _notice(text, cancel)
    if desk.added:
        key = "chat.added" if desk.added.new else "chat.added.before"
        text = say(key, row=desk.added.row, name=desk.added.dataset.name)
        return _notice(text, _act("data", say("chat.added.open"), turn=""))
    if desk.fit and desk.talk.branch:
        used = _used(desk)
        shown = say("chat.context", used=views.count(used), context=views.count(desk.fit.context))
        return f'<p class="muted small num">{escape(shown)}</p>'
    return ""


def _notice(text: str, *acts: str) -> str:
    return f'<div class="chat-notice" role="status"><p>{escape(text)}</p>{"".join(acts)}</div>'


def _used(desk: Desk) -> int:
    """Tokens of the longest side, with its answer."""
    answers = desk.talk.branch[-1].answers.values()
    return max((answer.prompt_tokens + answer.tokens for answer in answers), default=0)


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
