"""Conversations are kept whole, their answers become rows, and what is sent is what is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from studio.domain.answer import Answer, ChatSettings
from studio.domain.chat import Message
from studio.domain.errors import StudioError
from studio.domain.talk import Talk, Turn
from studio.engine.dataset import read, write_messages
from studio.services import talk_prompts, talk_rows, talks
from studio.services.run_files import RunFiles
from studio.services.store import Store
from tests.runs import finished_run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def run(shared: Store) -> RunFiles:
    return finished_run(shared)


def turn(prompt: str, after: str = "") -> Turn:
    answers = {side: Answer(f"{side} says so"[:5], 3, 1.5, "end", (5,), 9) for side in ("base", "tuned")}
    return Turn(prompt, id=prompt, after=after, answers=answers, settings=ChatSettings(4, 0.5, 1.0, 64))


# --- kept ---------------------------------------------------------------------------------------------------


def test_a_talk_is_kept_and_opened_again(store: Store) -> None:
    kept = talks.save(store, Talk("run").with_turn(turn("Which way?")))
    assert talks.opened(store, kept.id) == kept
    assert [talk.title for talk in talks.listed(store).talks] == ["Which way?"]


def test_the_one_talked_in_last_is_the_first_of_the_list(store: Store) -> None:
    first = talks.save(store, Talk("run").with_turn(turn("first")))
    talks.save(store, Talk("run").with_turn(turn("second")))
    talks.save(store, first.with_turn(turn("more", "first")))
    assert [talk.title for talk in talks.listed(store).talks] == ["first", "second"]


def test_two_pages_that_talk_on_in_one_talk_keep_the_turns_of_both(store: Store) -> None:
    begun = talks.save(store, Talk("run").with_turn(turn("a")))
    talks.save(store, begun.with_turn(turn("b", "a")))
    both = talks.save(store, begun.with_turn(turn("c", "a")))
    assert {one.id for one in both.turns} == {"a", "b", "c"}
    assert both.tip == "c"


def test_a_turn_that_was_given_up_does_not_come_back(store: Store) -> None:
    lost = Turn("lost", id="lost", after="a")
    begun = talks.save(store, Talk("run").with_turn(turn("a")).with_turn(lost))
    assert [one.id for one in talks.save(store, begun.without(lost)).turns] == ["a"]


def test_a_name_stays_though_an_open_page_does_not_know_it(store: Store) -> None:
    begun = talks.save(store, Talk("run").with_turn(turn("a")))
    talks.rename(store, begun.id, "  Better \n name ")
    assert talks.save(store, begun.with_turn(turn("b", "a"))).title == "Better name"
    with pytest.raises(StudioError, match="needs a title"):
        talks.rename(store, begun.id, " ")


def test_a_damaged_file_is_listed_as_such_and_can_be_deleted(store: Store) -> None:
    kept = talks.save(store, Talk("run").with_turn(turn("a")))
    for damage in ("{", "{}", '{"schema": 1, "turns": 3, "beside": []}'):
        store.talk_file(kept.id).write_text(damage)
        assert talks.listed(store) == talks.Listed([], [kept.id])
    talks.delete(store, kept.id)
    assert talks.listed(store) == talks.Listed([], [])
    with pytest.raises(StudioError, match="There is no conversation"):
        talks.opened(store, kept.id)


def test_no_id_leads_out_of_the_folder(store: Store) -> None:
    with pytest.raises(StudioError, match="is not the name of a conversation"):
        talks.opened(store, "../state")


def test_a_talk_as_markdown() -> None:
    told = Talk("my-run", changed="2026-11-28T10:00:00.000Z").with_turn(
        replace(turn("Which way?"), system="Be brief.")
    )
    assert talks.as_markdown(told, {"base": "Base model", "tuned": "Tuned model"}) == (
        "# Which way?\n\nRun my-run, 2026-11-28 10:00 UTC\n\n## System\n\nBe brief.\n\n## User\n\nWhich way?\n\n"
        "## Base model\n\nbase \n\n*3 tokens, 1.5 s, ended by itself, seed 4, temperature 0.5, top-p 1*\n\n"
        "## Tuned model\n\ntuned\n\n*3 tokens, 1.5 s, ended by itself, seed 4, temperature 0.5, top-p 1*\n"
    )


# --- rows ---------------------------------------------------------------------------------------------------

ASKED = [Message("user", "a"), Message("assistant", "not chosen"), Message("user", "b")]


def test_answers_are_collected_in_one_set_and_only_the_last_of_a_row_is_learnt(store: Store) -> None:
    first = talk_rows.add(store, [Message("user", "a")], "up")
    second = talk_rows.add(store, ASKED, "down")
    assert (first.row, second.row, first.dataset.id) == (1, 2, second.dataset.id)
    rows = read(second.dataset.path).conversations
    assert [(m.role, m.content, m.trained) for m in rows[1].messages] == [
        ("user", "a", True),
        ("assistant", "not chosen", False),
        ("user", "b", True),
        ("assistant", "down", True),
    ]


def test_the_same_row_is_not_added_twice(store: Store) -> None:
    for text in ("one\u2028line", "another"):
        talk_rows.add(store, [Message("user", "a")], text)
    again = talk_rows.add(store, [Message("user", "a")], "one\u2028line")
    assert (again.row, again.new) == (1, False)
    assert len(read(again.dataset.path).conversations) == 2


def test_a_set_that_was_repaired_is_left_alone(store: Store) -> None:
    first = talk_rows.add(store, [Message("user", "a")], "up").dataset
    rows = read(first.path).conversations
    store.put_rows(first.id, lambda folder: write_messages(rows, folder / "cleaned.jsonl"), "cleaned.jsonl")
    second = talk_rows.add(store, [Message("user", "a")], "up")
    assert (second.dataset.name, second.row) == ("rows-from-chats-2.jsonl", 1)


def test_an_empty_answer_is_no_row(store: Store) -> None:
    with pytest.raises(StudioError, match="nothing to learn from"):
        talk_rows.add(store, ASKED, " \n")


# --- prompts ------------------------------------------------------------------------------------------------


def test_what_was_sent_is_shown_with_its_special_tokens(shared: Store, run: RunFiles) -> None:
    told = Talk(run.id).with_turn(replace(turn("Which way?"), system="Be brief."))
    found = talk_prompts.sent(shared, told, told.turns[0], "tuned")
    assert found.text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhich way?<|im_end|>\n<|im_start|>assistant\n"
    )
    letters = found.text.replace("<|im_start|>", "").replace("<|im_end|>", "")
    assert found.tokens == len(letters) + 5  # each special token is one


def test_what_does_not_fit_is_known_before_it_is_sent(shared: Store, run: RunFiles) -> None:
    told = Talk(run.id).with_turn(turn("x" * 150)).with_turn(turn("y" * 150, "x" * 150))
    fits = talk_prompts.fit(shared, told, turn("z" * 20, told.tip))
    assert (fits.context, fits.left_out) == (512, 0)
    assert talk_prompts.fit(shared, told, turn("z" * 100, told.tip)).left_out == 1
    assert talk_prompts.fit(shared, told, turn("z" * 300, told.tip)).left_out == 2
    assert talk_prompts.fit(shared, told, replace(turn("z", told.tip), left_out=1)).left_out == 1
    with pytest.raises(StudioError, match="no room for an answer"):
        talk_prompts.fit(shared, told, turn("z" * 500, told.tip))
