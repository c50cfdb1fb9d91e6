"""The chat's process: loaded on demand, used again, replaced, stopped, killed, unloaded; it never leaves an orphan."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from studio.domain.answer import ChatSettings, Piece
from studio.domain.chat import Message
from studio.domain.encoded import IGNORED, Encoded
from studio.domain.errors import StudioError
from studio.domain.loading import stage_at
from studio.services import process
from studio.services.chat import ChatProcess, Measured, TokenLosses
from studio.services.losses import preview_losses
from studio.services.run_files import RunFiles, State
from studio.services.store import Store
from tests.runs import finished_run, with_checkpoint
from tests.tiny import tiny_model

QUESTION = [Message("user", "Which way is north?")]
LONG = ChatSettings(seed=1, temperature=1.0, top_p=1.0, max_new_tokens=400)
SHORT = ChatSettings(seed=1, temperature=1.0, top_p=1.0, max_new_tokens=6)
TEXT = b"Which way is north? Up, on most maps."


def row(text: bytes = TEXT, prompt: int = 20) -> Encoded:
    """A row of a tiny model's tokens, which are bytes; what comes after the prompt is trained."""
    ids = tuple(byte + 3 for byte in text)
    return Encoded(ids, (*[IGNORED] * prompt, *ids[prompt:]), (), text.decode())


LONG_ROW = row(TEXT * 80)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def run(store: Store) -> RunFiles:
    return finished_run(store)


@pytest.fixture(scope="module")
def shared(store: Store) -> Iterator[ChatProcess]:
    chat = ChatProcess(store)
    yield chat
    chat.close()


@pytest.fixture
def chat(store: Store) -> Iterator[ChatProcess]:
    chat = ChatProcess(store)
    yield chat
    chat.close()


@pytest.fixture(scope="module")
def slow(store: Store) -> str:
    """A model that takes some seconds for `LONG_ROW`."""
    tiny_model(store.models_dir / "slow", num_hidden_layers=60, max_position_embeddings=4096)
    return "slow"


def beside(store: Store, run: RunFiles) -> RunFiles:
    """Another run of the same base, with other weights; both have a checkpoint."""
    other = finished_run(store, "other")
    other.write_env({**other.env(), "model_path": run.env()["model_path"]})
    with_checkpoint(run, 0.5)
    with_checkpoint(other, 2.0)
    return other


def pid(chat: ChatProcess) -> int:
    assert chat._seat.child is not None
    return chat._seat.child._process.pid


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_first_question_loads_the_model_and_the_next_finds_it_loaded(
    shared: ChatProcess, run: RunFiles
) -> None:
    first = list(shared.answer(run.id, QUESTION, SHORT))
    assert first[0] == Piece(phase="loading")
    loading = [piece for piece in first if piece.phase == "loading"]
    said = first[len(loading) :]
    assert {piece.side for piece in said} == {"base", "tuned"}
    shares = [piece.share for piece in loading]
    assert shares == sorted(shares)
    assert len({stage_at(share) for share in shares}) > 1
    assert shares[-1] == 1.0
    assert shared.loaded == run.id
    process = pid(shared)
    second = list(shared.answer(run.id, QUESTION, SHORT))
    assert pid(shared) == process
    assert [(piece.side, piece.text) for piece in second] == [(piece.side, piece.text) for piece in said]


def test_whole_answers(shared: ChatProcess, run: RunFiles) -> None:
    answers = shared.complete(run.id, QUESTION, SHORT)
    assert list(answers) == ["base", "tuned"]
    assert answers["base"].text != answers["tuned"].text
    for answer in answers.values():
        assert answer.done
        assert answer.stop_reason in ("end", "length")
        assert len(answer.ids) == answer.tokens + (answer.stop_reason == "end")
        assert answer.prompt_tokens > len(QUESTION[0].content)  # the tokens of a tiny model are bytes


