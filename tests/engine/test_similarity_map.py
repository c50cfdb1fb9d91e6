import random

from studio.domain.chat import Conversation, Message
from studio.engine.similarity_map import ROWS, SimilarityMap, similarity_map

SUBJECTS = {
    "garden": ["rose", "tulip", "soil", "compost", "seed", "water", "shovel", "hedge", "lawn", "bloom"],
    "sea": ["harbour", "sail", "anchor", "tide", "wave", "captain", "deck", "mast", "coast", "storm"],
    "kitchen": ["flour", "butter", "oven", "dough", "sugar", "whisk", "recipe", "bake", "cream", "yeast"],
}


def rows_about(subjects: list[str], count: int) -> list[Conversation]:
    drawn = random.Random(1)
    rows = []
    for row in range(1, count + 1):
        words = SUBJECTS[subjects[row % len(subjects)]]
        said = " ".join(drawn.choices(words, k=12))
        rows.append(Conversation((Message("user", said), Message("assistant", said[::-1])), row))
    return rows


def test_rows_about_one_thing_form_a_group_that_is_named_after_it() -> None:
    rows = rows_about(list(SUBJECTS), 90)
    found = similarity_map(rows)
    assert (len(found.points), found.rows) == (90, 90)
    subject_of = {row.row: list(SUBJECTS)[row.row % 3] for row in rows}
    for number, cluster in enumerate(found.clusters):
        members = {subject_of[point.row] for point in found.points if point.cluster == number}
        assert len(members) == 1
        assert set(cluster.name.replace(" · ", " ").split()) & set(SUBJECTS[members.pop()])
    assert sum(cluster.count for cluster in found.clusters) == 90


def test_rows_about_one_thing_lie_near_each_other() -> None:
    points = similarity_map(rows_about(list(SUBJECTS), 90)).points
    for point in points:
        others = [other for other in points if other is not point]
        nearest = min(others, key=lambda other: (other.x - point.x) ** 2 + (other.y - point.y) ** 2)
        assert nearest.row % 3 == point.row % 3
        assert 0 <= point.x <= 1
        assert 0 <= point.y <= 1


def test_the_order_of_the_rows_does_not_change_the_map() -> None:
    rows = rows_about(list(SUBJECTS), 60)
    assert similarity_map(rows) == similarity_map(rows[::-1])


def test_a_few_rows_and_rows_without_words_have_no_map() -> None:
    assert similarity_map(rows_about(["sea"], 4)) == SimilarityMap((), (), 4)
    numbers = [Conversation((Message("user", f"{n}"), Message("assistant", f"{n}"))) for n in range(50)]
    assert similarity_map(numbers).points == ()


def test_rows_that_are_all_the_same_have_a_map_too() -> None:
    same = [
        Conversation((Message("user", f"red kite {n}"), Message("assistant", "flies")), n) for n in range(20)
    ]
    assert len(similarity_map(same).points) == 20


def test_of_a_large_set_a_sample_is_drawn_by_hash() -> None:
    rows = [
        Conversation((Message("user", f"word number {n}"), Message("assistant", "yes")), n)
        for n in range(ROWS + 300)
    ]
    found = similarity_map(rows)
    assert (len(found.points), found.rows) == (ROWS, ROWS + 300)
