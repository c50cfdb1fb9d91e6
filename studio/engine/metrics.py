"""How near answers come to the expected ones: the field's reference libraries, on pairs of texts, without a model.

BLEU and chrF: sacrebleu (Post 2018, arXiv:1804.08771). ROUGE: rouge-score (Lin 2004). docs/evaluation.md says what each
measures, and what it cannot.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy
from numpy.typing import NDArray

Language = Literal["zh", "ja", "other"]
RESAMPLES = 1000
_KANA = re.compile(r"[\u3040-\u30ff]")
_HAN = re.compile(r"[\u3400-\u9fff]")
_LETTER = re.compile(r"\w")
_SHARE = 0.3
"""Of letters in an Asian script, from which a set of texts counts as written in it."""
_LABELS = 20
"""Different answers at most that count as labels."""
_LABEL_LENGTH = 40
"""Characters of a label at most."""
_STRUCTURED = 0.8
"""Share of expected answers that are JSON objects, from which all are judged as such."""


@dataclass(frozen=True)
class Measure:
    """A figure of a set of answers, with its 95 % interval: percentiles of bootstrap resamples of the rows, or for a
    share of rows Wilson's, which is not empty where all rows are alike."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


def language_of(texts: Sequence[str]) -> Language:
    """Which script decides about words: Chinese and Japanese are not written with spaces between them."""
    joined = "".join(texts)
    kana, han = len(_KANA.findall(joined)), len(_HAN.findall(joined))
    if kana + han < _SHARE * max(1, len(_LETTER.findall(joined))):
        return "other"
    return "ja" if kana > 0.1 * han else "zh"


@dataclass(frozen=True)
class Answers:
    """Answers beside the expected ones, row by row."""

    given: Sequence[str]
    expected: Sequence[str]

    @cached_property
    def language(self) -> Language:
        return language_of(self.expected)

    @cached_property
    def bleu(self) -> Any:
        from sacrebleu.metrics.bleu import BLEU

        return BLEU(tokenize=tokenisation(self.language))

    @cached_property
    def chrf(self) -> Any:
        from sacrebleu.metrics.chrf import CHRF

        return CHRF()

    @cached_property
    def rouge(self) -> Mapping[str, NDArray[numpy.float64]]:
        """F-measures of each row, from 0 to 1, for rouge1, rouge2 and rougeL."""
        from rouge_score.rouge_scorer import RougeScorer

        kinds = ["rouge1", "rouge2", "rougeL"]
        words = None if self.language == "other" else _Words(tokenisation(self.language))
        scorer = RougeScorer(kinds, tokenizer=words)
        found = [scorer.score(wanted, said) for wanted, said in zip(self.expected, self.given, strict=True)]
        return {kind: numpy.array([row[kind].fmeasure for row in found]) for kind in kinds}

    @cached_property
    def exact(self) -> NDArray[numpy.float64]:
        """1 where the answer is the expected one, white space around it left aside."""
        pairs = zip(self.given, self.expected, strict=True)
        return numpy.array([float(said.strip() == wanted.strip()) for said, wanted in pairs])

    @cached_property
    def right(self) -> NDArray[numpy.float64]:
        """1 where the answer is the expected label, however it is written."""
        pairs, as_label = zip(self.given, self.expected, strict=True), self.as_label
        return numpy.array([float(as_label(said) == as_label(wanted)) for said, wanted in pairs])

    @cached_property
    def as_label(self) -> Callable[[str], str]:
        """What makes one of the ways to write a label: `normal_label`, unless that made one of two labels, or none."""
        written = {text.strip() for text in self.expected}
        normal = {normal_label(text) for text in written}
        return normal_label if len(normal) == len(written) and "" not in normal else str.strip

    @cached_property
    def score(self) -> NDArray[numpy.float64]:
        """Of each row how much of it is right by what such answers are judged by: the share of an object's fields, the
        label, else chrF; from 0 to 1."""
        if objects := _objects(self.expected):
            _, fields = _structure(self.given, objects)
            return numpy.where(numpy.isnan(fields), self.nearness / 100, fields)
        return self.right if labels_of(self.expected) else self.nearness / 100

    @cached_property
    def nearness(self) -> NDArray[numpy.float64]:
        """chrF of each row, from 0 to 100: tells good rows from bad ones, in any language."""
        pairs = zip(self.given, self.expected, strict=True)
        return numpy.array([self.chrf.sentence_score(said, [wanted]).score for said, wanted in pairs])


class _Words:
    """A tokenizer of sacrebleu for rouge-score, whose own one knows Latin letters and digits only."""

    def __init__(self, name: str) -> None:
        from sacrebleu.metrics.bleu import BLEU

        self._split = BLEU(tokenize=name).tokenizer

    def tokenize(self, text: str) -> list[str]:
        words: list[str] = self._split(text.lower()).split()
        return words


