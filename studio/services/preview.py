"""What the Template tab says of a row and of the whole set: the rows as a run is fed them, and their statistics."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from studio.domain.chat import Conversation
from studio.domain.config import DataConfig, Overlong, RunConfig, TemplateConfig
from studio.domain.encoded import Encoded
from studio.domain.finding import Finding, worst_first
from studio.domain.text import Text
from studio.engine.encode import Encoder, made_of
from studio.engine.hazards import hazard_findings
from studio.engine.model_facts import facts
from studio.engine.model_files import read_config
from studio.engine.templates import is_resolved
from studio.engine.tokenizer import Tokenizer, load_tokenizer
from studio.services import plan
from studio.services.run_files import RunFiles
from studio.services.store import Store

Range = tuple[int, int]
"""Whole numbers from the first to the last, both included."""

ELSEWHERE = frozenset({plan.HELD_OUT_TOKENS[0], plan.GENERAL_TOKENS[0]})
"""Findings whose row numbers are those of another file."""
BARS = 48
"""Bars of a histogram at most."""


@dataclass(frozen=True)
class Shown:
    """The rows of a configuration that can be looked at, before they are encoded."""

    conversations: tuple[Conversation, ...]
    """Those to train on, held out and left out, in the order of the file; then the general ones that are mixed in."""
    held_out: frozenset[int]
    """Numbers of the rows that are measured on, not trained."""
    tokenizer: Tokenizer
    context: int
    """Tokens that the model can see."""


@dataclass(frozen=True)
class Bar:
    """How many rows have from `first` to `last` tokens."""

    first: int
    last: int
    rows: int


@dataclass(frozen=True)
class Fates:
    """What becomes of the rows that are longer than the maximum, in the rows that the run is fed."""

    cut: int = 0
    """Fed rows that lose their end, parts of split ones included."""
    cut_tokens: int = 0
    left_out: int = 0
    split: int = 0
    parts: int = 0
    """Fed rows that the split ones became."""
    kept: int = 0


@dataclass(frozen=True)
class Measured:
    """The rows that the evaluation loss is measured on."""

    rows: int
    longest: int
    over: int
    """Rows with more tokens than the maximum length."""
    fates: Fates
    elsewhere: bool
    """Whether they are those of another file."""
    unfed: int = 0
    """Rows that nothing is measured on, for whatever reason."""


@dataclass(frozen=True)
class Overview:
    """A whole set as a run is fed it."""

    rows: int
    """Rows that are trained on."""
    fed: int
    """Rows that the run is fed: more where turns are split."""
    left_out: int
    """Rows that are not trained on although they are not held out."""
    held_out: Measured | None
    tokens: int
    trained: int
    sha256: str
    """As in a run's env.json under sha256.encoded."""
    max_length: int
    longest: int
    median: int
    """Half of the rows have at most so many tokens."""
    over: int
    """Rows with more tokens than the maximum length."""
    fates: Fates
    bars: tuple[Bar, ...]
    findings: tuple[Finding, ...]
    drawn: Text | None = None
    """What is said where the file has more rows than were drawn from it."""


def shown(store: Store, config: RunConfig) -> Shown:
    """Raises StudioError where the data or the model cannot be used."""
    path = _model(store, config)
    conversations, held_out = _arranged(plan.data_key(store, config))
    return Shown(conversations, held_out, load_tokenizer(path), _context(path))


@dataclass(frozen=True)
class Outline:
    """Which rows can be looked at."""

    numbers: tuple[Range, ...]
    """Those of the file, which stand first."""
    own: int
    """So many are of the file; the others are mixed in."""
    total: int


@dataclass(frozen=True)
class Row:
    """One row that is looked at."""

    conversation: Conversation
    held_out: bool
    """Whether it is measured on, not trained."""


def outline(store: Store, config: RunConfig) -> Outline:
    """StudioError as for `shown`."""
    rows = shown(store, config).conversations
    numbers = [conversation.row for conversation in rows if not conversation.source]
    return Outline(tuple(ranges(numbers)), len(numbers), len(rows))


def rows_at(store: Store, config: RunConfig, places: Sequence[int]) -> dict[int, Row]:
    """The rows at these places, counted from 1; those that are not there are left out. StudioError as for `shown`."""
    found = shown(store, config)
    return {place: _row(found, place) for place in places if 1 <= place <= len(found.conversations)}


def _row(found: Shown, place: int) -> Row:
    conversation = found.conversations[place - 1]
    return Row(conversation, not conversation.source and conversation.row in found.held_out)


