"""Figures are the reference libraries' own, in any language; intervals and tests say what chance could do."""

from __future__ import annotations

import json
import random

import numpy
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu, corpus_chrf

from studio.engine.metrics import (
    Answers,
    difference_of_losses,
    difference_of_perplexities,
    difference_of_shares,
    differences,
    labels_of,
    language_of,
    mean,
    measures,
    of_losses,
    tokenisation,
)

SENTENCE = "the cat sat on a mat while rain fell over quiet hills and nobody spoke of it again"
WORDS = SENTENCE.split(" ")
CHINESE = "今天天气很好我们去公园散步看到许多花朵和孩子他们都非常高兴回家以后大家一起吃饭"
JAPANESE = "私は学生です。今日はとても天気がいいので公園に行きました。"


def pairs(rows: int = 40, seed: int = 0, kept: float = 0.7) -> Answers:
    draw = random.Random(seed)
    expected = [" ".join(draw.choices(WORDS, k=draw.randint(6, 20))) for _ in range(rows)]
    given = [
        " ".join(w if draw.random() < kept else draw.choice(WORDS) for w in text.split()) for text in expected
    ]
    return Answers(given, expected)


def test_bleu_and_chrf_are_sacrebleus_to_the_last_digit() -> None:
    answers = pairs()
    found = measures(answers)
    assert found["bleu"].value == corpus_bleu(answers.given, [answers.expected]).score
    assert found["chrf"].value == corpus_chrf(answers.given, [answers.expected]).score


def test_rouge_is_rouge_scores_to_the_last_digit() -> None:
    answers = pairs()
    found = measures(answers)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    for kind in ("rouge1", "rouge2", "rougeL"):
        rows = [
            scorer.score(wanted, said)[kind].fmeasure
            for wanted, said in zip(answers.expected, answers.given, strict=True)
        ]
        assert found[kind].value == numpy.mean(rows)


@pytest.mark.parametrize(("text", "tokenizer"), [(CHINESE, "zh"), (JAPANESE, "ja-mecab")])
def test_languages_without_spaces_have_words_of_their_own(text: str, tokenizer: str) -> None:
    pytest.importorskip("MeCab")
    expected = [text[start : start + 16] for start in range(0, 12, 2)]
    given = [part[:10] + part[12:] for part in expected]
    answers = Answers(given, expected)
    assert tokenisation(answers.language) == tokenizer
    found = measures(answers)
    assert found["bleu"].value == corpus_bleu(given, [expected], tokenize=tokenizer).score
    assert 0.5 < found["rouge1"].value < 1


def test_the_language_is_that_of_most_letters() -> None:
    assert language_of(["Say 你好 in English, please, and mind the tones."]) == "other"
    assert language_of([CHINESE]) == "zh"
    assert language_of([JAPANESE]) == "ja"
    assert language_of([""]) == "other"


def test_intervals_hold_the_value_and_narrow_with_more_rows() -> None:
    few, many = measures(pairs(20))["chrf"], measures(pairs(320))["chrf"]
    assert few.low < few.value < few.high
    assert many.high - many.low < (few.high - few.low) / 2


def test_a_better_set_is_told_from_chance_and_an_equal_one_is_not() -> None:
    worse, better = pairs(kept=0.4), pairs(kept=0.8)
    assert worse.expected != better.expected or worse.given != better.given
    better = Answers(
        [
            " ".join(word if place % 5 else "rain" for place, word in enumerate(text.split()))
            for text in worse.expected
        ],
        worse.expected,
    )
    found = differences(worse, better)
    for name in ("bleu", "chrf", "rouge1", "rougeL"):
        assert found[name].low > 0
        assert found[name].p < 0.01
    same = differences(worse, worse)
    assert all(item.value == 0 and item.p == 1 for item in same.values())
    chance = differences(worse, Answers([*worse.given[1:], worse.given[0]], worse.expected))
    assert chance["exact_match"].p > 0.05


