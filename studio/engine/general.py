"""General rows beside one's own, of the set that the studio ships: those a run is gauged on, those it holds on to.

docs/forgetting.md says what they are for.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from studio.domain.chat import Conversation
from studio.domain.config import RunConfig, TrainConfig
from studio.domain.encoded import Encoded
from studio.domain.errors import StudioError
from studio.engine import mixing
from studio.engine.dataset import general_candidates
from studio.engine.encode import Encoder
from studio.engine.mixing import SHIPPED, Candidate

ANSWER_TOKENS = 48
"""Of an answer that the model gives itself, at most."""
KNOWN = 64
"""Rows from which elastic weight consolidation tells what matters."""
_LONGEST = 512
"""Tokens of a row at most: a gauge that is read at each evaluation has to be quick."""
_LOOKED_AT = 500
"""Of one's own rows, about, for their language."""
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_SHARE = 0.1
"""Of one's own rows in Chinese, from which Chinese general rows are gauged too."""


@dataclass(frozen=True)
class General:
    """General rows as tokens."""

    gauged: Sequence[Encoded] = ()
    """Never learnt: they show what is forgotten."""
    prompts: Sequence[Sequence[int]] = ()
    """Of the gauged rows: the model answers them itself."""
    stop_ids: Sequence[int] = ()
    """What ends an answer."""
    known: Sequence[Encoded] = ()
    """Others, that elastic weight consolidation holds on to."""

    @property
    def tokens(self) -> int:
        """That pass through the model at each evaluation; an answer may be shorter."""
        answers = sum(len(prompt) + ANSWER_TOKENS for prompt in self.prompts)
        return sum(row.total for row in self.gauged) + answers

    @property
    def tokens_once(self) -> int:
        """That are trained over, so to speak, before the first step."""
        return sum(row.total for row in self.known)


def check(config: TrainConfig) -> None:
    """Raises StudioError where a run cannot hold on to what it knows in the way that is asked for."""
    if config.ewc and config.dora and config.method != "full":
        raise StudioError(
            "Holding on to general skills (EWC) and DoRA do not go together: the penalty is worked out for adapters "
            "that are two matrices alone.",
            "Switch one of them off.",
        )


def general_rows(config: RunConfig, encoder: Encoder, train: Sequence[Conversation], longest: int) -> General:
    """For a configuration and its training rows; none has more than `longest` tokens.

    A row whose prompt the template refuses is left out.
    """
    gauges, holds_on = config.evaluate.general_rows, bool(config.train.ewc)
    if not (gauges or holds_on):
        return General()
    languages = {"en", "zh"} if _speaks_chinese(train) else {"en"}
    candidates = [
        row for row in _shipped() if row.language in languages and (gauges if row.gauge else holds_on)
    ]
    encoded = encoder.encode_many([row.conversation for row in candidates])
    limit = min(longest, _LONGEST)
    by_row = {row.row: row for row in encoded if row.problem is None and row.trained and row.total <= limit}
    fitting = [row for row in candidates if row.conversation.row in by_row]
    prompts: dict[int, Sequence[int]] = {}
    for row in _drawn([row for row in fitting if row.gauge], gauges):
        with contextlib.suppress(StudioError):
            prompts[row.row] = encoder.prompt(row.before_response(), row.tools)
    known = _drawn([row for row in fitting if not row.gauge], KNOWN)
    return General(
        [by_row[row] for row in prompts],
        [*prompts.values()],
        encoder.stop_ids,
        [by_row[row.row] for row in known],
    )


def _drawn(candidates: Sequence[Candidate], count: int) -> list[Conversation]:
    """Spread over the kinds of tasks; the same ones in each run, so that runs can be compared."""
    return mixing.draw(candidates, min(count, len(candidates)), 0, SHIPPED)[0]


def _speaks_chinese(rows: Sequence[Conversation]) -> bool:
    looked_at = rows[:: max(1, len(rows) // _LOOKED_AT)]
    chinese = sum(any(_CHINESE.search(message.content) for message in row.messages) for row in looked_at)
    return chinese >= _SHARE * len(looked_at) > 0


@lru_cache(maxsize=1)
def _shipped() -> list[Candidate]:
    return general_candidates(SHIPPED)[0]
