"""What each side of a talk is given for a turn: the exact prompt, and whether the model's context has room for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from studio.domain.answer import Side
from studio.domain.errors import StudioError
from studio.domain.talk import Talk, Turn
from studio.engine.model_facts import facts
from studio.engine.model_files import read_config
from studio.engine.tuned import TunedRun
from studio.services.store import Store
from studio.services.subject import beside_run

_ANSWER = 0.25
"""Of the context is kept for an answer, unless fewer tokens are asked for."""


@dataclass(frozen=True)
class Sent:
    """A prompt as text, with the special tokens written out, and as many tokens."""

    text: str
    tokens: int


@dataclass(frozen=True)
class Fit:
    """How a turn and what was said before it lie in the context."""

    tokens: int
    """Of the longest prompt among the sides."""
    context: int
    left_out: int
    """So many of the earliest turns have to be left out for an answer to have room; those left out before count."""


def sent(store: Store, talk: Talk, turn: Turn, side: Side) -> Sent:
    """Encoded by the function that the answering process encodes with."""
    run = _trained(store, talk, turn)[side]
    ids = run.prompt(talk.history(turn, side))
    return Sent(run.tokenizer.decode(ids), len(ids))


def fit(store: Store, talk: Talk, turn: Turn) -> Fit:
    """Raises StudioError where the message has no room even alone."""
    trained = _trained(store, talk, turn)
    model = next(iter(trained.values())).model_path
    context = facts(read_config(model), 0).context
    room = min(turn.settings.max_new_tokens, int(_ANSWER * context))
    for left_out in range(turn.left_out, len(talk.upto(turn.after)) + 1):
        tokens = _longest(trained, talk, replace(turn, left_out=left_out))
        if tokens + room <= context:
            return Fit(tokens, context, left_out)
    raise StudioError(
        "The message has {tokens} tokens, and the model reads at most {context}: no room for an answer.",
        "Shorten the message or the system message.",
        tokens=tokens,
        context=context,
    )


def _longest(trained: Mapping[Side, TunedRun], talk: Talk, turn: Turn) -> int:
    return max(len(trained[side].prompt(talk.history(turn, side))) for side in turn.sides)


def _trained(store: Store, talk: Talk, turn: Turn) -> dict[Side, TunedRun]:
    return beside_run(store, talk.run, turn.beside).trained()