def test_one_side_alone_says_what_it_says_beside_the_other(shared: ChatProcess, run: RunFiles) -> None:
    both = shared.complete(run.id, QUESTION, SHORT)
    alone = shared.complete(run.id, QUESTION, SHORT, ["tuned"])
    assert list(alone) == ["tuned"]
    assert alone["tuned"].text == both["tuned"].text


def test_other_runs_and_checkpoints_answer_beside_them(
    shared: ChatProcess, store: Store, run: RunFiles
) -> None:
    """One process holds them all, and goes on to answer for the run alone."""
    other = beside(store, run)
    early = f"{run.id}@step-000005"
    four = shared.complete(run.id, QUESTION, SHORT, beside=[other.id, f"{run.id}@5"])
    assert list(four) == ["base", "tuned", other.id, early]
    assert four[early].text != four["tuned"].text
    process = pid(shared)
    assert shared.complete(run.id, QUESTION, SHORT)["tuned"].text == four["tuned"].text
    assert pid(shared) == process
    with pytest.raises(StudioError, match=r"has no checkpoint step-000007\. It has: step-000005\."):
        shared.complete(run.id, QUESTION, SHORT, beside=[f"{run.id}@7"])
    with pytest.raises(StudioError, match="is on the tuned side already"):
        shared.complete(run.id, QUESTION, SHORT, beside=[run.id])
    with pytest.raises(StudioError, match="5 sides were asked"):
        shared.complete(run.id, QUESTION, SHORT, beside=[other.id, early, f"{other.id}@5"])
    with pytest.raises(StudioError, match="There is no run nowhere"):
        shared.complete(run.id, QUESTION, SHORT, beside=["nowhere"])


def test_each_token_of_an_answer_is_explained(shared: ChatProcess, run: RunFiles) -> None:
    answer = shared.complete(run.id, QUESTION, SHORT)["tuned"]
    *_, last = shared.explain(run.id, "tuned", QUESTION, answer.ids)
    assert len(last.choices) == len(answer.ids)
    for choice in last.choices:
        assert 0 < choice.chosen.probability < 1
        assert choice.chosen.text not in [other.text for other in choice.others]


def test_each_side_can_have_its_own_conversation(shared: ChatProcess, run: RunFiles) -> None:
    other = [Message("user", "Which way is south?")]
    answers = shared.complete(run.id, {"base": QUESTION, "tuned": other}, SHORT)
    assert answers["base"].text == shared.complete(run.id, QUESTION, SHORT, ["base"])["base"].text
    assert answers["tuned"].text == shared.complete(run.id, other, SHORT, ["tuned"])["tuned"].text


def test_a_prompt_that_is_too_long_is_refused_and_the_next_answered(
    shared: ChatProcess, run: RunFiles
) -> None:
    with pytest.raises(StudioError, match="tokens, and the model reads at most 512: no room for an answer"):
        shared.complete(run.id, [Message("user", "long " * 200)], SHORT)
    assert shared.complete(run.id, QUESTION, SHORT)["base"].done


def test_an_answer_can_be_stopped_and_keeps_what_it_said(shared: ChatProcess, run: RunFiles) -> None:
    pieces = []
    for piece in shared.answer(run.id, QUESTION, LONG, ["base"], token="mine"):
        pieces.append(piece)
        if piece.tokens == 2 and not piece.done:
            shared.stop("mine")
    assert pieces[-1].done
    assert pieces[-1].stop_reason == "stopped"
    assert 2 <= pieces[-1].tokens < 400


def test_giving_up_an_answer_stops_it_and_the_next_is_whole(shared: ChatProcess, run: RunFiles) -> None:
    wanted = shared.complete(run.id, QUESTION, SHORT)
    answer = shared.answer(run.id, QUESTION, LONG)
    next(answer)
    answer.close()  # type: ignore[attr-defined]
    assert {side: a.text for side, a in shared.complete(run.id, QUESTION, SHORT).items()} == {
        side: a.text for side, a in wanted.items()
    }


