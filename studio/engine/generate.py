"""The sides of a chat answer the same conversation, token by token and side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from studio.domain.answer import ChatSettings, Piece, Side, StopReason
from studio.domain.errors import StudioError
from studio.engine.decoding import Decoder, Row
from studio.engine.tokenizer import Tokenizer
from studio.engine.tuned import Pair

_LIKELY = 256
"""Tokens looked at first for the likeliest ones; sorting a whole vocabulary costs milliseconds."""


@dataclass(frozen=True)
class Prompt:
    """What one side is given, by the template of its own run."""

    ids: Sequence[int]
    stop_ids: Sequence[int]
    """The tokens that end its answer."""


def stream(
    pair: Pair,
    tokenizer: Tokenizer,
    prompts: Mapping[Side, Prompt],
    settings: ChatSettings,
    should_stop: Callable[[], bool],
) -> Iterator[Piece]:
    """The answers of all sides in `prompts`, one token of each in turn, until every side is done.

    All sides are read in one pass over the weights, and each draws from its own generator, so the same seed gives the
    same text alone or together.
    """
    for prompt in prompts.values():
        _check_length(len(prompt.ids), pair.context)
    decoder = Decoder(pair)
    answers = [_Answer(pair, tokenizer, side, prompt, settings) for side, prompt in prompts.items()]
    while answers:
        if should_stop():
            yield from (answer.stopped() for answer in answers)
            return
        for answer, logits in zip(answers, decoder.advance([answer.row for answer in answers]), strict=True):
            if logits is not None:
                yield answer.say(logits)
            else:
                yield answer.piece("")  # the prompt is still being read
        answers = [answer for answer in answers if not answer.done]


def greedy(pair: Pair, side: Side, prompt: Sequence[int], stop_ids: Sequence[int], tokens: int) -> list[int]:
    """The likeliest continuation, without its end token."""
    ids: list[int] = []
    logits, cache = pair.logits(side, list(prompt))
    while len(ids) < tokens:
        token = int(logits[-1].argmax())
        if token in stop_ids:
            break
        ids.append(token)
        logits, cache = pair.logits(side, [token], cache)
    return ids


class Detokenizer:
    """Ids to text as they come: what is given out never changes, and no half character is given out."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._given = 0

    def add(self, token: int) -> str:
        self._ids.append(token)
        text = self._tokenizer.decode(self._ids, skip_special=True)
        # A character whose last bytes are still to come decodes to U+FFFD: it waits for them.
        return self._give(text, len(text.rstrip("\ufffd")))

    def rest(self) -> str:
        """What was held back, when nothing more comes."""
        text = self._tokenizer.decode(self._ids, skip_special=True)
        return self._give(text, len(text))

    def _give(self, text: str, end: int) -> str:
        start, self._given = self._given, max(self._given, end)
        return text[start:end]


class _Answer:
    """One side's answer under way."""

    def __init__(
        self,
        pair: Pair,
        tokenizer: Tokenizer,
        side: Side,
        prompt: Prompt,
        settings: ChatSettings,
    ) -> None:
        self.row = Row(side, list(prompt.ids))
        self.done = False
        self._settings = settings
        self._stop_ids = frozenset(prompt.stop_ids)
        self._prompt_tokens = len(prompt.ids)
        self._room = pair.context - len(prompt.ids)
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._text = Detokenizer(tokenizer)
        self._tokens = 0
        self._begun = time.monotonic()

    def say(self, logits: torch.Tensor) -> Piece:
        """Add one token."""
        token = draw(logits, self._settings, self._generator)
        if token in self._stop_ids:
            return self._last("end", "", (token,))
        self._tokens += 1
        self.row.pending = [token]
        text = self._text.add(token)
        if self._tokens >= min(self._settings.max_new_tokens, self._room):
            return self._last("context" if self._tokens >= self._room else "length", text, (token,))
        return self.piece(text, ids=(token,))

    def stopped(self) -> Piece:
        return self._last("stopped")

    def piece(self, text: str, reason: StopReason = "", ids: tuple[int, ...] = ()) -> Piece:
        return Piece(
            self.row.side,
            text,
            self.done,
            self._tokens,
            round(time.monotonic() - self._begun, 3),
            reason,
            ids=ids,
            prompt_tokens=self._prompt_tokens,
        )

    def _last(self, reason: StopReason, text: str = "", ids: tuple[int, ...] = ()) -> Piece:
        self.done = True
        return self.piece(text + self._text.rest(), reason, ids)


def draw(logits: torch.Tensor, settings: ChatSettings, generator: torch.Generator) -> int:
    """The next token: the likeliest at temperature 0, else one from the nucleus of `top_p`.

    Nucleus sampling: Holtzman et al. 2019, arXiv:1904.09751. `logits` is one-dimensional. StudioError where they are no
    numbers.
    """
    if bool(logits.isnan().any()):
        raise StudioError(
            "The model gives no numbers any more: its weights have diverged.",
            "Chat with an earlier checkpoint of the run, or train it again with a lower learning rate.",
        )
    if settings.temperature <= 0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits / settings.temperature, dim=-1)
    likely, ids = probabilities.topk(min(_LIKELY, probabilities.numel()))
    if float(likely.sum()) < settings.top_p:
        likely, ids = probabilities.sort(descending=True)
    before = likely.cumsum(-1) - likely
    kept = torch.where(before < settings.top_p, likely, 0.0)
    kept[0] = likely[0]  # the likeliest one always, also at a top_p of 0
    return int(ids[torch.multinomial(kept, 1, generator=generator)])


def _check_length(tokens: int, context: int) -> None:
    if tokens >= context:
        raise StudioError(
            "The conversation has {tokens} tokens, and the model reads at most {context}: no room for an answer.",
            "Begin a new conversation, or shorten the messages.",
            tokens=tokens,
            context=context,
        )
