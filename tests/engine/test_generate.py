"""Base and tuned answer side by side: the same weights once, the same seed the same text, no half characters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.domain.answer import ChatSettings, Piece, Side
from studio.domain.chat import Message
from studio.domain.errors import StudioError
from studio.engine.generate import Detokenizer, Prompt, draw, greedy, stream
from studio.engine.models import load_base
from studio.engine.tokenizer import load_tokenizer
from studio.engine.tuned import Pair, TunedRun, load_pair
from tests.runs import tuned_run
from tests.tiny import tiny_tokenizer

QUESTION = (Message("user", "Which way is north?"),)
END = 2


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TunedRun:
    return tuned_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def pair(run: TunedRun) -> Pair:
    return load_pair(run, device="cpu")


def answer(
    pair: Pair,
    run: TunedRun,
    sides: Sequence[Side] = ("base", "tuned"),
    settings: ChatSettings | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    stop_ids: Sequence[int] = (END,),
) -> list[Piece]:
    prompts = {side: Prompt(run.prompt(QUESTION), stop_ids) for side in sides}
    settings = settings or ChatSettings(seed=3, temperature=1.0, top_p=1.0, max_new_tokens=24)
    return list(stream(pair, run.tokenizer, prompts, settings, should_stop))


def text(pieces: Sequence[Piece], side: Side) -> str:
    return "".join(piece.text for piece in pieces if piece.side == side)


# --- one copy of the weights --------------------------------------------------------------------------------


def test_both_sides_share_one_copy_of_the_weights(pair: Pair) -> None:
    assert pair.sides["base"] is pair.sides["tuned"]


def test_the_base_side_is_exactly_the_model_without_an_adapter(pair: Pair, run: TunedRun) -> None:
    plain = load_base(run.model_path, dtype="float32", device="cpu", quantize=False).eval()
    ids = run.prompt(QUESTION)
    with torch.no_grad():
        wanted = plain(input_ids=torch.tensor([ids])).logits[0]
    pair.logits("tuned", ids)
    logits, _ = pair.logits("base", ids, last=len(ids))
    assert torch.equal(logits, wanted)


def test_the_tuned_side_differs_from_it(pair: Pair, run: TunedRun) -> None:
    ids = run.prompt(QUESTION)
    assert not torch.allclose(pair.logits("base", ids)[0], pair.logits("tuned", ids)[0])


def test_after_full_tuning_there_are_two_models(tmp_path: Path) -> None:
    run = tuned_run(tmp_path, "full")
    pair = load_pair(run, device="cpu")
    ids = run.prompt(QUESTION)
    for side, folder in (("base", run.model_path), ("tuned", run.weights)):
        plain = load_base(folder, dtype="float32", device="cpu", quantize=False).eval()
        with torch.no_grad():
            wanted = plain(input_ids=torch.tensor([ids])).logits[0, -1:]
        assert torch.allclose(pair.logits(side, ids)[0], wanted, atol=1e-5)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_checkpoint_answers_as_the_finished_run_does(tmp_path: Path, method: str) -> None:
    run = tuned_run(tmp_path, method)
    finished = load_pair(run, device="cpu")
    checkpoint = tmp_path / "checkpoints" / "step-000005"
    checkpoint.mkdir(parents=True)
    if method == "lora":
        trained = load_file(run.weights / "adapter_model.safetensors")
        weights = {name.replace(".weight", ".default.weight"): tensor for name, tensor in trained.items()}
    else:
        model = load_base(run.weights, dtype="float32", device="cpu", quantize=False)
        weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    save_file(weights, checkpoint / "weights.safetensors")
    stopped = load_pair(replace(run, kind="checkpoint", weights=checkpoint), device="cpu")
    ids = run.prompt(QUESTION)
    assert torch.equal(stopped.logits("tuned", ids)[0], finished.logits("tuned", ids)[0])


def test_a_qlora_run_answers_from_a_4_bit_base_or_from_the_original(tmp_path: Path) -> None:
    run = tuned_run(tmp_path, "qlora", "bfloat16")
    ids = run.prompt(QUESTION)
    four_bit, original = load_pair(run, device="cpu"), load_pair(run, device="cpu", quantize=False)
    quantised = load_base(run.model_path, dtype="bfloat16", device="cpu", quantize=True).eval()
    assert "Linear4bit" in {type(module).__name__ for module in quantised.modules()}
    with torch.no_grad():
        wanted = quantised(input_ids=torch.tensor([ids])).logits[0, -1:].float()
    assert torch.equal(four_bit.logits("base", ids)[0], wanted)
    assert not torch.equal(original.logits("base", ids)[0], wanted)


# --- the same seed, the same text ---------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_text_alone_and_together(pair: Pair, run: TunedRun) -> None:
    together = answer(pair, run)
    assert text(together, "base") == text(answer(pair, run, ["base"]), "base")
    assert text(together, "tuned") == text(answer(pair, run, ["tuned"]), "tuned")
    assert text(together, "tuned") != text(together, "base")


def test_another_seed_gives_another_text(pair: Pair, run: TunedRun) -> None:
    other = ChatSettings(seed=4, temperature=1.0, top_p=1.0, max_new_tokens=24)
    assert text(answer(pair, run), "tuned") != text(answer(pair, run, settings=other), "tuned")


def test_temperature_0_takes_the_likeliest_token_whatever_the_seed(pair: Pair, run: TunedRun) -> None:
    wanted = run.tokenizer.decode(greedy(pair, "tuned", run.prompt(QUESTION), [END], 24))
    for seed in (1, 2):
        pieces = answer(pair, run, ["tuned"], ChatSettings(seed, temperature=0, max_new_tokens=24))
        assert text(pieces, "tuned") == wanted


def test_greedy_with_a_cache_is_greedy_without_one(pair: Pair, run: TunedRun) -> None:
    ids = run.prompt(QUESTION)
    wanted: list[int] = []
    for _ in range(12):
        wanted.append(int(pair.logits("tuned", [*ids, *wanted])[0][-1].argmax()))
    assert greedy(pair, "tuned", ids, [], 12) == wanted


def test_the_sides_come_in_turn(pair: Pair, run: TunedRun) -> None:
    pieces = answer(pair, run, stop_ids=())
    assert [piece.side for piece in pieces[:4]] == ["base", "tuned", "base", "tuned"]
    assert [piece.tokens for piece in pieces if piece.side == "base"] == list(range(1, 25))


def test_a_long_prompt_is_read_in_parts_with_the_same_result(
    pair: Pair, run: TunedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = answer(pair, run)
    monkeypatch.setattr("studio.engine.decoding.READ", 7)
    assert text(answer(pair, run), "tuned") == text(whole, "tuned")


# --- drawing ------------------------------------------------------------------------------------------------


def test_top_p_draws_only_from_the_likeliest() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    generator = torch.Generator().manual_seed(0)
    for top_p, wanted in ((0.0, {0}), (0.5, {0}), (0.6, {0, 1}), (0.9, {0, 1, 2}), (1.0, {0, 1, 2, 3})):
        settings = ChatSettings(temperature=1.0, top_p=top_p)
        assert {draw(logits, settings, generator) for _ in range(300)} == wanted


def test_a_flat_distribution_is_drawn_from_as_a_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    settings = ChatSettings(temperature=1.0, top_p=1.0)
    drawn = {draw(torch.zeros(1000), settings, generator) for _ in range(3000)}
    assert max(drawn) > 900
    assert min(drawn) < 100


def test_a_low_temperature_sharpens() -> None:
    generator = torch.Generator().manual_seed(0)
    settings = ChatSettings(temperature=0.01, top_p=1.0)
    assert {draw(torch.tensor([1.0, 1.2, 0.9]), settings, generator) for _ in range(100)} == {1}


# --- how an answer ends -------------------------------------------------------------------------------------


def test_it_ends_at_an_end_token_which_is_not_part_of_the_text(pair: Pair, run: TunedRun) -> None:
    first = greedy(pair, "tuned", run.prompt(QUESTION), [], 4)
    pieces = answer(
        pair, run, ["tuned"], ChatSettings(temperature=0, max_new_tokens=24), stop_ids=[first[-1]]
    )
    expected = first[: first.index(first[-1])]
    assert pieces[-1].stop_reason == "end"
    assert pieces[-1].tokens == len(expected)
    assert text(pieces, "tuned") == run.tokenizer.decode(expected)


def test_it_ends_at_the_most_tokens_asked_for(pair: Pair, run: TunedRun) -> None:
    pieces = answer(pair, run, ["tuned"], ChatSettings(max_new_tokens=5), stop_ids=())
    assert (pieces[-1].done, pieces[-1].stop_reason, pieces[-1].tokens) == (True, "length", 5)


def test_it_ends_where_the_context_is_full(pair: Pair, run: TunedRun) -> None:
    prompt = run.prompt(QUESTION)
    narrow = replace(pair, context=len(prompt) + 3)
    pieces = answer(narrow, run, ["tuned"], stop_ids=())
    assert (pieces[-1].stop_reason, pieces[-1].tokens) == ("context", 3)


def test_it_ends_when_asked_to(pair: Pair, run: TunedRun) -> None:
    asked = iter([False] * 3 + [True] * 100)
    pieces = answer(pair, run, should_stop=lambda: next(asked), stop_ids=())
    assert [(piece.side, piece.stop_reason, piece.tokens) for piece in pieces[-2:]] == [
        ("base", "stopped", 3),
        ("tuned", "stopped", 3),
    ]


def test_a_prompt_longer_than_the_context_is_refused_with_both_counts(pair: Pair, run: TunedRun) -> None:
    prompts = {"tuned": Prompt([5] * 512, [END])}
    with pytest.raises(StudioError) as error:
        next(stream(pair, run.tokenizer, prompts, ChatSettings(), lambda: False))
    assert error.value.message == (
        "The conversation has 512 tokens, and the model reads at most 512: no room for an answer."
    )


# --- text as it comes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sentence", ["plain", "né à Łódź", "你好，世界", "👩‍👩‍👧 and 🇨🇳", "a\ufffdb"])
def test_no_half_character_is_ever_given_out(tmp_path: Path, sentence: str) -> None:
    tokenizer = load_tokenizer(tiny_tokenizer(tmp_path))
    detokenizer = Detokenizer(tokenizer)
    ids = list(tokenizer.encode([sentence])[0].ids)
    assert len(ids) == len(sentence.encode())  # every byte is a token
    pieces = [detokenizer.add(token) for token in ids]
    if "\ufffd" not in sentence:
        assert not any("\ufffd" in piece for piece in pieces)
    assert "".join(pieces) + detokenizer.rest() == sentence


def test_bytes_that_never_become_a_character_are_shown_at_the_end(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_tokenizer(tmp_path))
    detokenizer = Detokenizer(tokenizer)
    ids = list(tokenizer.encode(["ok你"])[0].ids)[:-1]
    assert "".join(detokenizer.add(token) for token in ids) == "ok"
    assert detokenizer.rest() == "\ufffd"
