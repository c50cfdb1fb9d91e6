from __future__ import annotations

import random

import numpy
import pytest

from studio.engine.near_duplicates import (
    BINS,
    Pair,
    band_keys,
    candidates,
    jaccard,
    likely,
    near_duplicates,
    pieces,
    signatures,
    verified,
)
from tests.bench.near_duplicates import changed, texts_of

CHINESE = "今天的天气很好，我们决定去公园散步，看看湖边的花是不是已经开了，然后再去喝一杯茶。"


@pytest.fixture(scope="module")
def planted() -> tuple[list[str], list[tuple[int, int]]]:
    """3,000 texts that have nothing to do with each other, and 600 that are one of them, changed a little."""
    source = random.Random(7)
    texts = texts_of(source, 3_000)
    pairs = []
    for original in source.sample(range(3_000), 600):
        pairs.append((original, len(texts)))
        texts.append(changed(source, texts[original]))
    return texts, pairs


def test_what_was_planted_is_found_and_nothing_else(planted: tuple[list[str], list[tuple[int, int]]]) -> None:
    texts, pairs = planted
    alike = [pair for pair in pairs if jaccard(pieces(texts[pair[0]]), pieces(texts[pair[1]])) >= 0.8]
    found = {(pair.earlier, pair.later) for pair in near_duplicates(texts)}
    assert len(alike) > 400
    assert len(found & {*alike}) >= 0.98 * len(alike)
    assert found <= {*pairs}


def test_equal_texts_are_found_whatever_their_capitals_and_spaces() -> None:
    texts = ["One two three four.", "Something else entirely", "one  two THREE four.\n", CHINESE, CHINESE]
    assert near_duplicates(texts) == [Pair(0, 2, 1.0), Pair(3, 4, 1.0)]


def test_chinese_is_compared_by_its_characters() -> None:
    texts = [
        CHINESE * 3,
        "完全不同的另一句话，讲的是火车时刻表和座位预订的事情。" * 3,
        (CHINESE * 3).replace("茶", "水", 1),
    ]
    (pair,) = near_duplicates(texts)
    assert (pair.earlier, pair.later) == (0, 2)
    assert 0.8 < pair.similarity < 1


def test_thousands_of_equal_texts_make_no_square_of_pairs() -> None:
    texts = ["the same words again and again"] * 5_000
    pairs = candidates(band_keys(signatures(texts)))
    assert len(pairs) < 6 * len(texts)
    assert [pair.earlier for pair in near_duplicates(texts)] == [0] * 4_999


@pytest.mark.parametrize("texts", [[], [""], ["", "", " "], ["a"], ["a", "b"], ["x" * 200_000, "y"]])
def test_empty_short_and_long_texts_are_no_trouble(texts: list[str]) -> None:
    assert [pair.later for pair in near_duplicates(texts)] == [
        n for n in range(1, len(texts)) if not texts[n].strip()
    ]


def test_short_texts_are_compared_too() -> None:
    assert [(p.earlier, p.later) for p in near_duplicates(["yes", "no", "Yes", "maybe", "no "])] == [
        (0, 2),
        (1, 4),
    ]


def test_shards_give_what_the_whole_gives(planted: tuple[list[str], list[tuple[int, int]]]) -> None:
    texts, _ = planted
    tables = [signatures(texts[start : start + 700]) for start in range(0, len(texts), 700)]
    table = numpy.concatenate(tables)
    assert (table == signatures(texts)).all()
    keys = numpy.concatenate([band_keys(part) for part in tables])
    sharded = [*verified(texts, likely(table, candidates(keys), 0.8), 0.8)]
    assert {pair.later for pair in sharded} == {pair.later for pair in near_duplicates(texts)}


def test_progress_is_told_and_can_end_the_search() -> None:
    told: list[tuple[int, int]] = []
    near_duplicates(["a text"] * 4_500, progress=lambda done, of: told.append((done, of)))
    assert told == [(2_000, 4_500), (4_000, 4_500), (4_500, 4_500)]

    def stop(done: int, of: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        near_duplicates(["a text"] * 4_500, progress=stop)


def test_signatures_estimate_the_jaccard_index(planted: tuple[list[str], list[tuple[int, int]]]) -> None:
    texts, pairs = planted
    table = signatures(texts)
    errors = [
        float((table[a] == table[b]).mean()) - jaccard(pieces(texts[a]), pieces(texts[b])) for a, b in pairs
    ]
    assert table.shape == (len(texts), BINS)
    assert abs(sum(errors) / len(errors)) < 0.02
    assert max(map(abs, errors)) < 0.25
