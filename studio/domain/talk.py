"""A conversation with the models of a run: a tree of turns, as a message can be written anew and an answer asked again.

Named a talk, because a `Conversation` is a row of data. Nothing in it is overwritten: what is edited or asked again
stands beside what was there, and either stays within reach.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from studio.domain.answer import SIDES, TUNED, Answer, ChatSettings, Piece, Side
from studio.domain.chat import Message

SCHEMA = 1
_TITLE = 60
"""Characters of a title that is taken from the first message."""


@dataclass(frozen=True)
class Turn:
    """A message of the person's, how it was asked, and what each side made of it."""

    prompt: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    after: str = ""
    """The id of the turn before; empty for a first one. Turns after the same one are branches."""
    sides: tuple[Side, ...] = SIDES
    system: str = ""
    settings: ChatSettings = field(default_factory=ChatSettings)
    expected: str = ""
    """The right answer, where the message is that of a held-out row."""
    left_out: int = 0
    """So many of the turns before it, the earliest, were not sent, as the context has no room for them."""
    answers: Mapping[Side, Answer] = field(default_factory=dict)

    def plus(self, piece: Piece) -> Turn:
        answer = self.answers.get(piece.side, Answer()).plus(piece)
        return replace(self, answers={**self.answers, piece.side: answer})

    def settled(self) -> Turn:
        """With every side's answer ended: half an answer counts as stopped."""
        given = {side: self.answers.get(side, Answer()) for side in self.sides}
        ended = {
            side: answer if answer.done else replace(answer, stop_reason="stopped")
            for side, answer in given.items()
        }
        return replace(self, answers=ended)

    @property
    def beside(self) -> tuple[Side, ...]:
        """Who was asked beside base and tuned model."""
        return tuple(side for side in self.sides if side not in SIDES)

    @property
    def answered(self) -> bool:
        """Whether any side has said anything."""
        return any(answer.text or answer.done for answer in self.answers.values())

    def said_by(self, side: Side) -> str:
        """What stands as this side's answer in what follows: its own, or where it was not asked yet the tuned one's."""
        return self.answers[side if side in self.answers else TUNED].text

    def to_json(self) -> dict[str, Any]:
        answers = {side: answer.to_json() for side, answer in self.answers.items()}
        return {**asdict(self), "sides": list(self.sides), "answers": answers}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Turn:
        return cls(
            **{
                **data,
                "sides": tuple(data["sides"]),
                "settings": ChatSettings(**data["settings"]),
                "answers": {side: Answer.from_json(answer) for side, answer in data["answers"].items()},
            }
        )


@dataclass(frozen=True)
class Talk:
    """All turns, and which of the branches is looked at."""

    run: str = ""
    id: str = ""
    """Empty as long as it is not kept."""
    title: str = ""
    created: str = ""
    changed: str = ""
    beside: tuple[Side, ...] = ()
    """Who is asked beside base and tuned model from now on."""
    turns: tuple[Turn, ...] = ()
    """In the order in which they were begun."""
    tip: str = ""
    """The id of the last turn that is shown."""

    def turn(self, turn_id: str) -> Turn | None:
        return next((turn for turn in self.turns if turn.id == turn_id), None)

    @property
    def branch(self) -> tuple[Turn, ...]:
        """The turns from the first to the tip."""
        return self.upto(self.tip)

    def upto(self, turn_id: str) -> tuple[Turn, ...]:
        """The turns from the first to this one."""
        return tuple(self._back(turn_id))[::-1]

    def _back(self, turn_id: str) -> Iterator[Turn]:
        while turn := self.turn(turn_id):
            yield turn
            turn_id = turn.after

    def branches(self, turn: Turn) -> list[Turn]:
        """The turns that stand at the same place, this one among them, in the order in which they were begun."""
        return [other for other in self.turns if other.after == turn.after]

    def with_turn(self, turn: Turn) -> Talk:
        """With a turn added, or replaced where it is there; it is the tip then."""
        if self.turn(turn.id):
            turns = tuple(turn if old.id == turn.id else old for old in self.turns)
        else:
            turns = (*self.turns, turn)
        return replace(self, turns=turns, tip=turn.id, title=self.title or title_of(turn.prompt))

    def without(self, turn: Turn) -> Talk:
        """Without a turn that nothing came of: what was looked at before it is the newest branch there."""
        others = [other.id for other in self.branches(turn) if other.id != turn.id]
        left = replace(self, turns=tuple(old for old in self.turns if old.id != turn.id), tip=turn.after)
        return left.showing(others[-1]) if others else left

    def settled(self) -> Talk:
        """As after a restart, when no answer is under way."""
        return replace(self, turns=tuple(turn.settled() for turn in self.turns))

    def showing(self, turn_id: str) -> Talk:
        """Looked at along this turn, to the newest turn that follows on it."""
        tip = turn_id
        while following := [turn.id for turn in self.turns if turn.after == tip]:
            tip = following[-1]
        return replace(self, tip=tip)

    def history(self, turn: Turn, side: Side) -> list[Message]:
        """What one side is given for a turn: the system message, its own earlier answers, and the turn's message."""
        messages = [Message("system", turn.system)] if turn.system.strip() else []
        for earlier in self.upto(turn.after)[turn.left_out :]:
            messages.append(Message("user", earlier.prompt))
            messages.append(Message("assistant", earlier.said_by(side)))
        return [*messages, Message("user", turn.prompt)]

    def to_json(self) -> dict[str, Any]:
        turns = [turn.to_json() for turn in self.turns]
        return {**vars(self), "schema": SCHEMA, "beside": list(self.beside), "turns": turns}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Talk:
        known = {key: value for key, value in data.items() if key != "schema"}
        turns = tuple(Turn.from_json(turn) for turn in data["turns"])
        return cls(**{**known, "beside": tuple(data["beside"]), "turns": turns})


def title_of(prompt: str) -> str:
    """The beginning of a message in one line.

    >>> title_of("My parcel\\nis late.")
    'My parcel is late.'
    """
    line = " ".join(prompt.split())
    return line if len(line) <= _TITLE else line[: _TITLE - 1].rstrip() + "…"