def test_labels_are_judged_by_accuracy_and_macro_f1() -> None:
    expected = ["red"] * 6 + ["green"] * 3 + ["blue"]
    given = ["red"] * 5 + ["green"] + ["green"] * 2 + ["red"] + ["purple"]
    assert labels_of(expected) == ["blue", "green", "red"]
    found = measures(Answers(given, expected))
    assert found["accuracy"].value == 0.7
    assert found["f1"].value == pytest.approx((2 * 5 / 12 + 2 * 2 / 6 + 0) / 3)
    assert labels_of(pairs().expected) == []


def test_json_is_judged_field_by_field() -> None:
    wanted = {"category": "billing", "urgent": True, "order": 12}
    given = [
        json.dumps(wanted),
        json.dumps({**wanted, "urgent": False}),
        "no object",
        json.dumps({"category": "billing"}),
    ]
    found = measures(Answers(given, [json.dumps(wanted)] * 4))
    assert found["json_valid"].value == 0.75
    assert found["json_fields"].value == pytest.approx((1 + 2 / 3 + 0 + 1 / 3) / 4)
    assert "accuracy" not in found


def test_perplexity_is_that_of_all_tokens() -> None:
    found = of_losses([2.0, 9.0], [2, 3])
    assert found["loss"].value == 11 / 5
    assert found["perplexity"].value == pytest.approx(numpy.exp(11 / 5))


def test_empty_answers_count_as_nothing_found() -> None:
    found = measures(Answers(["", "", ""], ["a b c d", "b c d e", "c d e f"]))
    assert (found["bleu"].value, found["rouge1"].value, found["length_ratio"].value) == (0, 0, 0)


def test_the_interval_of_a_share_is_wilson_s() -> None:
    stats = pytest.importorskip("scipy.stats")
    for right, rows in ((14, 14), (0, 3), (5, 18), (1, 200)):
        found = mean([1.0] * right + [0.0] * (rows - right))
        wanted = stats.binomtest(right, rows).proportion_ci(method="wilson")
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-9)
    assert mean([0.25, 0.5, 0.75]).low < 0.5  # no share: from draws of the rows


def test_the_interval_of_two_paired_shares_holds_the_difference_as_often_as_it_says() -> None:
    dice, held, rounds = numpy.random.default_rng(7), 0, 400
    for _ in range(rounds):
        easy = dice.random(30) < 0.5
        before = (dice.random(30) < numpy.where(easy, 0.8, 0.2)).astype(float)
        after = (dice.random(30) < numpy.where(easy, 0.95, 0.6)).astype(float)
        found = difference_of_shares(before.tolist(), after.tolist())
        held += found.low <= 0.275 <= found.high
    assert held / rounds > 0.93
    all_gained = difference_of_shares([0.0] * 18, [1.0] * 18)
    assert all_gained.low < 0.8 < all_gained.high == 1.0


def test_perplexity_changes_with_its_own_interval_and_test() -> None:
    found = difference_of_perplexities([4.0, 6.0, 5.0], [2.0, 3.0, 2.0], [2, 2, 2])
    assert found.value == pytest.approx(numpy.exp(7 / 6) - numpy.exp(15 / 6))
    assert found.low < found.value < found.high < 0
    assert difference_of_losses([4.0, 6.0, 5.0], [2.0, 3.0, 2.0], [2, 2, 2]).p == found.p


def test_a_label_is_one_however_it_is_written() -> None:
    found = measures(
        Answers(["Positive.", " negative", "**positive**", "No idea"], ["positive", "negative"] * 2)
    )
    assert found["accuracy"].value == 0.75
    assert found["exact_match"].value == 0.25
    assert found["f1"].value == pytest.approx((1.0 + 2 / 3) / 2)


def test_labels_that_differ_in_signs_or_case_alone_stay_apart() -> None:
    expected = ["*"] * 3 + ["**"] * 3 + ["***"] * 4
    found = measures(Answers(["*"] * 10, expected))
    assert found["accuracy"].value == found["exact_match"].value == 0.3
    assert measures(Answers(["a"] * 4, ["a", "A"] * 2))["accuracy"].value == 0.5