def tokenizer_and_context(store: Store, config: RunConfig) -> tuple[Tokenizer, int]:
    """By which rows are shown, and how many tokens the model can see. StudioError where it cannot be used."""
    path = _model(store, config)
    return load_tokenizer(path), _context(path)


def _model(store: Store, config: RunConfig) -> Path:
    return store.locate(config.model.id, revision=config.model.revision, download=False)


def _context(model: Path) -> int:
    return facts(read_config(model), 0).context


@lru_cache(maxsize=4)
def _arranged(key: plan.DataKey) -> tuple[tuple[Conversation, ...], frozenset[int]]:
    """The rows in the order in which they are looked at, and the numbers of those held out."""
    data = plan.load_rows(key)
    # Rows of a held-out file have numbers of their own, and are not those of this one.
    measured = [] if DataConfig.model_validate_json(key.data).held_out_path else data.held_out
    own = [conversation for conversation in data.train if not conversation.source]
    mixed_in = [conversation for conversation in data.train if conversation.source]
    ordered = sorted([*own, *measured, *data.left_out], key=lambda conversation: conversation.row)
    return (*ordered, *mixed_in), frozenset(conversation.row for conversation in measured)


def is_trained_alike(run: RunFiles, config: TemplateConfig, tokenizer: Tokenizer) -> bool:
    """Whether a run was trained with this template, the date in it aside. StudioError where that cannot be read."""
    if not run.template.is_file():  # it has not begun to train
        return True
    text = run.template.read_text(encoding="utf-8")
    return is_resolved(text, config.name, tokenizer, config.source)


@dataclass(frozen=True)
class InRun:
    """What a run did with a row, and the numbers of all rows that it measures on and does not train."""

    part: Literal["trained", "held_out", "absent"]
    held_out: tuple[int, ...]
    file: str
    """The file whose rows they are, where it is not the one that was trained on; else empty."""


def in_run(run: RunFiles, conversation: Conversation) -> InRun:
    """Rows are told by number and content: the file may have changed since the run."""

    def holds(rows: Sequence[Conversation]) -> bool:
        own = (row for row in rows if row.row == conversation.row and not row.source)
        return any(row.to_json() == conversation.to_json() for row in own)

    held_out = run.held_out_rows()
    trained = not holds(held_out) and holds(run.train_rows())
    return InRun(
        "trained" if trained else "held_out" if holds(held_out) else "absent",
        tuple(row.row for row in held_out),
        Path(run.config().data.held_out_path or "").name,
    )


def fed(
    encoder: Encoder, conversation: Conversation, max_length: int | None, overlong: Overlong, context: int
) -> list[Encoded]:
    """A conversation as the rows that a run is fed, each with its spans; `max_length` None: whole."""
    return made_of(encoder, conversation, encoder.encode(conversation), max_length, overlong, context)


def overview(store: Store, config: RunConfig) -> Overview:
    """The statistics of a set, worked out once a day for as long as files, model and configuration stay the same."""
    model = _model(store, config)
    encoder = plan.todays_encoder(config.template, load_tokenizer(model))
    return _overview(store, config.model_dump_json(), plan.data_key(store, config), encoder, _context(model))