def tokenisation(language: Language) -> str:
    """The name of sacrebleu's tokenizer; Japanese goes by characters where MeCab is not installed."""
    if language != "ja":
        return "zh" if language == "zh" else "13a"
    try:
        from sacrebleu.tokenizers.tokenizer_ja_mecab import TokenizerJaMecab

        TokenizerJaMecab()
    except (ImportError, RuntimeError):
        return "char"
    return "ja-mecab"


def normal_label(text: str) -> str:
    """A label without its case, end marks and white space.

    >>> normal_label(" **Positive.**")
    'positive'
    """
    return text.strip().strip(".!?。！？\"'`*“”‘’ \n\t").casefold()


def measures(answers: Answers) -> dict[str, Measure]:
    """All that applies to these answers, by name.

    `bleu` and `chrf` are of the whole set, from 0 to 100. Means of rows, from 0 to 1: `rouge1`, `rouge2`, `rougeL`,
    `exact_match`; where most expected answers are JSON objects `json_valid` and `json_fields`; where they are a few
    labels `accuracy`, and `f1` (macro average over the labels), as `normal_label` has them. `length_ratio`: characters
    written for one expected.
    """
    shares, rows = _shares(answers), len(answers.given)
    return {
        name: mean(shares[name]) if name in shares else with_interval(figure, rows)
        for name, figure in _figures(answers).items()
    }


def _shares(answers: Answers) -> dict[str, Sequence[float]]:
    """Of the figures that are means of rows between 0 and 1 their rows, all of which have a value."""
    found: dict[str, Sequence[float]] = {"exact_match": answers.exact.tolist()}
    found |= {kind: rows.tolist() for kind, rows in answers.rouge.items()}
    if objects := _objects(answers.expected):
        valid, fields = _structure(answers.given, objects)
        found["json_valid"] = valid.tolist()
        if not numpy.isnan(fields).any():
            found["json_fields"] = fields.tolist()
    elif labels_of(answers.expected):
        found["accuracy"] = answers.right.tolist()
    return found


Figure = Callable[[NDArray[numpy.int64]], float]
"""The figure of some rows, by their places; a row may be there more than once."""


def _figures(answers: Answers) -> dict[str, Figure]:
    figures: dict[str, Figure] = {
        "bleu": _of_corpus(answers.bleu, answers),
        "chrf": _of_corpus(answers.chrf, answers),
    }
    figures |= {kind: _mean(rows) for kind, rows in answers.rouge.items()}
    figures["exact_match"] = _mean(answers.exact)
    said = numpy.array([len(text) for text in answers.given], dtype=float)
    wanted = numpy.array([len(text) for text in answers.expected], dtype=float)
    figures["length_ratio"] = lambda rows: float(said[rows].sum() / max(1.0, wanted[rows].sum()))
    if objects := _objects(answers.expected):
        valid, fields = _structure(answers.given, objects)
        figures |= {"json_valid": _mean(valid), "json_fields": _mean_of_known(fields)}
    elif labels := labels_of(answers.expected):
        figures |= {"accuracy": _mean(answers.right), "f1": _macro_f1(answers, labels)}
    return figures


def _mean(rows: NDArray[numpy.float64]) -> Figure:
    return lambda places: float(rows[places].mean())


def _mean_of_known(rows: NDArray[numpy.float64]) -> Figure:
    """Of the rows that have a value; 0 for a draw without any."""
    known = ~numpy.isnan(rows)
    values = numpy.where(known, rows, 0.0)
    return lambda places: float(values[places].sum() / max(1, known[places].sum()))


def _of_corpus(metric: Any, answers: Answers) -> Figure:
    """BLEU or chrF from the counts of each row, as sacrebleu's own significance tests have it."""
    counts = numpy.array(metric._extract_corpus_statistics(list(answers.given), [list(answers.expected)]))
    return lambda places: float(metric._compute_score_from_stats(counts[places].sum(0)).score)


def mean(rows: Sequence[float]) -> Measure:
    """The mean of rows between 0 and 1, with its interval: Wilson's where they are shares (0, 1, or a half for a tie)
    or all alike, as draws of such rows would be, too."""
    values = numpy.array(rows, dtype=float)
    if _are_counts(values):
        value = float(values.mean())
        return Measure(value, *_wilson(value, len(rows)))
    return with_interval(_mean(values), len(rows))


def _are_counts(values: NDArray[numpy.float64]) -> bool:
    return bool(numpy.isin(values, (0.0, 0.5, 1.0)).all() or (values == values[0]).all())


