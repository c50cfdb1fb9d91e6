"""What one open page has before it in the chat: the talk, what of it is looked at, and what is being written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from studio.domain.answer import SIDES, ChatSettings, Side
from studio.domain.errors import StudioError
from studio.domain.talk import Talk, Turn
from studio.engine.choices import Choice
from studio.services.talk_prompts import Fit, Sent
from studio.services.talk_rows import Added


@dataclass(frozen=True)
class Wait:
    """What an answer waits for: another one to end, the model to be loaded, or its tokens to be read."""

    phase: Literal["", "waiting", "loading", "reading"] = ""
    share: float = 0.0
    """Of the loading (`domain/loading.py`)."""


@dataclass(frozen=True)
class Look:
    """At one answer: the prompt that it was given, or what its tokens were chosen from."""

    turn: str
    side: Side
    sent: Sent | None = None
    choices: Sequence[Choice] = ()
    wait: Wait = Wait()

    @property
    def kind(self) -> Literal["prompt", "odds"]:
        return "prompt" if self.sent else "odds"


@dataclass(frozen=True)
class Writing:
    """What the field holds that is no new message: one written anew, or with a side an answer to be learnt."""

    turn: str
    side: Side = ""


@dataclass(frozen=True)
class Desk:
    """All of it; a click makes a new one."""

    talk: Talk = field(default_factory=Talk)
    token: str = ""
    """Of the answer that was asked for last."""
    look: Look | None = None
    writing: Writing | None = None
    differences: bool = False
    """Whether the words in which answers differ are marked."""
    pending: Turn | None = None
    """A turn that waits for a word about what is to be left out."""
    fit: Fit | None = None
    """Of the turn that was asked last, or of the pending one."""
    added: Added | None = None
    """The row that was made last."""

    def quiet(self) -> Desk:
        """With nothing but the talk before one."""
        return Desk(self.talk, self.token, differences=self.differences, fit=self.fit)

    def beside(self, sides: Sequence[Side] | None) -> Desk:
        """With others who answer beside base and tuned model from the next message on."""
        return replace(self, talk=replace(self.talk, beside=tuple(sides or ())))

    def turn(self, turn_id: str) -> Turn:
        """StudioError where another page has removed it."""
        found = self.talk.turn(turn_id)
        if found is None:
            raise StudioError(
                "This message is not in the conversation any more.", "Open it again from the list."
            )
        return found

    def new_turn(self, text: str, system: str, settings: ChatSettings) -> Turn:
        """What the field holds as a turn: the next one, or a branch where an earlier message is written anew."""
        after = self.turn(self.writing.turn).after if self.writing else self.talk.tip
        return Turn(
            text.strip(),
            after=after,
            sides=(*SIDES, *self.talk.beside),
            system=system,
            settings=settings,
            left_out=self._left_out(after),
        )

    def again(self, turn_id: str, system: str, settings: ChatSettings) -> Turn:
        """The same message asked once more, with a seed that it was not asked with before.

        StudioError where it could only be answered the same.
        """
        old = self.turn(turn_id)
        tried = [turn for turn in self.talk.branches(old) if turn.prompt == old.prompt]
        seed = max(settings.seed, *(turn.settings.seed + 1 for turn in tried))
        new = replace(
            self.new_turn(old.prompt, system, replace(settings, seed=seed)),
            after=old.after,
            expected=old.expected,
            left_out=old.left_out,
        )
        if settings.temperature == 0 and any(_alike(new, turn) for turn in tried):
            raise StudioError(
                "At temperature 0 the answer is the same each time.", "Raise the temperature under Settings."
            )
        return new

    def _left_out(self, after: str) -> int:
        before = self.talk.turn(after)
        return before.left_out if before else 0


def _alike(new: Turn, old: Turn) -> bool:
    """Whether two turns differ in their seeds at most."""
    same_how = replace(new.settings, seed=0) == replace(old.settings, seed=0)
    return same_how and (new.system, new.sides) == (old.system, old.sides)
