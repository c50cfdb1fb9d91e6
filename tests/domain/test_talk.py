"""A talk is a tree: what is asked again or written anew stands beside what was there."""

from __future__ import annotations

from studio.domain.answer import Answer, ChatSettings, Piece
from studio.domain.talk import Talk, Turn


def turn(name: str, after: str = "", **more: object) -> Turn:
    said = {side: Answer(f"{side} on {name}", 3, 1.0, "end", (5, 6, 2), 9) for side in ("base", "tuned")}
    return Turn(name, id=name, after=after, answers=said, **more)  # type: ignore[arg-type]


TALK = Talk("run").with_turn(turn("a")).with_turn(turn("b", "a")).with_turn(turn("c", "a"))


def contents(talk: Talk, name: str, side: str) -> list[str]:
    asked = talk.turn(name)
    assert asked is not None
    return [message.content for message in talk.history(asked, side)]


def test_a_branch_leads_from_the_first_turn_to_the_tip() -> None:
    assert [turn.id for turn in TALK.branch] == ["a", "c"]
    assert [turn.id for turn in TALK.showing("b").branch] == ["a", "b"]
    assert [turn.id for turn in TALK.branches(TALK.turns[1])] == ["b", "c"]
    assert TALK.title == "a"


def test_an_earlier_turn_is_shown_with_the_newest_that_follows_on_it() -> None:
    assert TALK.with_turn(turn("d")).showing("a").tip == "c"


def test_each_side_is_given_its_own_answers() -> None:
    assert contents(TALK, "c", "base") == ["a", "base on a", "c"]
    assert contents(TALK, "c", "tuned") == ["a", "tuned on a", "c"]


def test_a_side_that_joins_later_is_given_what_the_tuned_one_said_before() -> None:
    assert contents(TALK, "c", "other@step-000005") == ["a", "tuned on a", "c"]


def test_the_system_message_of_a_turn_stands_before_all_and_turns_can_be_left_out() -> None:
    told = TALK.with_turn(turn("d", "c", system="Be brief.", left_out=1))
    assert contents(told, "d", "base") == ["Be brief.", "c", "base on c", "d"]
    assert [m.role for m in TALK.history(turn("x", system=" "), "base")] == ["user"]


def test_pieces_become_answers() -> None:
    said = Turn("p")
    for piece in (
        Piece("base", "a", tokens=1, ids=(7,)),
        Piece("base", "b", True, 2, 0.5, "end", ids=(8, 2)),
    ):
        said = said.plus(piece)
    assert said.answers == {"base": Answer("ab", 2, 0.5, "end", (7, 8, 2))}


def test_half_an_answer_counts_as_stopped() -> None:
    half = Turn("a", answers={"tuned": Answer("half")})
    assert [answer.stop_reason for answer in half.settled().answers.values()] == ["stopped", "stopped"]


def test_a_turn_that_nothing_came_of_gives_way_to_the_branch_beside_it() -> None:
    lost = Turn("lost", id="lost", after="a")
    assert TALK.with_turn(lost).without(lost).tip == "c"
    only = Turn("only", id="only", after="c")
    assert TALK.with_turn(only).without(only) == TALK


def test_a_talk_is_the_same_after_it_was_written_down() -> None:
    told = TALK.with_turn(
        turn("d", "c", settings=ChatSettings(4, 0.5), sides=("base", "tuned", "r@step-000001"))
    )
    assert Talk.from_json(told.to_json()) == told