def test_two_who_ask_at_once_are_answered_one_after_the_other(shared: ChatProcess, run: RunFiles) -> None:
    first = shared.answer(run.id, QUESTION, LONG, token="first")
    next(first)
    heard: list[Piece] = []

    def ask() -> None:
        for piece in shared.answer(run.id, QUESTION, SHORT):
            heard.append(piece)

    second = threading.Thread(target=ask)
    second.start()
    until(lambda: heard == [Piece(phase="waiting")])
    shared.stop("first")
    assert list(first)[-1].stop_reason == "stopped"
    second.join(60)
    assert heard[-1].done
    assert heard[-1].stop_reason != "stopped"


def test_nobody_stops_the_answer_of_another(shared: ChatProcess, run: RunFiles) -> None:
    wanted = [piece.text for piece in shared.answer(run.id, QUESTION, SHORT)]
    first = shared.answer(run.id, QUESTION, SHORT, token="first")
    heard = [next(first).text]
    shared.stop("second")
    shared.stop("")
    assert [*heard, *(piece.text for piece in first)] == wanted


def test_who_stops_while_waiting_is_not_answered_and_waits_no_longer(
    shared: ChatProcess, run: RunFiles
) -> None:
    first = shared.answer(run.id, QUESTION, LONG, token="first")
    next(first)
    second = shared.answer(run.id, QUESTION, SHORT, token="second")
    assert next(second) == Piece(phase="waiting")
    shared.stop("second")
    assert list(second) == []
    shared.stop("first")
    assert list(first)[-1].stop_reason == "stopped"


def test_a_model_that_answers_is_not_unloaded_and_one_that_is_idle_is(
    shared: ChatProcess, run: RunFiles
) -> None:
    answer = shared.answer(run.id, QUESTION, SHORT)
    next(answer)
    shared.close_if_idle()
    assert shared.loaded == run.id
    list(answer)
    shared.close_if_idle()
    assert shared.loaded == ""


