from __future__ import annotations

import re
from dataclasses import replace

import pytest

from studio.domain.finding import finding
from studio.services.preview import Bar, Fates, Measured, Overview
from studio.ui import set_views
from studio.ui.i18n import words

EN, ZH = words("en"), words("zh")
HAZARD = finding(
    "no_end_token", "tokens", "error", range(1, 41), "Rows that end nowhere: {count}.", "End <them>."
)
FOUND = Overview(
    rows=98,
    fed=98,
    left_out=2,
    held_out=None,
    tokens=2000,
    trained=500,
    sha256="0123456789abcdef" * 4,
    max_length=64,
    longest=96,
    median=20,
    over=3,
    fates=Fates(cut=3, cut_tokens=40),
    bars=(Bar(1, 32, 80), Bar(33, 64, 17), Bar(65, 96, 3)),
    findings=(HAZARD,),
)


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def test_the_figures_are_those_of_the_set_and_the_fingerprint_is_short_but_whole_on_hover() -> None:
    html = set_views.overview(EN, FOUND)
    assert (
        "25.0 % of all tokens are trained 500 trained of 2,000 tokens 98 rows to train on, 2 rows left out"
        in plain(html)
    )
    assert ">0123456789ab<" in html
    assert f'title="{FOUND.sha256}"' in html
    assert "0123456789abc" not in plain(html)


def test_the_cut_line_stands_where_rows_are_too_long_and_the_histogram_is_said_in_words() -> None:
    html = set_views.lengths(EN, FOUND)
    assert 'class="cut-line" style="left:66.67%"' in html
    assert html.count("class=over") == 1
    assert (
        "half of the rows have at most 20 tokens, the longest has 96; 3 rows over the maximum length of 64"
        in html
    )
    assert 'title="65 to 96 tokens: 3 rows"' in html


@pytest.mark.parametrize(
    ("fates", "said"),
    [
        (Fates(cut=3, cut_tokens=40), "Cut: 3 rows, by 40 tokens in all."),
        (Fates(left_out=3), "Left out: 3 rows."),
        (
            Fates(cut=1, cut_tokens=1, left_out=1, split=2, parts=5),
            "Cut: 1 row, by 1 token in all. Left out: 1 row. Split by turns: 2 rows into 5 rows.",
        ),
        (Fates(kept=3), "Kept whole: 3 rows, at a cost in memory."),
    ],
)
def test_what_becomes_of_long_rows_is_said_with_their_number(fates: Fates, said: str) -> None:
    sentence = set_views.over(EN, replace(FOUND, fates=fates))
    assert sentence == f"3 rows over the maximum length of 64. {said}"


def test_the_number_of_rows_says_where_the_others_are() -> None:
    measured = Measured(rows=5, longest=40, over=0, fates=Fates(), elsewhere=False)
    some = replace(FOUND, held_out=measured)
    assert "98 rows to train on, 5 rows held out, 2 rows left out" in plain(set_views.overview(EN, some))
    split = replace(some, fed=101)
    assert "101 rows to train on, split from 98 rows, 5 rows held out, 2 rows left out" in plain(
        set_views.overview(EN, split)
    )
    elsewhere = replace(FOUND, held_out=replace(measured, elsewhere=True), left_out=0)
    assert "98 rows to train on 0123" in plain(set_views.overview(EN, elsewhere))


def test_long_held_out_rows_are_said_and_that_the_evaluation_sees_a_part() -> None:
    fates = Fates(cut=1, cut_tokens=15_987)
    measured = Measured(rows=5, longest=18_035, over=1, fates=fates, elsewhere=False)
    html = plain(set_views.lengths(EN, replace(FOUND, held_out=measured)))
    assert "Held out, not among the bars: 5 rows, the longest with 18,035 tokens." in html
    assert html.endswith(
        "1 row over the maximum length of 64. Cut: 1 row, by 15,987 tokens in all. "
        "The evaluation loss is measured on what remains of 5 rows."
    )
    unfed = set_views.measured(EN, replace(measured, over=0, fates=Fates(), unfed=2), 64)
    assert unfed.endswith("The evaluation loss is measured on what remains of 3 rows.")
    short = set_views.measured(EN, replace(measured, longest=40, over=0, fates=Fates()), 64)
    assert short == "Held out, not among the bars: 5 rows, the longest with 40 tokens."


def test_without_long_rows_there_is_no_line() -> None:
    html = set_views.lengths(EN, replace(FOUND, over=0, max_length=512))
    assert "cut-line" not in html
    assert "No row is longer than the maximum length of 512." in html


def test_a_hazard_has_a_name_its_count_and_rows_to_jump_to() -> None:
    html = set_views.hazards(EN, [HAZARD])
    assert "Error No end token trained 40 rows Rows that end nowhere: 40. End &lt;them&gt;." in plain(html)
    numbers = [int(row) for row in re.findall(r'data-row="(\d+)"', html)]
    assert numbers == list(range(1, set_views.NAMED + 1))
    assert f"and {40 - set_views.NAMED} more" in html
    assert "未训练结束词元" in set_views.hazards(ZH, [HAZARD])
    assert plain(set_views.hazards(EN, [])) == "No hazard was found in any row."
