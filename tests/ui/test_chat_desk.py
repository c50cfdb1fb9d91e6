"""What a click on the chat's buttons makes of the talk."""

from __future__ import annotations

import pytest

from studio.domain.answer import Answer, ChatSettings
from studio.domain.errors import StudioError
from studio.domain.talk import Talk, Turn
from studio.ui.chat_acts import settled
from studio.ui.chat_desk import Desk, Writing

HOW = ChatSettings(seed=3)
DONE = {side: Answer("said", 1, 1.0, "end") for side in ("base", "tuned")}
TALK = (
    Talk("run", beside=("other",))
    .with_turn(Turn("a", id="1", settings=HOW, answers=DONE, left_out=1))
    .with_turn(Turn("b", id="2", after="1", settings=HOW, answers=DONE))
)


def test_a_new_message_follows_on_the_last_one_and_asks_all_sides() -> None:
    turn = Desk(TALK).new_turn(" c\n", "Be brief.", HOW)
    assert (turn.prompt, turn.after, turn.system) == ("c", "2", "Be brief.")
    assert turn.sides == ("base", "tuned", "other")


def test_what_was_left_out_stays_left_out() -> None:
    assert Desk(Talk().with_turn(TALK.turns[0])).new_turn("c", "", HOW).left_out == 1


def test_a_message_written_anew_stands_beside_the_old_one() -> None:
    assert Desk(TALK, writing=Writing("2")).new_turn("c", "", HOW).after == "1"


def test_asking_again_draws_with_a_seed_that_was_not_tried() -> None:
    again = Desk(TALK).again("2", "", HOW)
    assert (again.prompt, again.after, again.settings.seed) == ("b", "1", 4)
    assert Desk(TALK.with_turn(again)).again("2", "", HOW).settings.seed == 5


def test_asking_again_at_temperature_0_is_refused_where_it_could_only_say_the_same() -> None:
    greedy = ChatSettings(temperature=0)
    asked = Turn("a", id="1", sides=("base", "tuned"), settings=greedy, answers=DONE)
    desk = Desk(Talk("run").with_turn(asked))
    with pytest.raises(StudioError, match="At temperature 0"):
        desk.again("1", "", greedy)
    assert desk.again("1", "Be brief.", greedy).system == "Be brief."


def test_a_message_without_an_answer_is_given_back() -> None:
    left, prompt = settled(Desk(TALK.with_turn(Turn("again", id="3", after="2"))))
    assert (prompt, left.talk.tip) == ("again", "2")


def test_one_that_was_only_asked_again_is_not() -> None:
    left, prompt = settled(Desk(TALK.with_turn(Turn("b", id="3", after="1"))))
    assert (prompt, left.talk.tip) == ("", "2")


def test_an_answer_that_broke_off_counts_as_stopped() -> None:
    half = Turn("c", id="3", after="2", answers={"tuned": Answer("half")})
    left, prompt = settled(Desk(TALK.with_turn(half)))
    assert prompt == ""
    assert left.talk.branch[-1].answers["tuned"].stop_reason == "stopped"