def test_a_run_that_begins_meanwhile_has_the_memory_of_an_idle_model(
    store: Store, run: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.services.chat._GLANCE", 0.1)
    chat = ChatProcess(store)
    try:
        chat.complete(run.id, QUESTION, SHORT)
        begun = RunFiles(store.new_run_dir("begun"))
        shutil.copy(run.folder / "run.json", begun.folder)
        me = os.getpid()
        begun.write_state(State("running", me, process.start_time(me)))
        until(lambda: chat.loaded == "")
        # Who asks beside it wants both: the model stays.
        chat.complete(run.id, QUESTION, SHORT)
        time.sleep(0.5)
        assert chat.loaded == run.id
    finally:
        chat.close()
        shutil.rmtree(begun.folder)


def test_another_run_takes_the_place_of_the_first(chat: ChatProcess, store: Store, run: RunFiles) -> None:
    chat.complete(run.id, QUESTION, SHORT)
    before = pid(chat)
    other = finished_run(store, "other", "full")
    assert next(iter(chat.answer(other.id, QUESTION, SHORT))) == Piece(phase="loading")
    assert chat.complete(other.id, QUESTION, SHORT)["tuned"].done
    assert chat.loaded == other.id
    assert not psutil.pid_exists(before)


def test_a_killed_process_is_reported_and_the_next_question_starts_another(
    chat: ChatProcess, run: RunFiles
) -> None:
    answer = chat.answer(run.id, QUESTION, LONG)
    assert next(piece for piece in answer if piece.phase != "loading").side == "base"
    os.kill(pid(chat), signal.SIGKILL)
    with pytest.raises(StudioError, match=r"The process that answers has ended \(signal 9\)\. Ask again"):
        list(answer)
    assert chat.loaded == ""
    assert next(iter(chat.answer(run.id, QUESTION, SHORT))) == Piece(phase="loading")
    assert chat.complete(run.id, QUESTION, SHORT)["tuned"].done


def test_what_is_wrong_with_a_run_is_said_at_once(chat: ChatProcess, store: Store, run: RunFiles) -> None:
    untrained = RunFiles(store.new_run_dir("untrained"))
    untrained.write_run(run.given_config(), "untrained")
    with pytest.raises(StudioError, match="untrained has no trained weights yet"):
        chat.complete(untrained.id, QUESTION)
    with pytest.raises(StudioError, match="There is no run nothing"):
        chat.complete("nothing", QUESTION)
    assert chat.loaded == ""


def test_an_idle_model_is_unloaded(store: Store, run: RunFiles) -> None:
    chat = ChatProcess(store, idle_minutes=0.3 / 60)
    chat.complete(run.id, QUESTION, SHORT)
    until(lambda: chat.loaded == "")
    assert chat.complete(run.id, QUESTION, SHORT)["tuned"].done
    chat.close()


def test_it_ends_with_the_process_that_started_it(store: Store, run: RunFiles) -> None:
    script = (
        "import os, sys\n"
        "from studio.services.chat import *\n"
        "from studio.services.store import Store\n"
        "from studio.domain.chat import Message\n"
        "chat = ChatProcess(Store(sys.argv[1]))\n"
        "next(piece for piece in chat.answer(sys.argv[2], [Message('user', 'a')]) if piece.side)\n"
        "assert 'torch' not in sys.modules\n"
        "print(chat._seat.child._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, str(store.home), run.id],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    until(lambda: not psutil.pid_exists(int(done.stdout)), 10)


# --- the losses of a row ---------------------------------------------------------------------------------------


def equal(losses: TokenLosses, wanted: TokenLosses) -> bool:
    """To rounding: the process may use more threads than the tests do."""
    return (wanted["tuned"] is None) == (losses["tuned"] is None) and all(
        losses[side] == pytest.approx(wanted[side], abs=1e-5)
        for side in ("base", "tuned")
        if wanted[side] is not None
    )


def test_a_row_is_measured_on_both_sides_of_a_run(shared: ChatProcess, store: Store, run: RunFiles) -> None:
    losses = shared.token_losses(run.id, None, None, row())
    assert equal(losses, preview_losses(store, row(), run=run.id))
    assert [loss is None for loss in losses["base"]] == [True] * 20 + [False] * (len(TEXT) - 20)
    assert losses["base"] != losses["tuned"]


def test_the_process_that_answers_is_the_one_that_measures(shared: ChatProcess, run: RunFiles) -> None:
    shared.complete(run.id, QUESTION, SHORT)
    process = pid(shared)
    said = list(shared.measure(run.id, "tiny", None, row(b"A row that nobody has measured yet.")))
    assert [measured.phase for measured in said] == ["measuring"] * (len(said) - 1) + ["done"]
    assert said[-1].losses is not None
    assert pid(shared) == process


def test_a_row_that_was_measured_is_not_measured_again_even_without_a_model(
    chat: ChatProcess, run: RunFiles
) -> None:
    first = list(chat.measure(run.id, None, None, row()))
    assert first[0] == Measured("loading")
    chat.close()
    assert list(chat.measure(run.id, None, None, row())) == [first[-1]]
    assert chat.loaded == ""


def test_other_weights_are_measured_anew(chat: ChatProcess, store: Store) -> None:
    changed = finished_run(store, "changed")
    before = chat.token_losses(changed.id, None, None, row())
    weights = changed.adapter / "adapter_model.safetensors"
    os.utime(weights, ns=(1, 1))
    said = list(chat.measure(changed.id, None, None, row()))
    assert said[0] == Measured("loading")
    assert said[-1].losses == before


def test_a_qlora_run_is_measured_as_it_answers(chat: ChatProcess, store: Store) -> None:
    four_bit = finished_run(store, "four-bit", "qlora")
    losses = chat.token_losses(four_bit.id, None, None, row())
    assert equal(losses, preview_losses(store, row(), run=four_bit.id))
    plain = preview_losses(store, row(), model=str(four_bit.folder / "base"))
    assert losses["base"][-1] != pytest.approx(plain["base"][-1], abs=1e-3)


def test_without_a_run_the_base_model_is_measured_alone(
    chat: ChatProcess, store: Store, run: RunFiles
) -> None:
    tiny_model(store.models_dir / "alone")
    losses = chat.token_losses(None, "alone", None, row())
    assert losses["tuned"] is None
    assert equal(losses, preview_losses(store, row(), model="alone"))
    assert chat.loaded == ""  # no run is
    folder = chat.token_losses(None, str(store.models_dir / "alone"), None, row())
    assert folder == losses
    alone = pid(chat)
    first, *_ = chat.measure(run.id, None, None, row())
    assert first == Measured("loading")
    assert chat.loaded == run.id
    assert not psutil.pid_exists(alone)  # one process never holds two models


def test_a_run_of_another_model_is_refused(shared: ChatProcess, store: Store, run: RunFiles) -> None:
    tiny_model(store.models_dir / "other")
    with pytest.raises(StudioError, match="The run tuned was trained on the model tiny, not on other"):
        shared.token_losses(run.id, "other", None, row())
    assert shared.token_losses(run.id, str(run.folder / "base"), None, row())[
        "tuned"
    ]  # the same by its folder


def test_a_model_that_is_not_here_is_named_and_not_fetched(chat: ChatProcess) -> None:
    with pytest.raises(StudioError, match="The starter model is not prepared yet"):
        chat.token_losses(None, "starter", None, row())
    with pytest.raises(StudioError, match="There is no model called nothing"):
        chat.token_losses(None, "nothing", None, row())
    assert chat._seat.child is None


def test_a_row_that_is_too_long_is_refused_and_the_next_measured(shared: ChatProcess, run: RunFiles) -> None:
    with pytest.raises(StudioError, match="The row has 2960 tokens, and the model reads at most 512"):
        shared.token_losses(run.id, None, None, LONG_ROW)
    assert shared.token_losses(run.id, None, None, row(prompt=10))["tuned"]


def test_measuring_can_be_given_up_and_asked_for_again(chat: ChatProcess, slow: str) -> None:
    list(chat.measure(None, slow, None, row()))
    said = []
    for measured in chat.measure(None, slow, None, LONG_ROW, token="mine"):
        said.append(measured)
        chat.stop("mine")
    assert said[-1].phase == "measuring"
    assert said[-1].share < 0.9
    closed = chat.measure(None, slow, None, LONG_ROW)
    assert next(closed).phase == "measuring"
    closed.close()  # type: ignore[attr-defined]
    process = pid(chat)
    whole = list(chat.measure(None, slow, None, LONG_ROW))
    assert pid(chat) == process
    assert whole[-1].losses is not None
    shares = [measured.share for measured in whole]
    assert shares == sorted(shares)


def test_who_measures_waits_for_an_answer_to_end(shared: ChatProcess, run: RunFiles) -> None:
    answer = shared.answer(run.id, QUESTION, LONG, token="chat")
    next(answer)
    waiting = shared.measure(run.id, None, None, row(prompt=15), token="row")
    assert next(waiting) == Measured("waiting")
    shared.stop("row")
    assert list(waiting) == []
    shared.stop("chat")
    assert list(answer)[-1].stop_reason == "stopped"


def test_a_process_killed_while_it_measures_is_reported(chat: ChatProcess, slow: str) -> None:
    measuring = chat.measure(None, slow, None, LONG_ROW)
    assert next(said for said in measuring if said.phase != "loading").phase == "measuring"
    os.kill(pid(chat), signal.SIGKILL)
    with pytest.raises(StudioError, match=r"The process that answers has ended \(signal 9\)"):
        list(measuring)
