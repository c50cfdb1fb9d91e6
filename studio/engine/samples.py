"""Sample answers: what the model under training says to a few prompts now and then, so that one sees it change."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.domain.chat import Conversation, Message
from studio.domain.config import EvalConfig, TrainConfig
from studio.domain.errors import StudioError
from studio.domain.events import Emit, Sample
from studio.engine.encode import Encoder

if TYPE_CHECKING:
    from studio.engine.trainee import Trainee

LONGEST = 512
"""Tokens of a prompt at most: what is asked again and again has to be quick."""
_TIMES = 4
"""A run, without the answers before its first step, where it is not said how often."""
_AS_TRAINED = 20
"""Tokens of training that take as long as a step of writing, which reads all weights for one token of each answer:
16 to 23 on a busy CPU with the starter. On a GPU, training is so much faster that it is more."""


@dataclass(frozen=True)
class Asked:
    """One prompt, as tokens and as it is shown. `row` is 0 for a prompt that is in no row."""

    ids: Sequence[int]
    prompt: str
    expected: str = ""
    row: int = 0


@dataclass(frozen=True)
class Samples:
    """The prompts of a run, and how its answers are read; nothing is asked where there are none."""

    asked: Sequence[Asked] = ()
    stop_ids: Sequence[int] = ()
    tokens: int = 0
    """Of an answer, at most."""
    steps: int | None = None
    """Between two answers; None: a few times a run, with an evaluation."""
    decode: Callable[[list[int]], str] = lambda ids: ""

    def every(self, train: TrainConfig, steps: int) -> int:
        """Steps from one time to the next, of a run of `steps`."""
        if self.steps:
            return self.steps
        evaluations = train.eval_steps or steps
        return evaluations * max(1, -(-steps // (_TIMES * evaluations)))

    def cost(self, train: TrainConfig, steps: int) -> int:
        """Tokens of training that would take as long as all answers of a run."""
        if not self.asked:
            return 0
        every = self.every(train, steps)
        times = 1 + steps // every + (steps % every > 0)
        return times * (self.tokens * _AS_TRAINED + sum(len(one.ids) for one in self.asked) // 3)


def samples(config: EvalConfig, encoder: Encoder, held_out: Sequence[Conversation], context: int) -> Samples:
    """The prompts of the first held-out rows that are short enough, and one's own; answers fit into `context`."""
    room = min(LONGEST, context - config.sample_tokens)
    found: list[Asked] = []
    for row in held_out:
        if len(found) == config.sample_rows:
            break
        asked = None if row.plain or not row.response else _asked(encoder, row.before_response(), row, room)
        found += [asked] if asked else []
    for line in (config.sample_prompts or "").splitlines():
        own = (
            _asked(encoder, (Message("user", line.strip()),), Conversation(()), room)
            if line.strip()
            else None
        )
        found += [own] if own else []
    decode = encoder.tokenizer.decode
    return Samples(
        found,
        encoder.stop_ids,
        config.sample_tokens,
        config.sample_steps,
        lambda ids: decode(ids, skip_special=True),
    )


def _asked(encoder: Encoder, messages: Sequence[Message], row: Conversation, room: int) -> Asked | None:
    """None where the template refuses the prompt, or it is too long."""
    with contextlib.suppress(StudioError):
        ids = encoder.prompt(messages, row.tools)
        said = next((message.content for message in reversed(messages) if message.role == "user"), "")
        return Asked(ids, said, row.response, row.row) if len(ids) <= room else None
    return None


def answer(model: Trainee, samples: Samples, step: int, emit: Emit, should_stop: Callable[[], bool]) -> None:
    """Say an answer to each prompt; of the model in evaluation mode, whose random state stays as it was.

    Raises Stopped once `should_stop()` is true.
    """
    from studio.engine.writing import written

    answers = written(
        model, [one.ids for one in samples.asked], samples.tokens, samples.stop_ids, should_stop
    )
    stops = set(samples.stop_ids)
    for one, ids in zip(samples.asked, answers, strict=True):
        ended = bool(ids) and ids[-1] in stops
        emit(
            Sample(
                step=step,
                row=one.row,
                prompt=one.prompt,
                expected=one.expected,
                text=samples.decode(list(ids[:-1] if ended else ids)),
                tokens=len(ids),
                ended=ended,
            )
        )
