"""The best rows of a set, by score and by spread.

A thousand good and varied rows can do what many do not (LIMA: Zhou et al. 2023, arXiv:2305.11206). As in DEITA (Liu et
al. 2023, arXiv:2312.15685) rows are gone through by score, and one is passed over where it is close to one that was
chosen; scores are the checklist's, so that no model is needed. Time grows with the rows, not with their pairs.
"""

from __future__ import annotations

import math
import re
import statistics
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from studio.domain.chat import Conversation
from studio.domain.errors import StudioError
from studio.domain.text import Text
from studio.engine.checks.registry import CHECKS, row_number
from studio.engine.checks.scoring import WEIGHTS, Report
from studio.engine.near_duplicates import band_keys, signatures

ALIKE = 0.5
"""Rows whose MinHash signatures agree in so much are alike: an estimate of the Jaccard index of their pieces."""
KIND_BITS = 8
"""Rows are sorted into 2 ** 8 kinds by the words of their prompts."""
BARS = 10
LENGTHS = (50, 200, 800, 3200)
"""Characters of a response where one class of lengths ends and the next begins."""
TASKS = 8
"""Tasks that are told apart in the spread; the others are one."""
_WORDS = re.compile(r"[^\W\d_]+")
_HAN = re.compile(r"[\u3400-\u9fff]")
_PROMPT = 600
"""Characters of a prompt that its kind is told by."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A row that stays: its place in the list, its number in the file, its score, and why."""

    position: int
    row: int
    score: float
    reason: Text


Why = Literal["errors", "alike", "outscored"]
"""A row goes because of what the checklist found in it, of another like it, or of better and rarer ones."""


@dataclass(frozen=True, slots=True)
class Left:
    """A row that is left out, and why."""

    position: int
    row: int
    score: float
    why: Why
    reason: Text


@dataclass(frozen=True)
class Share:
    """How many rows of a class there are before and after; an empty name stands for all other tasks."""

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class Selection:
    """What a selection would keep and leave, both in the order of the file, and how the set changes by it."""

    kept: tuple[Kept, ...]
    left: tuple[Left, ...]
    histogram: tuple[Share, ...]
    """Rows by score, in ten bars from 0 to 1."""
    tasks: tuple[Share, ...]
    lengths: tuple[Share, ...]

    def conversations(self, rows: Sequence[Conversation]) -> list[Conversation]:
        return [rows[item.position] for item in self.kept]


def propose(conversations: Sequence[Conversation], report: Report, rows: int) -> Selection:
    """The best `rows` of the conversations, or fewer where not so many are free of errors. The same for the same set.

    A row's worth is its score divided by its place among the rows of its kind, best first: the fourth good row of one
    kind is worth a quarter, so that a weaker one of a rare kind comes before it. Rows that are alike to one that was
    chosen come last of all. StudioError where `rows` is no number of rows.
    """
    if rows < 1:
        raise StudioError("{rows} rows cannot be selected.", "Ask for one row at least.", rows=rows)
    found = scores(conversations, report)
    said = [_said(item) for item in conversations]
    chance = [zlib.crc32(text.encode("utf-8", "surrogatepass")) for text in said]
    order, places = _by_worth(found, kinds([item.prompt for item in conversations]), chance)
    unlike, alike = _apart(said, order)
    chosen = set([*unlike, *alike][:rows])
    errors = _errors(report)
    kept, left = [], []
    for position in range(len(conversations)):
        number = row_number(conversations, position)
        score = round(found[position], 4)
        if position in chosen:
            kept.append(Kept(position, number, score, _why_kept(score, places[position])))
        else:
            near = alike.get(position)
            near_row = row_number(conversations, near) if near is not None else None
            left.append(Left(position, number, score, *_why_left(score, near_row, errors.get(number))))
    return Selection(tuple(kept), tuple(left), *_spread(conversations, found, chosen))


def scores(conversations: Sequence[Conversation], report: Report) -> list[float]:
    """Each row's quality, 0 to 1: (1 - the weights of its findings) x how plausible its response's length is.

    Findings weigh as in the checklist's score: an error 1, a warning 0.5, an info 0.1; together 1 at most. A length is
    wholly plausible up to two robust deviations of its logarithm from the set's median, and 2 / z beyond.
    """
    lost: dict[int, float] = {}
    for found in report.findings:
        for row in set(found.rows):
            lost[row] = lost.get(row, 0.0) + WEIGHTS[found.severity]
    logs = [math.log1p(sum(map(len, item.responses))) for item in conversations]
    middle = statistics.median(logs) if logs else 0.0
    deviation = 1.4826 * statistics.median(abs(log - middle) for log in logs) if logs else 0.0
    scale = max(deviation, 0.1)
    return [
        max(0.0, 1 - lost.get(row_number(conversations, position), 0.0))
        * min(1.0, 2 / max(abs(log - middle) / scale, 2.0))
        for position, log in enumerate(logs)
    ]


