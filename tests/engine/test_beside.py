"""Up to four sides over one copy of the weights: each as if it were alone, and as its own run loaded by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.domain.answer import ChatSettings, Piece, Side
from studio.domain.chat import Message
from studio.domain.errors import StudioError
from studio.engine import adapter_rows
from studio.engine.choices import choices
from studio.engine.decoding import Decoder, Row
from studio.engine.generate import Prompt, stream
from studio.engine.models import load_base
from studio.engine.tuned import Pair, TunedRun, check_beside, load_pair
from tests.runs import tuned_run
from tests.tiny import tiny_model

QUESTION = (Message("user", "Which way is north?"),)
END = 2
EARLY, LATE = "run-1@step-000005", "run-2"


def changed(run: TunedRun, folder: Path, factor: float, named: str) -> TunedRun:
    """Another run of the same base, whose adapter adds something else."""
    weights = load_file(run.weights / "adapter_model.safetensors")
    folder.mkdir(parents=True)
    save_file(
        {name: tensor * factor for name, tensor in weights.items()}, folder / "adapter_model.safetensors"
    )
    (folder / "adapter_config.json").write_text((run.weights / "adapter_config.json").read_text())
    return replace(run, id=named, name=named, weights=folder)


def checkpoint(run: TunedRun, folder: Path) -> TunedRun:
    """One as training writes it, with other weights than the run ended with."""
    weights = load_file(run.weights / "adapter_model.safetensors")
    folder.mkdir(parents=True)
    early = {name.replace(".weight", ".default.weight"): tensor * 0.7 for name, tensor in weights.items()}
    save_file(early, folder / "weights.safetensors")
    return replace(run, kind="checkpoint", weights=folder)


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[Side, TunedRun]:
    folder = tmp_path_factory.mktemp("runs")
    run = tuned_run(folder, dtype=request.param)
    return {
        "base": run,
        "tuned": run,
        EARLY: checkpoint(run, folder / "checkpoints" / "step-000005"),
        LATE: changed(run, folder / "other", 1.3, LATE),
    }


@pytest.fixture(scope="module")
def four(runs: Mapping[Side, TunedRun]) -> Pair:
    return load_pair(runs["tuned"], beside={side: runs[side] for side in (EARLY, LATE)}, device="cpu")


def answers(pair: Pair, runs: Mapping[Side, TunedRun], sides: Sequence[Side]) -> dict[Side, str]:
    prompts = {side: Prompt(runs[side].prompt(QUESTION), [END]) for side in sides}
    settings = ChatSettings(seed=3, temperature=1.0, top_p=1.0, max_new_tokens=24)
    pieces: list[Piece] = list(stream(pair, runs["base"].tokenizer, prompts, settings, lambda: False))
    return {side: "".join(piece.text for piece in pieces if piece.side == side) for side in sides}


def test_the_same_seed_gives_the_same_text_alone_and_with_three_others(
    four: Pair, runs: Mapping[Side, TunedRun]
) -> None:
    together = answers(four, runs, [*runs])
    assert len({*together.values()}) == 4
    for side in runs:
        assert answers(four, runs, [side])[side] == together[side]


def test_in_bfloat16_long_sums_are_the_same_alone_and_beside_others(tmp_path: Path) -> None:
    """At the sizes of the starter, where a CPU adds up the sums of a single token in another order."""
    sizes = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 6, "initializer_range": 0.05}
    run = tuned_run(tmp_path, dtype="bfloat16", **sizes)
    runs = {"base": run, "tuned": run, LATE: changed(run, tmp_path / "other", 1.3, LATE)}
    pair = load_pair(run, beside={LATE: runs[LATE]}, device="cpu")
    together = answers(pair, runs, [*runs])
    assert {side: answers(pair, runs, [side])[side] for side in runs} == together


def test_all_four_are_one_copy_of_the_weights(four: Pair) -> None:
    assert len(four.models) == 1


def test_the_base_among_four_is_a_model_without_an_adapter(four: Pair, runs: Mapping[Side, TunedRun]) -> None:
    run = runs["base"]
    plain = load_base(run.model_path, dtype=run.config.train.dtype, device="cpu", quantize=False).eval()
    ids = run.prompt(QUESTION)
    four.logits(LATE, ids)
    with torch.no_grad():
        wanted = plain(input_ids=torch.tensor([ids])).logits[0].float()
    assert torch.equal(four.logits("base", ids, last=len(ids))[0], wanted)


@pytest.mark.parametrize("side", [EARLY, LATE, "tuned"])
def test_a_side_is_what_its_run_or_checkpoint_is_when_loaded_alone(
    four: Pair, runs: Mapping[Side, TunedRun], side: Side
) -> None:
    alone = load_pair(runs[side], device="cpu")
    ids = runs[side].prompt(QUESTION)
    assert torch.equal(four.logits(side, ids)[0], alone.logits("tuned", ids)[0])
    assert (
        answers(four, runs, [*runs])[side]
        == answers(alone, {**runs, "tuned": runs[side]}, ["tuned"])["tuned"]
    )


def test_a_run_that_diverged_does_not_reach_those_beside_it_and_says_so(
    runs: Mapping[Side, TunedRun], tmp_path: Path
) -> None:
    broken = changed(runs["tuned"], tmp_path / "broken", float("nan"), "run-3")
    pair = load_pair(runs["tuned"], beside={"run-3": broken}, device="cpu")
    ids = runs["tuned"].prompt(QUESTION)

    def read(*sides: Side) -> dict[Side, torch.Tensor | None]:
        return dict(zip(sides, Decoder(pair).advance([Row(side, list(ids)) for side in sides]), strict=True))

    alone, together = read("base", "tuned"), read("base", "tuned", "run-3")
    for side, logits in alone.items():
        beside = together[side]
        assert logits is not None
        assert beside is not None
        assert torch.equal(logits, beside)
    with pytest.raises(StudioError, match="its weights have diverged"):
        answers(pair, {"run-3": broken, "base": runs["base"]}, ["run-3"])


def test_a_run_of_another_base_is_refused(runs: Mapping[Side, TunedRun], tmp_path: Path) -> None:
    other = replace(runs["tuned"], name="other", model_path=tiny_model(tmp_path / "another", seed=5))
    with pytest.raises(StudioError, match="The run other was trained on the model tiny, and run on tiny"):
        check_beside(runs["tuned"], other)


def reading(run: TunedRun, **train: str) -> TunedRun:
    config = run.config.model_copy(update={"train": run.config.train.model_copy(update=train)})
    return replace(run, name="other", config=config)


def test_a_run_that_reads_the_base_in_other_numbers_is_refused(tmp_path: Path) -> None:
    run = tuned_run(tmp_path, dtype="bfloat16")
    with pytest.raises(StudioError, match="reads its base in 4-bit bfloat16, and run in bfloat16"):
        check_beside(run, reading(run, method="qlora"))
    with pytest.raises(StudioError, match="reads its base in float32, and run in bfloat16"):
        check_beside(run, reading(run, dtype="float32"))
    with pytest.raises(StudioError, match="The run other trained every weight"):
        check_beside(run, reading(run, method="full"))


def test_the_probabilities_of_a_greedy_answer_are_those_it_was_chosen_by(
    four: Pair, runs: Mapping[Side, TunedRun]
) -> None:
    run, prompt = runs[EARLY], runs[EARLY].prompt(QUESTION)
    settings = ChatSettings(temperature=0, max_new_tokens=9)
    pieces = list(stream(four, run.tokenizer, {EARLY: Prompt(prompt, [END])}, settings, lambda: False))
    ids = [token for piece in pieces for token in piece.ids]
    found = choices(four, run.tokenizer, EARLY, prompt, ids)
    assert [choice.chosen.text for choice in found] == [run.tokenizer.token(token) for token in ids]
    for choice in found:  # each was the likeliest, and the others follow in their order
        likely = [choice.chosen.probability, *(other.probability for other in choice.others)]
        assert likely == sorted(likely, reverse=True)
    logits, _ = four.logits(EARLY, [*prompt, *ids[:-1]], last=len(ids))
    wanted = [float(row.softmax(-1)[token]) for row, token in zip(logits, ids, strict=True)]
    assert [choice.chosen.probability for choice in found] == pytest.approx(wanted, rel=0.05)


def test_probabilities_of_a_long_answer_are_read_in_parts(
    four: Pair, runs: Mapping[Side, TunedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, prompt, ids = runs["tuned"], runs["tuned"].prompt(QUESTION), [*range(20, 30)]
    whole = choices(four, run.tokenizer, "tuned", prompt, ids)
    monkeypatch.setattr("studio.engine.choices._PART", 3)
    parts = choices(four, run.tokenizer, "tuned", prompt, ids)
    assert [one.chosen.probability for one in parts] == pytest.approx(
        [one.chosen.probability for one in whole], rel=0.05
    )


def test_tokens_of_one_adapter_are_the_same_wherever_the_others_of_it_stand() -> None:
    """In bfloat16, into which float32 adapters are added: rounded once, also where the tokens do not lie together."""
    numbers = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 32, 8, generator=numbers), torch.randn(2, 8, 24, generator=numbers)
    group = adapter_rows._Group((("first", 0.7), ("second", 2.0)), a, b)
    x = torch.randn(4, 32, generator=numbers).bfloat16()
    before = torch.randn(4, 24, generator=numbers).bfloat16()

    def added(*passed: tuple[int, str]) -> torch.Tensor:
        switch, out = adapter_rows.Switch(), before.clone()
        switch.turn_by([adapter_rows.Stretch(token, token + 1, adapter) for token, adapter in passed])
        wide, each = switch.turned(group.parts, len(x), a)
        assert wide is None
        assert each is not None
        group.update_each(x, each, out)
        return out

    apart = added((1, "first"), (3, "first"))
    mixed = added((1, "first"), (2, "second"), (3, "first"))
    for token in (1, 3):
        alone = added((token, "first"))[token]
        assert not torch.equal(alone, before[token])
        assert torch.equal(apart[token], alone)
        assert torch.equal(mixed[token], alone)
    assert torch.equal(apart[2], before[2])
