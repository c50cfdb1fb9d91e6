"""A run's base and tuned model on rows that were kept from training: their losses, and their answers in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.domain.answer import Side, StopReason
from studio.domain.chat import Conversation, Message
from studio.domain.encoded import Encoded
from studio.domain.errors import StudioError
from studio.engine import mixing
from studio.engine.dataset import general_candidates
from studio.engine.token_losses import batches, summed_losses

if TYPE_CHECKING:
    from studio.engine.tuned import Pair, TunedRun

AT_ONCE = 16
"""Answers that are written at once: beyond it, what each needs for itself outweighs the one reading of the weights."""


@dataclass(frozen=True)
class Question:
    """A row to be answered."""

    row: int
    prompt: Sequence[int]
    """As ids."""
    messages: Sequence[Message]
    """The same as a conversation."""
    expected: str
    """Empty where nobody says what the answer is to be."""


@dataclass(frozen=True)
class Reply:
    """One side's greedy answer to a question, without its end token."""

    side: Side
    row: int
    ids: list[int]
    stop_reason: StopReason


@dataclass(frozen=True)
class RowLoss:
    """The sum of a row's losses in nats, and how many tokens it is of."""

    side: Side
    row: int
    loss: float
    tokens: int


def questions(run: TunedRun, rows: Sequence[Conversation], context: int, room: int) -> list[Question]:
    """The rows that can be asked: with a prompt that the template takes and that leaves `room` tokens, and an answer.

    Asked is for the last response; what was said before it is part of the prompt.
    """
    found = []
    for row in rows:
        before = row.before_response()
        if row.plain or not before or len(before) == len(row.messages):
            continue
        try:
            prompt = run.encoder.prompt(before, row.tools)
        except StudioError:
            continue
        if len(prompt) + room <= context:
            found.append(Question(row.row, prompt, before, row.messages[len(before)].content))
    return found


def losses(
    pair: Pair, rows: Sequence[Encoded], known: Collection[tuple[Side, int]] = ()
) -> Iterator[RowLoss]:
    """Of each row with trained tokens under each side, unless it is `known` already."""
    for side in pair.sides:
        missing = [row for row in rows if row.trained and (side, row.row) not in known]
        for batch in batches(missing):
            part = [missing[place] for place in batch]
            for row, loss in zip(part, summed_losses(pair, side, part), strict=True):
                yield RowLoss(side, row.row, loss, row.trained)


def answers(
    pair: Pair,
    asked: Sequence[tuple[Side, Question]],
    stop_ids: Sequence[int],
    tokens: int,
    step: Callable[[Sequence[int]], None] = lambda lengths: None,
) -> Iterator[Reply]:
    """Greedy answers of `tokens` tokens at most, as they come to their ends.

    Many are written at once over one copy of the weights, of all sides together; where one ends, the next begins.
    `step` is told, token by token, how long those are that have not ended.
    """
    from studio.engine.decoding import Decoder, Row

    decoder, stops = Decoder(pair), frozenset(stop_ids)
    # The longest first: at the end, few long ones are not left to be written alone.
    waiting = deque(sorted(asked, key=lambda one: -len(one[1].prompt)))
    writing: list[tuple[Question, Row, list[int]]] = []
    while waiting or writing:
        while waiting and len(writing) < AT_ONCE:
            side, question = waiting.popleft()
            writing.append((question, Row(side, list(question.prompt)), []))
        going = []
        for (question, row, ids), logits in zip(
            writing, decoder.advance([row for _, row, _ in writing]), strict=True
        ):
            if logits is not None:
                token = int(logits.argmax())
                if token in stops:
                    yield Reply(row.side, question.row, ids, "end")
                    continue
                ids.append(token)
                row.pending = [token]
                if len(ids) >= tokens:
                    yield Reply(row.side, question.row, ids, "length")
                    continue
            going.append((question, row, ids))
        writing = going
        step([len(ids) for _, _, ids in writing])


@dataclass(frozen=True)
class GeneralRow:
    """A row of the general set, as it stands there and as ids and labels."""

    task: str
    conversation: Conversation
    encoded: Encoded


def general_rows(run: TunedRun, context: int) -> list[GeneralRow]:
    """The general set's English rows that are never learnt; what does not fit is left out."""
    gauged = [row for row in general_candidates(mixing.SHIPPED)[0] if row.gauge and row.language == "en"]
    encoded = run.encoder.encode_many([row.conversation for row in gauged])
    return [
        GeneralRow(candidate.task, candidate.conversation, row)
        for candidate, row in zip(gauged, encoded, strict=True)
        if row.problem is None and row.trained and row.total <= context
    ]
