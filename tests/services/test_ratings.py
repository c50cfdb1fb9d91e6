"""The blind desk: a fair order, ratings that are kept, nothing told before the end, figures and CSV after it."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from studio import cli
from studio.domain.errors import StudioError
from studio.services import evaluations, ratings
from studio.services.ratings import Compared, Desk, Given
from studio.services.run_files import RunFiles
from studio.services.store import Store
from tests.runs import ROWS, finished_run


def pairs(count: int) -> list[Compared]:
    return [
        Compared([{"role": "user", "content": f"Question {n}?"}], "", f"base {n}", f"tuned {n}")
        for n in range(count)
    ]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    folder = tmp_path / "run-1" / "ratings" / "desk-1"
    folder.mkdir(parents=True)
    alike = Compared([{"role": "user", "content": "=SUM(A1)"}], "", "same ", "same")
    return ratings._make(RunFiles(tmp_path / "run-1"), folder, "prompts", [*pairs(8), alike])


def rate_all(desk: Desk, rater: str, wanted: str = "tuned", **scores: int) -> None:
    """As a rater would who likes the answers that begin with `wanted`."""
    for place in range(1, len(desk.asked) + 1):
        shown = ratings.look(desk, rater, place)
        vote: Any = "left" if shown.left.startswith(wanted) else "right"
        other = {"left": "right", "right": "left"}[vote]
        given = {vote: dict.fromkeys(scores, 5), other: scores} if scores else {}
        ratings.rate(desk, rater, place, Given(vote, given))  # type: ignore[arg-type]


def test_the_tuned_model_stands_left_for_half_of_the_pairs_in_an_order_of_each_rater_s_own(
    desk: Desk,
) -> None:
    orders = {rater: desk.order(rater) for rater in ("Ann", "Bob", "Eve")}
    for order in orders.values():
        assert Counter(left for _, left in order) == {True: 4, False: 4}
        assert sorted(number for number, _ in order) == [*range(8)]
    assert len({tuple(order) for order in orders.values()}) == 3
    assert desk.order("Ann") == orders["Ann"]


def test_what_a_rater_is_shown_names_no_side(desk: Desk) -> None:
    shown = vars(ratings.look(desk, "Ann"))
    texts = {shown.pop("left"), shown.pop("right")}
    assert len(texts) == 2
    assert "tuned" not in json.dumps(shown)
    assert "base" not in json.dumps(shown)
    assert shown["messages"][-1]["content"].startswith("Question")


def test_a_rater_goes_on_where_they_were_and_may_think_again(desk: Desk) -> None:
    ratings.rate(desk, " Ann ", 1, Given("left", {"left": {"accuracy": 4}, "right": {"accuracy": 2}}))
    ratings.rate(desk, "Ann", 2, Given("tie", {}))
    desk = ratings._read(desk.folder)  # another server
    shown = ratings.look(desk, "Ann")
    assert (shown.place, shown.done, shown.total, shown.given) == (3, 2, 8, None)
    assert ratings.look(desk, "Ann", 1).given == Given(
        "left", {"left": {"accuracy": 4}, "right": {"accuracy": 2}}
    )
    ratings.rate(desk, "Ann", 1, Given("right", {}))
    again = ratings.look(desk, "Ann", 1)
    assert (again.done, again.given) == (2, Given("right", {"left": {}, "right": {}}))
    assert ratings.look(desk, "Bob").place == 1
    assert ratings.done(desk) == {"Ann": 2}


def test_a_rating_after_one_that_a_power_failure_cut_off_is_kept(desk: Desk) -> None:
    ratings.rate(desk, "Ann", 1, Given("tie", {}))
    with (desk.folder / "ratings.jsonl").open("a", encoding="utf-8") as lines:
        lines.write('{"rater": "Ann", "pai')
    ratings.rate(desk, "Ann", 2, Given("left", {}))
    assert ratings.done(desk) == {"Ann": 2}


def test_the_end_is_once_and_its_time_stays(desk: Desk) -> None:
    ratings.rate(desk, "Ann", 1, Given("tie", {}))
    assert ratings.close(desk).closed == ratings.close(desk).closed


def test_nothing_is_told_before_the_end_and_nothing_is_rated_after_it(desk: Desk) -> None:
    with pytest.raises(StudioError, match="Nothing was rated yet"):
        ratings.close(desk)
    rate_all(desk, "Ann", accuracy=2)
    rate_all(desk, "Bob")
    for told in (ratings.summary, ratings.as_csv):
        with pytest.raises(StudioError, match="still blind"):
            told(desk)
    closed = ratings.close(desk)
    found = ratings.summary(closed)
    assert found["votes"] == {"base": 0, "tie": 0, "tuned": 16}
    assert (found["win_rate"]["value"], found["alike"]) == (1.0, 1)
    assert found["dimensions"]["accuracy"]["tuned"] == 5
    with pytest.raises(StudioError, match="known which model is which"):
        ratings.rate(desk, "Eve", 1, Given("tie", {}))


def test_the_csv_has_a_line_for_each_rating_and_no_formula(desk: Desk) -> None:
    rate_all(desk, "=Ann", accuracy=3)
    lines = [*csv.DictReader(io.StringIO(ratings.as_csv(ratings.close(desk))))]
    assert len(lines) == 8
    for line in lines:
        assert line["rater"] == "'=Ann"
        assert line["vote"] == "tuned"
        assert (line["accuracy_base"], line["accuracy_tuned"], line["fluency_base"]) == ("3", "5", "")
        assert line["base"].removeprefix("base ") == line["tuned"].removeprefix("tuned ")
    assert {line["left"] for line in lines} == {"base", "tuned"}


def test_cancelled_answers_to_one_s_own_prompts_leave_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    files = finished_run(store)
    task = ratings.start(store, files.id, ["Why?"])
    assert [folder.name for folder in files.ratings.iterdir()] == ["desk-1"]
    ratings.cancel(store, task)
    assert [*files.ratings.iterdir()] == []


@pytest.mark.parametrize(
    ("rater", "place", "given", "message"),
    [
        (" ", 1, Given("tie", {}), "cannot be a rater's name"),
        ("judge: x", 1, Given("tie", {}), "cannot be a rater's name"),
        ("Ann", 9, Given("tie", {}), "There is no pair 9"),
        ("Ann", 1, Given("both", {}), "This is no rating"),  # type: ignore[arg-type]
        ("Ann", 1, Given("tie", {"left": {"accuracy": 6}}), "This is no rating"),
        ("Ann", 1, Given("tie", {"left": {"beauty": 3}}), "This is no rating"),
        ("Ann", 1, Given("tie", {"left": 5}), "This is no rating"),  # type: ignore[dict-item]
    ],
)
def test_what_is_no_rating_is_refused(desk: Desk, rater: str, place: int, given: Given, message: str) -> None:
    with pytest.raises(StudioError, match=message):
        ratings.rate(desk, rater, place, given)
    assert ratings.done(desk) == {}


def test_answers_that_are_all_alike_make_no_desk(tmp_path: Path) -> None:
    folder = tmp_path / "run-1" / "ratings" / "desk-1"
    folder.mkdir(parents=True)
    with pytest.raises(StudioError, match="nothing to choose between"):
        ratings._make(RunFiles(tmp_path / "run-1"), folder, "prompts", [Compared([], "", "a", "a")])
    assert not folder.exists()


def test_a_desk_is_made_of_an_evaluation_or_of_one_s_own_prompts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    files = finished_run(store)
    files.write_data(ROWS[:4], ROWS[4:])
    with pytest.raises(StudioError, match="no evaluation whose answers"):
        ratings.from_evaluation(store, files.id)
    evaluations.evaluate(store, evaluations.Asked(files.id, tokens=8))
    desk = ratings.from_evaluation(store, files.id)
    assert [pair.messages[-1]["content"] for pair in desk.pairs] == [f"Question {n}?" for n in range(5, 11)]
    assert desk.pairs[0].expected == "Answer 5."

    said: list[str] = []
    asked = ratings.Asked(files.id, ratings._fresh(store, files.id).name, ["Why?", "How?"], tokens=8)
    own = ratings.compare(store, asked, lambda phase, done, total: said.append(phase))
    assert [*dict.fromkeys(said)] == ["loading", "answering"]
    assert [pair.messages for pair in own.pairs] == [
        [{"role": "user", "content": text}] for text in ("Why?", "How?")
    ]
    assert {desk.id for desk in ratings.desks(store, files.id)} == {"desk-1", "desk-2"}
    assert ratings.desk_of(store, files.id, "desk-2").source == "prompts"

    assert cli.main(["ratings", files.id, "--home", str(tmp_path), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["pairs"], one["done"], one["summary"]) for one in listed] == [(2, {}, None), (6, {}, None)]
    assert cli.main(["ratings", files.id, "--home", str(tmp_path), "--csv", str(tmp_path / "out.csv")]) == 1
    assert "Name it with --desk" in capsys.readouterr().err
    ratings.rate(own, "Ann", 1, Given("left", {}))
    ratings.close(own)
    verb = ["ratings", files.id, "--home", str(tmp_path)]
    wanted = ["--desk", own.id, "--csv", str(tmp_path / "out.csv")]
    # The other one is blind still, over the same two models.
    assert cli.main([*verb, *wanted]) == 1
    assert "would tell its models apart" in capsys.readouterr().err
    assert cli.main([*verb, "--desk", own.id]) == 0
    assert "wins" not in capsys.readouterr().out
    assert ratings.from_evaluation(store, files.id).id == desk.id  # it is not made twice
    with pytest.raises(StudioError, match="or delete the comparison"):
        ratings.close(desk)
    assert cli.main([*verb, "--desk", desk.id, "--delete"]) == 0
    assert [one.id for one in ratings.desks(store, files.id)] == [own.id]
    assert cli.main([*verb, *wanted]) == 0
    assert "rated by: Ann 1" in capsys.readouterr().out
    assert "Ann" in (tmp_path / "out.csv").read_text(encoding="utf-8")
    with pytest.raises(StudioError, match=r"has no comparison \.\./desk-1"):
        ratings.desk_of(store, files.id, "../desk-1")


def test_what_is_said_of_a_desk_that_was_deleted_reaches_no_other(desk: Desk) -> None:
    ratings.delete(desk)
    with pytest.raises(StudioError, match="was deleted"):
        ratings.keep(desk, {"rater": "judge: m", "pair": 0, "vote": "tie", "scores": {}})
    assert not desk.folder.exists()
    desk.folder.mkdir()
    other = ratings._make(RunFiles(desk.folder.parent.parent), desk.folder, "prompts", pairs(2))
    with pytest.raises(StudioError, match="was deleted"):
        ratings.keep(desk, {"rater": "judge: m", "pair": 0, "vote": "tie", "scores": {}})
    assert ratings.done(other) == {}
