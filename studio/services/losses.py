"""How well a model already knows a row: each trained token's loss, measured and kept for as long as there is room."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from studio.domain.encoded import Encoded
from studio.engine.token_losses import TokenLosses, token_losses
from studio.services.store import Store
from studio.services.subject import Stamps, Subject, subject_of

__all__ = ["KeptLosses", "Measured", "TokenLosses", "preview_losses"]

_ROOM = 200_000
"""Losses that are kept: some 10 MB."""


@dataclass(frozen=True)
class Measured:
    """How far the losses of a row are; the last one, `done`, has them."""

    phase: Literal["waiting", "loading", "measuring", "done"]
    """'waiting': for another answer to end. 'loading': the model."""
    share: float = 0.0
    """Of this phase, from 0 to 1."""
    losses: TokenLosses | None = None


def preview_losses(
    store: Store,
    encoded: Encoded,
    *,
    run: str | None = None,
    model: str | None = None,
    revision: str | None = None,
    progress: Callable[[str, float, float], None] = lambda phase, done, total: None,
) -> TokenLosses:
    """The losses of a row's trained tokens, one entry a token, under a model that is loaded into this process.

    With a run under its base and its tuned model, else under the base model alone: `model`, or the starter.
    `progress(phase, done, total)` is called with `loading` and `measuring`, in percent. Raises StudioError where model,
    run and row do not fit together.
    """
    subject = subject_of(store, run, model, revision)
    progress("loading", 0, 0)
    pair = subject.load()
    return token_losses(
        pair, encoded.input_ids, encoded.labels, lambda share: progress("measuring", round(100 * share), 100)
    )


class KeptLosses:
    """Results by weights and row; those that were looked at longest ago make room for new ones."""

    def __init__(self, room: int = _ROOM) -> None:
        self.room = room
        self._kept: OrderedDict[bytes, TokenLosses] = OrderedDict()
        self._used = 0
        self._one_at_a_time = threading.Lock()

    def get(self, key: bytes) -> TokenLosses | None:
        with self._one_at_a_time:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: bytes, losses: TokenLosses) -> None:
        with self._one_at_a_time:
            self._used += _size(losses) - _size(self._kept.pop(key, None))
            self._kept[key] = losses
            while self._used > self.room:
                _, oldest = self._kept.popitem(last=False)
                self._used -= _size(oldest)


def key_of(subject: Subject, stamps: Stamps, encoded: Encoded) -> bytes:
    """Equal for the same row under the same weights."""
    what = (subject, stamps, encoded.input_ids, encoded.labels)
    return hashlib.sha256(repr(what).encode()).digest()


def _size(losses: TokenLosses | None) -> int:
    return len(losses["base"]) + len(losses["tuned"] or ()) if losses else 0