_Z = 1.959963984540054
"""Of 95 %: the normal distribution's 97.5th percentile."""


def _wilson(share: float, rows: int) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    >>> [round(end, 3) for end in _wilson(1.0, 14)], [round(end, 3) for end in _wilson(0.0, 3)]
    ([0.785, 1.0], [0.0, 0.561])
    """
    middle, spread = (
        share + _Z**2 / (2 * rows),
        _Z * math.sqrt(share * (1 - share) / rows + _Z**2 / (4 * rows**2)),
    )
    whole = 1 + _Z**2 / rows
    # At the ends exactly, where rounding would leave the share itself out.
    return (middle - spread) / whole if share > 0 else 0.0, (middle + spread) / whole if share < 1 else 1.0


def difference_of_means(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Second minus first, of the same rows in the same order."""
    return difference_of_losses(first, second, [1] * len(first))


def difference_of_shares(first: Sequence[float], second: Sequence[float]) -> Difference:
    """As `difference_of_means`, of rows between 0 and 1; where these are 0 or 1 with the interval of two paired shares
    (Newcombe 1998, doi:10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C, his method 10)."""
    apart = difference_of_means(first, second)
    before, after = numpy.array(first, dtype=float), numpy.array(second, dtype=float)
    if not numpy.isin([before, after], (0.0, 1.0)).all():
        return apart
    low, high = _newcombe(before, after)
    return replace(apart, low=low, high=high)


def _newcombe(before: NDArray[numpy.float64], after: NDArray[numpy.float64]) -> tuple[float, float]:
    rows, p, q = len(before), float(after.mean()), float(before.mean())
    both, neither = float((after * before).sum()), float(((1 - after) * (1 - before)).sum())
    gained, lost = float((after * (1 - before)).sum()), float(((1 - after) * before).sum())
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    product = both * neither - gained * lost
    if product > 0:
        product = max(product - rows / 2, 0.0)
    phi = product / math.sqrt(margins) if margins else 0.0
    (p_low, p_high), (q_low, q_high) = _wilson(p, rows), _wilson(q, rows)

    def reach(ours: float, theirs: float) -> float:
        return math.sqrt(max(0.0, ours**2 - 2 * phi * ours * theirs + theirs**2))

    return p - q - reach(p - p_low, q_high - q), p - q + reach(p_high - p, q - q_low)


def with_interval(figure: Figure, rows: int) -> Measure:
    """A figure of rows, with the percentiles of its resamples."""
    value = figure(numpy.arange(rows))
    drawn = [figure(sample) for sample in _resamples(rows)]
    low, high = numpy.percentile(drawn, [2.5, 97.5])
    return Measure(value, float(low), float(high))


def _resamples(rows: int) -> NDArray[numpy.int64]:
    """Places of rows drawn with replacement, (`RESAMPLES`, rows); the same ones for the same number of rows."""
    return numpy.random.default_rng(12345).integers(0, rows, (RESAMPLES, rows))


@dataclass(frozen=True)
class Difference:
    """By how much a second set of answers to the same prompts differs from a first one."""

    value: float
    low: float
    high: float
    """The 95 % interval over the same resamples of rows for both sets."""
    p: float
    """Of a difference as large by chance: paired randomisation, each row's answers swapped or not."""

    def to_json(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high, "p": self.p}


def differences(first: Answers, second: Answers) -> dict[str, Difference]:
    """Second minus first for each measure that both have (Koehn 2004; Riezler and Maxwell 2005)."""
    ours, theirs, rows = _figures(first), _figures(second), len(first.given)
    everything = numpy.arange(rows)
    # Both sets end to end: a figure of any mixture of the two is one of these rows.
    both = Answers([*first.given, *second.given], [*first.expected, *second.expected])
    mixed = _figures(both)
    swaps = numpy.random.default_rng(54321).integers(0, 2, (RESAMPLES, rows)) * rows
    found = {}
    for name in ours.keys() & theirs.keys() & mixed.keys():
        value = theirs[name](everything) - ours[name](everything)
        drawn = [theirs[name](sample) - ours[name](sample) for sample in _resamples(rows)]
        low, high = numpy.percentile(drawn, [2.5, 97.5])
        figure = mixed[name]
        larger = sum(
            abs(figure(everything + rows - swap) - figure(everything + swap)) >= abs(value) - 1e-12
            for swap in swaps
        )
        found[name] = Difference(value, float(low), float(high), (larger + 1) / (RESAMPLES + 1))
    shares, other = _shares(first), _shares(second)
    for name in found.keys() & shares.keys() & other.keys():
        shared = difference_of_shares(shares[name], other[name])
        found[name] = replace(found[name], low=shared.low, high=shared.high)
    return found