def kinds(prompts: Sequence[str]) -> list[int]:
    """A number for each prompt that is the same for prompts with much the same words.

    Each bit is the sign of a random projection of its TF-IDF vector (Charikar 2002, SimHash); words are hashed, so no
    vocabulary is kept.
    """
    import numpy

    hashed = [[zlib.crc32(word.encode()) for word in set(_words(prompt))] for prompt in prompts]
    seen = Counter(word for words in hashed for word in words)
    known = numpy.fromiter(seen.keys(), dtype=numpy.int64, count=len(seen))
    weight = numpy.log((1 + len(prompts)) / (1 + numpy.fromiter(seen.values(), dtype=numpy.int64)))
    bits = (known[:, None] >> numpy.arange(8, 8 + KIND_BITS)) & 1
    table = dict(zip(known.tolist(), weight[:, None] * (2 * bits - 1), strict=True))
    zero = numpy.zeros(KIND_BITS)
    powers = 1 << numpy.arange(KIND_BITS)
    return [int(((sum((table[word] for word in words), zero) > 0) * powers).sum()) for words in hashed]


def _words(text: str) -> list[str]:
    """Words; of scripts that put no spaces between them, characters."""
    found = _WORDS.findall(text[:_PROMPT].lower())
    return [part for word in found for part in (_HAN.findall(word) or [word])]


def _said(conversation: Conversation) -> str:
    return f"{conversation.prompt}\n{conversation.response}"


def _by_worth(
    found: Sequence[float], kind: Sequence[int], chance: Sequence[int]
) -> tuple[list[int], dict[int, int]]:
    """Positions without those of score 0, the worthiest first, and each one's place among its kind."""
    # Of equal rows no place in the file is better than another: their texts decide, by chance.
    best = sorted((p for p in range(len(found)) if found[p] > 0), key=lambda p: (-found[p], chance[p], p))
    counts: Counter[int] = Counter()
    places: dict[int, int] = {}
    for position in best:
        counts[kind[position]] += 1
        places[position] = counts[kind[position]]
    return sorted(best, key=lambda p: (-found[p] / places[p], chance[p], p)), places


def _apart(texts: Sequence[str], order: Sequence[int]) -> tuple[list[int], dict[int, int]]:
    """Positions that are unlike all before them in `order`; the others, each with one that it is alike to."""
    table = signatures(texts)
    keys = band_keys(table)
    seen: dict[tuple[int, int], int] = {}
    unlike: list[int] = []
    alike: dict[int, int] = {}
    for position in order:
        marks = list(enumerate(keys[position].tolist()))
        near = {seen[mark] for mark in marks if mark in seen}
        close = [other for other in near if (table[other] == table[position]).mean() >= ALIKE]
        if close:
            alike[position] = min(close)
            continue
        unlike.append(position)
        for mark in marks:
            seen.setdefault(mark, position)
    return unlike, alike


def _errors(report: Report) -> dict[int, str]:
    """A check that a row fails, by row: the first of the gravest."""
    gravest: dict[int, tuple[float, str]] = {}
    for found in report.findings:
        for row in found.rows:
            if WEIGHTS[found.severity] > gravest.get(row, (0.0, ""))[0]:
                gravest[row] = WEIGHTS[found.severity], found.check
    return {row: check for row, (_, check) in gravest.items()}


def _why_kept(score: float, place: int) -> Text:
    return Text("Score {score}, number {place} of its kind.", {"score": f"{score:.2f}", "place": place})


def _why_left(score: float, near: int | None, check: str | None) -> tuple[Why, Text]:
    if score <= 0 and check:
        reason = CHECKS[check].title if check in CHECKS else check
        return "errors", Text("The checklist found too much in it: {reason}.", {"reason": reason})
    if near is not None:
        return "alike", Text("It is alike to row {row}, which comes before it.", {"row": near})
    text = Text("Score {score}: better rows, or rarer kinds, come before it.", {"score": f"{score:.2f}"})
    return "outscored", text


def _spread(
    conversations: Sequence[Conversation], found: Sequence[float], chosen: set[int]
) -> tuple[tuple[Share, ...], tuple[Share, ...], tuple[Share, ...]]:
    """(by score, by task, by length)."""
    bars = [str(min(BARS - 1, int(score * BARS)) / BARS) for score in found]
    tasks = [_task(item) for item in conversations]
    common = {name for name, _ in Counter(tasks).most_common(TASKS)}
    tasks = [name if name in common else "" for name in tasks]
    lengths = [_length(len(item.response)) for item in conversations]
    names = [f"{low + 1}–{high}" for low, high in zip((0, *LENGTHS), LENGTHS, strict=False)]
    return (
        _shares(bars, chosen, [str(bar / BARS) for bar in range(BARS)]),
        _shares(tasks, chosen, [*sorted(common, key=lambda name: -tasks.count(name)), ""]),
        _shares(lengths, chosen, [*names, f"> {LENGTHS[-1]}"]),
    )


def _shares(classes: Sequence[str], chosen: set[int], names: Sequence[str]) -> tuple[Share, ...]:
    before = Counter(classes)
    after = Counter(classes[position] for position in chosen)
    return tuple(Share(name, before[name], after[name]) for name in dict.fromkeys(names))


def _task(conversation: Conversation) -> str:
    """What is asked for, by its first word: instructions begin with a verb, questions with their question word."""
    words = _words(conversation.prompt[:_PROMPT])[:2]
    return "".join(words) if words and _HAN.match(words[0]) else "".join(words[:1])


def _length(characters: int) -> str:
    low = 0
    for high in LENGTHS:
        if characters <= high:
            return f"{low + 1}–{high}"
        low = high
    return f"> {LENGTHS[-1]}"
