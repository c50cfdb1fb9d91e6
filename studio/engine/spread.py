"""How varied a set is, at a glance: lengths, repetition, tasks, languages, turns and forms, in one pass over the rows.

A `Spread` is filled row by row and joined with those of other shards: the result does not depend on how the rows were
ordered or shared out, and its size does not grow with their number.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from studio.domain.chat import Conversation
from studio.engine.checks.text import is_json, language_of, script_of
from studio.engine.hash_sample import HashSample, text_hash
from studio.engine.task_words import task_of

SAMPLED = 2_000
"""Different responses that are kept to count n-grams in."""
SAMPLED_CHARACTERS = 1_000
"""Of each of them so many characters: the sample is at most some 8 MB."""
NGRAMS = 20_000
"""Words of the sample that n-grams are counted in: distinct-n falls with the length of a text, so that only figures
of the same length can be compared."""
MANY_TURNS = 10
OPENINGS = 12
BINS_AN_OCTAVE = 16
"""A length is known to 1/32 of an octave to either side: 2.2 %."""
_GLANCE = 120
"""Characters that tell the language of a row."""
_WORD = re.compile(r"[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7a3]|[^\W_]+", re.UNICODE)
_LETTERS = re.compile(r"[A-Za-z]{3}")
_CODE = re.compile(
    r"^\s*(?:def |class |import |from \w+ import |#include|SELECT |function |const |public |<\?php|<!DOCTYPE)"
)
_MARKED = re.compile(r"^(?:#{1,6} |[-*] |\d+[.)] |\|.*\|)", re.MULTILINE)


class Lengths:
    """Lengths in bins that grow by 4.4 %, whose counts can be added: percentiles without the lengths themselves."""

    def __init__(self) -> None:
        self.bins: Counter[int] = Counter()
        self.total = 0
        self.shortest: int | None = None
        self.longest = 0

    def add(self, length: int) -> None:
        self.bins[round(BINS_AN_OCTAVE * math.log2(length + 1))] += 1
        self.total += length
        if length > self.longest:
            self.longest = length
        if self.shortest is None or length < self.shortest:
            self.shortest = length

    def merge(self, other: Lengths) -> None:
        self.bins.update(other.bins)
        self.total += other.total
        self.longest = max(self.longest, other.longest)
        known = [value for value in (self.shortest, other.shortest) if value is not None]
        self.shortest = min(known, default=None)

    def percentile(self, percent: float) -> int:
        """The length that `percent` of the rows do not exceed, to 2.2 %; 0 without rows."""
        wanted, seen = percent / 100 * self.bins.total(), 0
        for bin_ in sorted(self.bins):
            seen += self.bins[bin_]
            if seen >= wanted:
                middle = round(2 ** (bin_ / BINS_AN_OCTAVE) - 1)
                return max(self.shortest or 0, min(middle, self.longest))
        return 0

    def result(self) -> Percentiles:
        rows = self.bins.total()
        p5, p25, p50, p75, p95, p99 = map(self.percentile, (5, 25, 50, 75, 95, 99))
        mean = round(self.total / rows) if rows else 0
        return Percentiles(p5, p25, p50, p75, p95, p99, self.longest, mean)


@dataclass(frozen=True)
class Percentiles:
    """Characters that so many percent of the rows do not exceed."""

    p5: int
    p25: int
    p50: int
    p75: int
    p95: int
    p99: int
    longest: int
    mean: int


@dataclass(frozen=True)
class Spreading:
    """What the rows of a set are like. Mappings are rows by name, the most frequent first."""

    rows: int
    prompts: Percentiles
    responses: Percentiles
    distinct_responses: int
    """Different responses: estimated to some 2 % above 2,000."""
    distinct_n: tuple[float, float, float]
    """Different words, pairs and triples of words for each that is written (Li et al. 2016, distinct-n)."""
    words: int
    """Words that distinct-n was counted in."""
    tasks: Mapping[str, int]
    openings: Mapping[str, int]
    languages: Mapping[str, int]
    turns: Mapping[int, int]
    """Rows by the number of the assistant's turns; 10 is ten or more."""
    forms: Mapping[str, int]
    """Rows by the form of the last response: json, code, marked (lists, headings, tables), prose, call, empty."""
    has: Mapping[str, int]
    """Rows with a system prompt, tools, reasoning."""

    def to_json(self) -> dict[str, Any]:
        said = {name: getattr(self, name) for name in ("rows", "distinct_responses", "words")}
        return {
            **said,
            "prompt_characters": vars(self.prompts),
            "response_characters": vars(self.responses),
            **{f"distinct_{n}": value for n, value in enumerate(self.distinct_n, start=1)},
            **{
                name: dict(getattr(self, name)) for name in ("tasks", "openings", "languages", "forms", "has")
            },
            "turns": {str(turns): rows for turns, rows in self.turns.items()},
        }


