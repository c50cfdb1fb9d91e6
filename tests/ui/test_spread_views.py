from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from studio.domain.chat import Conversation, Message
from studio.engine.dataset import read
from studio.engine.similarity_map import Cluster, MapPoint, SimilarityMap, similarity_map
from studio.engine.spread import Spread, language
from studio.engine.task_words import OTHER, TASKS
from studio.ui import map_views, spread_views
from studio.ui.i18n import words

EN, ZH = words("en"), words("zh")
GENERAL = Path(__file__).parents[2] / "assets" / "general" / "general.jsonl"
FOUND = SimilarityMap(
    (MapPoint(3, 0.0, 0.0, 0, "a <b>"), MapPoint(7, 1.0, 1.0, 1, "c")),
    (Cluster("bread · oven", 1, 0.5), Cluster("tide · sea", 1, 0.5)),
    2,
)


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def spread_of(conversations: list[Conversation]) -> Spread:
    spread = Spread()
    for conversation in conversations:
        spread.add(conversation)
    return spread


def test_each_mark_opens_its_row_and_groups_differ_in_shape_and_colour() -> None:
    html = map_views.similarity_map(EN, FOUND)
    drawing = ElementTree.fromstring(re.findall(r"<svg.*?</svg>", html, re.DOTALL)[0])
    groups = drawing.findall("g")
    assert [group.get("class") for group in groups] == ["map-1", "map-2"]
    marks = [group[0] for group in groups]
    assert [mark.get("data-row") for mark in marks] == ["3", "7"]
    assert marks[0][0].text == "3: a <b>"
    assert len(set(map_views.SHAPES)) == len(map_views.SHAPES)


def test_the_groups_stand_in_a_table_with_names_shares_and_rows_to_open() -> None:
    said = plain(map_views.similarity_map(EN, FOUND))
    assert "bread · oven 1 50 % 3 tide · sea 1 50 % 7" in said
    assert 'data-row="7" title="c">7</button>' in map_views.similarity_map(EN, FOUND)


def test_a_sample_and_a_set_too_small_for_a_map_are_said() -> None:
    assert "2 different rows of 9" in map_views.similarity_map(
        EN, SimilarityMap(FOUND.points, FOUND.clusters, 9)
    )
    assert "<svg" not in map_views.similarity_map(EN, SimilarityMap((), (), 3))


def test_the_overview_names_what_there_is_with_numbers_in_both_languages() -> None:
    rows = read(GENERAL).conversations
    found, drawn = spread_of(rows).result(), similarity_map(rows)
    said = plain(spread_views.overview_html(EN, found, drawn, found.rows))
    assert said.startswith("520 rows 520 different responses")
    assert "Chinese 188 · 36 %" in said
    assert "a system message 129 · 25 %" in said
    assert "系统消息" in spread_views.overview_html(ZH, found, drawn, found.rows)


def test_a_set_without_any_words_has_an_overview() -> None:
    row = Conversation((Message("user", "<b>"), Message("assistant", "")), 1)
    html = spread_views.overview_html(EN, spread_of([row]).result(), similarity_map([row]), 1)
    assert "1 row 0 different responses" in plain(html)


def test_it_is_said_where_only_some_rows_were_looked_at() -> None:
    found, drawn = spread_of(read(GENERAL).conversations).result(), similarity_map(())
    assert "evenly drawn" not in spread_views.overview_html(EN, found, drawn, 520)
    html = spread_views.overview_html(EN, found, drawn, 1_000_000)
    assert "of 520 rows, evenly drawn from all 1,000,000." in html


def test_everything_that_can_be_counted_has_a_name() -> None:
    for task in (*TASKS, OTHER):
        assert EN(f"task.{task}")
    for text in (
        "Привет, как дела сегодня",
        "こんにちは、元気ですか、今日は",
        "1",
        "Xyz qwert uiop asdf ghjk",
    ):
        assert EN(f"languages.{language(text)}")