@lru_cache(maxsize=8)
def _overview(store: Store, config: str, key: plan.DataKey, encoder: Encoder, context: int) -> Overview:
    run = RunConfig.model_validate_json(config)
    found = plan.encoded(store, run)
    lengths = sorted(row.total for row in found.rows)
    unfed, unusable = _unfed(found), _unusable(store, run)
    return Overview(
        rows=len(found.rows) - unfed,
        fed=len(found.data.rows),
        left_out=unfed + sum(item.count for item in unusable),
        held_out=_measured(found.held_out, run) if found.held_out else None,
        tokens=found.data.tokens,
        trained=found.data.trained_tokens,
        sha256=found.data.sha256,
        max_length=found.max_length,
        longest=lengths[-1],
        median=lengths[(len(lengths) - 1) // 2],
        over=_over(found),
        fates=fates(found),
        bars=length_bars(lengths, found.max_length),
        findings=tuple(worst_first([*unusable, *_hazards(found, run)])),
        drawn=next(
            (item.text for item in plan.load_data(store, run).findings if item.check == "drawn"), None
        ),
    )


def _over(found: plan.EncodedSet) -> int:
    return sum(row.total > found.max_length for row in found.rows)


def _unfed(found: plan.EncodedSet) -> int:
    """Rows of which the run is fed nothing."""
    own = len(found.data.rows) - found.data.mixed_in
    fed = {(row.row, place >= own) for place, row in enumerate(found.data.rows)}
    return sum((row.row, bool(row.source)) not in fed for row in found.conversations)


def _measured(held_out: plan.EncodedSet, run: RunConfig) -> Measured:
    return Measured(
        rows=len(held_out.rows),
        longest=max(row.total for row in held_out.rows),
        over=_over(held_out),
        fates=fates(held_out),
        elsewhere=bool(run.data.held_out_path),
        unfed=_unfed(held_out),
    )


def _hazards(found: plan.EncodedSet, run: RunConfig) -> list[Finding]:
    """Those of each row of the file, trained or measured on; of rows of another file, one finding for all."""
    held_out = found.held_out
    if held_out is None:
        return list(found.data.findings)
    if run.data.held_out_path:
        about = plan.about_others(held_out.data, found.max_length, plan.HELD_OUT_TOKENS)
        return [*found.data.findings, *about]
    parts = (
        part
        for rows in (found, held_out)
        for conversation, row in zip(rows.conversations, rows.rows, strict=True)
        if not conversation.source
        for part in made_of(
            found.encoder, conversation, row, found.max_length, run.data.overlong, found.context
        )
    )
    in_order = sorted(parts, key=lambda part: part.row)
    about = [item for item in found.data.findings if item.check in ELSEWHERE]
    return [*hazard_findings(in_order, found.max_length, run.data.overlong), *about]


def _unusable(store: Store, config: RunConfig) -> list[Finding]:
    """The file's own rows that never come to be encoded, as they lack a prompt or a response."""
    own = Path(config.data.path).name
    return [
        item
        for item in plan.load_data(store, config).findings
        if item.check == "left_out" and item.text.values.get("file") == own
    ]


def fates(found: plan.EncodedSet) -> Fates:
    """What became of each row that is too long, read off the rows that the run is fed."""
    rows, own = found.data.rows, len(found.data.rows) - found.data.mixed_in
    # Both in the order of the conversations; a number may stand in each.
    fed = {False: deque(rows[:own]), True: deque(rows[own:])}
    counts: Counter[str] = Counter()
    for conversation, row in zip(found.conversations, found.rows, strict=True):
        following, parts = fed[bool(conversation.source)], []
        while following and following[0].row == conversation.row:
            parts.append(following.popleft())
        if row.total <= found.max_length:
            continue
        counts["cut"] += sum(part.truncated for part in parts)
        counts["cut_tokens"] += sum(len(part.cut_ids) for part in parts)
        if not parts:
            counts["left_out"] += 1
        elif "split" in parts[0].hazards:
            counts["split"] += 1
            counts["parts"] += len(parts)
        elif not parts[0].truncated:
            counts["kept"] += 1
    return Fates(**counts)


def length_bars(lengths: Sequence[int], limit: int, bars: int = BARS) -> tuple[Bar, ...]:
    """A histogram of ascending lengths, whose bars end at `limit` where any row reaches beyond it.

    The last bar holds all that are longer than four times the limit.

    >>> length_bars([1, 5, 9, 12], 8, bars=4)
    (Bar(first=1, last=4, rows=1), Bar(first=5, last=8, rows=1), Bar(first=9, last=12, rows=2))
    """
    longest = lengths[-1]
    reach = min(longest, 4 * limit)
    width = math.ceil(longest / bars) if longest <= limit else limit / max(1, bars * limit // reach)
    edges = sorted({round(width * number) for number in range(math.ceil(reach / width) + 1)})
    lasts = [*edges[1:-1], max(edges[-1], longest)]
    return tuple(
        Bar(low + 1, last, bisect_left(lengths, last + 1) - bisect_left(lengths, low + 1))
        for low, last in zip(edges, lasts, strict=False)
    )


def ranges(numbers: Iterable[int]) -> list[Range]:
    """Ascending numbers as ranges.

    >>> ranges([1, 2, 3, 7])
    [(1, 3), (7, 7)]
    """
    found: list[Range] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return found


def is_among(number: int, found: Sequence[Range]) -> bool:
    """Whether ascending ranges hold a number.

    >>> is_among(2, [(1, 3), (7, 7)]), is_among(5, [(1, 3), (7, 7)])
    (True, False)
    """
    place = bisect_right(found, number, key=lambda one: one[0]) - 1
    return place >= 0 and number <= found[place][1]


def hazard_rows(findings: Iterable[Finding], rows: int) -> list[int]:
    """Numbers of the rows with a hazard of their own: what is so by the way in every row is none to jump to."""
    own = [item for item in findings if item.check not in ELSEWHERE]
    return sorted({row for item in own if item.severity != "info" or item.count < rows for row in item.rows})