@dataclass
class Spread:
    """The statistics of the rows so far."""

    rows: int = 0
    prompts: Lengths = field(default_factory=Lengths)
    responses: Lengths = field(default_factory=Lengths)
    sample: HashSample[str] = field(default_factory=lambda: HashSample(SAMPLED))
    tasks: Counter[str] = field(default_factory=Counter)
    openings: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    turns: Counter[int] = field(default_factory=Counter)
    forms: Counter[str] = field(default_factory=Counter)
    has: Counter[str] = field(default_factory=Counter)

    def add(self, conversation: Conversation) -> None:
        """Take in one row."""
        prompt = response = first = system = ""
        asked = answered = 0
        thought = called = False
        for message in conversation.messages:
            content = message.content
            if message.role == "user":
                first = first or content
                asked += len(content)
            elif message.role == "assistant":
                response, called = content, bool(message.tool_calls)
                answered += 1
                thought = thought or bool(message.reasoning) or content.startswith("<think>")
            elif message.role == "system":
                system = system or content
        self.rows += 1
        self.prompts.add(asked)
        self.responses.add(len(response))
        self.turns[min(answered, MANY_TURNS)] += 1
        prompt = first or system
        task, word = task_of(prompt)
        self.tasks[task] += 1
        if word:
            self.openings[word] += 1
        self.languages[language(response if len(response) > len(prompt) else prompt)] += 1
        self.forms[form(response, called)] += 1
        for name, there in (("system", system), ("tools", conversation.tools), ("reasoning", thought)):
            if there:
                self.has[name] += 1
        if response:
            key = text_hash(response)
            if self.sample.wants(key):
                self.sample.add(key, response[:SAMPLED_CHARACTERS])

    def merge(self, other: Spread) -> None:
        """Take in the rows of another shard."""
        self.rows += other.rows
        self.prompts.merge(other.prompts)
        self.responses.merge(other.responses)
        self.sample.merge(other.sample)
        for name in ("tasks", "openings", "languages", "turns", "forms", "has"):
            getattr(self, name).update(getattr(other, name))

    def result(self) -> Spreading:
        ratios, words = distinct_n(self.sample.items())
        return Spreading(
            self.rows,
            self.prompts.result(),
            self.responses.result(),
            self.sample.distinct(),
            ratios,
            words,
            _ranked(self.tasks),
            _ranked(self.openings, OPENINGS),
            _ranked(self.languages),
            dict(sorted(self.turns.items())),
            _ranked(self.forms),
            _ranked(self.has),
        )


def language(text: str) -> str:
    """The language of a text in Latin script where its small words tell it, else its script; `unknown` where neither.

    >>> language("The cat sat on the mat."), language("豆腐是用黄豆做的"), language("42")
    ('English', 'han', 'unknown')
    """
    text = text[:_GLANCE]
    script = ("latin" if _LETTERS.search(text) else None) if text.isascii() else script_of(text)
    if script != "latin":
        return script or "unknown"
    return language_of(text) or "latin"


def form(response: str, called: bool = False) -> str:
    """Whether a response is a value, a program, a marked-up text, prose, or no more than a call.

    >>> form('{"a": 1}'), form("```python\\nprint()\\n```"), form("- one\\n- two"), form("It rains."), form("", True)
    ('json', 'code', 'marked', 'prose', 'call')
    """
    if not response or response.isspace():
        return "call" if called else "empty"
    if "```" in response or _CODE.match(response):
        return "code"
    if response.lstrip()[:1] in "{[" and is_json(response):
        return "json"
    return "marked" if _MARKED.search(response) else "prose"


def distinct_n(texts: Iterable[tuple[str, int]]) -> tuple[tuple[float, float, float], int]:
    """Different n-grams over all, for n = 1, 2, 3, within texts and how often each comes; and the words they are of.

    A Chinese, Japanese or Korean character counts as a word. A text that comes often is read often, until there are
    `NGRAMS` words.

    >>> distinct_n([("a b a b", 1)])
    ((0.5, 0.6666666666666666, 1.0), 4)
    """
    different: tuple[set[Any], ...] = (set(), set(), set())
    written = [0, 0, 0]
    for text, times in texts:
        words = _WORD.findall(text.lower())
        if not words:
            continue
        times = min(times, max(1, -(-(NGRAMS - written[0]) // len(words))))
        for place, grams in enumerate(
            (words, pairwise(words), zip(words, words[1:], words[2:], strict=False))
        ):
            different[place].update(grams)
            written[place] += times * max(0, len(words) - place)
        if written[0] >= NGRAMS:
            break
    one, two, three = (len(d) / w if w else 0.0 for d, w in zip(different, written, strict=True))
    return (one, two, three), written[0]


def _ranked(counts: Counter[str], most: int | None = None) -> dict[str, int]:
    """The most frequent first, those of the same count by name, so that the order of rows does not show."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most])