def of_losses(losses: Sequence[float], tokens: Sequence[int]) -> dict[str, Measure]:
    """Loss in nats a trained token, and perplexity, of rows with summed losses and numbers of trained tokens."""
    summed, counts = numpy.array(losses), numpy.array(tokens, dtype=float)
    loss = with_interval(lambda places: float(summed[places].sum() / counts[places].sum()), len(losses))
    return {
        "loss": loss,
        "perplexity": Measure(*(math.exp(min(value, 700.0)) for value in (loss.value, loss.low, loss.high))),
    }


def difference_of_losses(
    first: Sequence[float], second: Sequence[float], tokens: Sequence[int]
) -> Difference:
    """By how much the second losses a token differ from the first ones, of the same rows in the same order."""
    return _difference(first, second, tokens, lambda loss: loss)


def difference_of_perplexities(
    first: Sequence[float], second: Sequence[float], tokens: Sequence[int]
) -> Difference:
    """The same of the perplexities."""
    return _difference(first, second, tokens, lambda loss: numpy.exp(numpy.minimum(loss, 700.0)))


def _difference(
    first: Sequence[float],
    second: Sequence[float],
    tokens: Sequence[int],
    of: Callable[[NDArray[numpy.float64]], NDArray[numpy.float64]],
) -> Difference:
    """Second minus first of a figure of the loss a token, over draws of the rows, and over swaps of each row's two."""
    sums, counts, rows = numpy.array([first, second]), numpy.array(tokens, dtype=float), len(tokens)
    drawn = _resamples(rows)
    before, after = (of(sums[side][drawn].sum(1) / counts[drawn].sum(1)) for side in (0, 1))
    low, high = numpy.percentile(after - before, [2.5, 97.5])
    swapped = numpy.random.default_rng(54321).integers(0, 2, (RESAMPLES, rows))
    total = counts.sum()
    one, other = ((numpy.where(swapped == side, sums[0], sums[1])).sum(1) / total for side in (0, 1))
    value = float(of(sums[1].sum(keepdims=True) / total)[0] - of(sums[0].sum(keepdims=True) / total)[0])
    larger = int((abs(of(one) - of(other)) >= abs(value) - 1e-12).sum())
    return Difference(value, float(low), float(high), (larger + 1) / (RESAMPLES + 1))


def labels_of(expected: Sequence[str]) -> list[str]:
    """The different answers where they are few, short and repeated: a classification; else none."""
    found = sorted({text.strip() for text in expected})
    short = all(0 < len(label) <= _LABEL_LENGTH and "\n" not in label for label in found)
    return found if short and 1 < len(found) <= min(_LABELS, len(expected) // 2) else []


def _macro_f1(answers: Answers, labels: Sequence[str]) -> Figure:
    as_label = answers.as_label
    places = {label: place for place, label in enumerate(map(as_label, labels))}
    said = numpy.array([places.get(as_label(text), -1) for text in answers.given])
    wanted = numpy.array([places[as_label(text)] for text in answers.expected])

    def figure(rows: NDArray[numpy.int64]) -> float:
        scores = []
        for label in range(len(places)):
            right = float(((said[rows] == label) & (wanted[rows] == label)).sum())
            told, there = float((said[rows] == label).sum()), float((wanted[rows] == label).sum())
            if told + there:
                scores.append(2 * right / (told + there))
        return float(numpy.mean(scores))

    return figure


def _objects(expected: Sequence[str]) -> list[Mapping[str, Any] | None]:
    """Each expected answer as a JSON object, None where it is none; empty where too few are."""
    found = [_object(text) for text in expected]
    return found if sum(item is not None for item in found) >= _STRUCTURED * len(found) else []


def _object(text: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _structure(
    given: Sequence[str], expected: Sequence[Mapping[str, Any] | None]
) -> tuple[NDArray[numpy.float64], NDArray[numpy.float64]]:
    """Of each row whether the answer is a JSON object, and the share of expected fields that it has right.

    A row that expects no field has nothing to be right in: its share is NaN, and stands in no mean.
    """
    found = [_object(text) for text in given]
    valid = numpy.array([float(item is not None) for item in found])
    fields = numpy.array(
        [
            _share([_same((said or {}).get(name, _MISSING), value) for name, value in (wanted or {}).items()])
            for said, wanted in zip(found, expected, strict=True)
        ]
    )
    return valid, fields


_MISSING = object()


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right) if right else math.nan


def _same(said: Any, wanted: Any) -> bool:
    """As JSON has it: true is no 1."""
    return said is not _MISSING and json.dumps(said, sort_keys=True) == json.dumps(wanted, sort_keys=True)
