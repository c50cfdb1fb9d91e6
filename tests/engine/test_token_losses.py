"""Each trained token's loss is the one that the plain model has there, on either side, whatever the architecture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from studio.domain.answer import Side
from studio.domain.config import TrainConfig
from studio.domain.encoded import IGNORED, Encoded
from studio.domain.errors import Stopped, StudioError
from studio.domain.events import Event, Metric
from studio.engine.loss import CHUNK
from studio.engine.models import load_base
from studio.engine.token_losses import Losses, side_losses, token_losses
from studio.engine.train import TrainJob, train
from studio.engine.tuned import Pair, TunedRun, load_alone, load_pair
from tests.runs import LINEAR, tuned_run
from tests.tiny import tiny_model

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "gemma2": {"final_logit_softcapping": 5.0, "sliding_window": 16, "query_pre_attn_scalar": 16},
    "gemma3_text": {"sliding_window": 16},
    "granite": {"logits_scaling": 4.0},
    "cohere": {"logit_scale": 0.3},
    "hyperclovax": {"logits_scaling": 0.4},
    "falcon_h1": {"lm_head_multiplier": 0.3},
    "recurrent_gemma": {"logits_soft_cap": 3.0},
    "llama4_text": {"attention_chunk_size": 16, "num_local_experts": 2},
    "gpt2": {},
    "opt": {"word_embed_proj_dim": 64, "ffn_dim": 96},
    "mamba": {},
}
SIZES = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TunedRun:
    return tuned_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def pair(run: TunedRun) -> Pair:
    return load_pair(run, device="cpu")


def row(total: int, trained: Sequence[int], vocabulary: int = 259) -> Encoded:
    """Random ids, of which those at `trained` are trained."""
    ids = torch.randint(3, vocabulary, (total,), generator=torch.Generator().manual_seed(total)).tolist()
    labels = tuple(token if place in trained else IGNORED for place, token in enumerate(ids))
    return Encoded(tuple(ids), labels, (), "")


def plain(model: Any, encoded: Encoded) -> Losses:
    """PyTorch's cross_entropy on the logits of one ordinary forward."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([encoded.input_ids])).logits[0].float()
    wanted = torch.tensor(encoded.labels[1:])
    losses = functional.cross_entropy(logits[:-1], wanted, ignore_index=IGNORED, reduction="none").tolist()
    return [
        None if label == IGNORED else loss
        for label, loss in zip(encoded.labels, [None, *losses], strict=True)
    ]


def assert_equal(losses: Losses | None, wanted: Losses, tolerance: float = 1e-5) -> None:
    assert losses is not None
    assert [loss is None for loss in losses] == [loss is None for loss in wanted]
    for loss, expected in zip(losses, wanted, strict=True):
        assert loss == (None if expected is None else pytest.approx(expected, abs=tolerance))


def mean(losses: Losses | None) -> float:
    assert losses is not None
    known = [loss for loss in losses if loss is not None]
    return sum(known) / len(known)


# --- the same numbers as the plain model's ------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
def test_losses_are_those_of_the_plain_forward(tmp_path: Path, tied: bool) -> None:
    path = tiny_model(tmp_path, tied=tied)
    encoded = row(60, [7, 8, 9, 30, 59])
    losses = token_losses(load_alone(path, "float32", device="cpu"), encoded.input_ids, encoded.labels)
    model = load_base(path, dtype="float32", device="cpu", quantize=False)
    assert_equal(losses["base"], plain(model, encoded))
    assert losses["tuned"] is None


@pytest.mark.parametrize("method", ["lora", "full"])
def test_each_side_of_a_run_has_its_own(tmp_path: Path, method: str) -> None:
    run = tuned_run(tmp_path, method)
    encoded = row(60, range(20, 60))
    pair = load_pair(run, device="cpu")
    losses = token_losses(pair, encoded.input_ids, encoded.labels)
    untrained = load_base(run.model_path, dtype="float32", device="cpu", quantize=False)
    assert_equal(losses["base"], plain(untrained, encoded))
    assert_equal(losses["tuned"], plain(pair.model("tuned"), encoded))
    assert abs(mean(losses["base"]) - mean(losses["tuned"])) > 1e-3


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_are_scaled_and_capped_as_the_architecture_does(name: str) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **SIZES, **ARCHITECTURES[name])
    model = AutoModelForCausalLM.from_config(config).eval()
    encoded = row(40, range(5, 40))
    losses = token_losses(Pair({"base": model}, "cpu", 1024), encoded.input_ids, encoded.labels)
    assert_equal(losses["base"], plain(model, encoded))


def test_a_row_of_many_trained_tokens_is_the_same_in_parts(tmp_path: Path) -> None:
    model = load_base(
        tiny_model(tmp_path, max_position_embeddings=8192), dtype="float32", device="cpu", quantize=False
    )
    encoded = row(3 * CHUNK + 5, range(3 * CHUNK + 5))
    losses = side_losses(Pair({"base": model}, "cpu", 8192), "base", encoded.input_ids, encoded.labels)
    assert_equal(losses, plain(model, encoded))
    assert losses[0] is None


def test_logits_exist_at_trained_positions_only_and_for_some_at_a_time(tmp_path: Path) -> None:
    pair = load_alone(tiny_model(tmp_path, max_position_embeddings=8192), "float32", device="cpu")
    seen: list[int] = []
    head = pair.model("base").get_output_embeddings()
    head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[-2]))
    encoded = row(2000, range(1000, 1000 + CHUNK + 50))
    token_losses(pair, encoded.input_ids, encoded.labels)
    assert seen == [CHUNK, 50]


def test_a_qlora_run_has_the_losses_of_its_4_bit_base(tmp_path: Path) -> None:
    run = tuned_run(tmp_path, "qlora", "bfloat16")
    encoded = row(60, range(20, 60))
    losses = token_losses(load_pair(run, device="cpu"), encoded.input_ids, encoded.labels)
    four_bit = load_base(run.model_path, dtype="bfloat16", device="cpu", quantize=True)
    original = load_base(run.model_path, dtype="bfloat16", device="cpu", quantize=False)
    assert_equal(losses["base"], plain(four_bit, encoded), 0.05)
    assert abs(mean(losses["base"]) - mean(plain(original, encoded))) > 0.001


# --- the same number as the run's own ------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "packing"), [("lora", True), ("lora", False), ("full", True)])
def test_their_mean_is_the_held_out_loss_that_training_reports(
    tmp_path: Path, method: str, packing: bool
) -> None:
    train_rows, held_out = [row(n, range(n // 2, n)) for n in (30, 31, 32, 33)], row(50, range(17, 45))
    settings = {
        "method": method,
        "dtype": "float32",
        "learning_rate": 1e-2,
        "epochs": 3.0,
        "batch_size": 2,
        "micro_batch_size": 2,
        "max_length": 64,
        "rank": 4,
        "alpha": 8.0,
        "target_modules": LINEAR,
        "gradient_checkpointing": False,
        "save_steps": 100,
        "eval_steps": 100,
        "packing": packing,
    }
    config = TrainConfig.model_validate(settings)
    run = tuned_run(tmp_path / "run", method)
    folder = tmp_path / "trained"
    folder.mkdir()
    events: list[Event] = []
    job = TrainJob("run", run.model_path, config, train_rows, [held_out], folder, "cpu", 0)
    train(job, events.append, lambda: False)
    reported = [event.eval_loss for event in events if isinstance(event, Metric) and event.eval_loss]
    trained = TunedRun(
        run.id,
        run.name,
        run.config,
        run.model_path,
        run.template,
        run.tokenizer,
        run.kind,
        folder / ("model" if method == "full" else "adapter"),
    )
    losses = token_losses(load_pair(trained, device="cpu"), held_out.input_ids, held_out.labels)
    assert [mean(losses["base"]), mean(losses["tuned"])] == pytest.approx(reported, abs=1e-5)
    assert reported[0] != pytest.approx(reported[1], abs=1e-2)


# --- rows at the edges ----------------------------------------------------------------------------------------


def test_a_row_without_trained_tokens_has_no_losses_and_the_model_reads_nothing(pair: Pair) -> None:
    encoded = row(20, [])
    steps: list[float] = []
    assert token_losses(pair, encoded.input_ids, encoded.labels, steps.append) == {
        "base": [None] * 20,
        "tuned": [None] * 20,
    }
    assert steps == [1.0]


def test_an_empty_row_has_none(pair: Pair) -> None:
    assert token_losses(pair, [], []) == {"base": [], "tuned": []}


def test_the_first_token_is_predicted_from_nothing_and_has_no_loss(pair: Pair) -> None:
    encoded = row(20, [0, 1])
    losses = token_losses(pair, encoded.input_ids, encoded.labels)["base"]
    assert [place for place, loss in enumerate(losses) if loss is not None] == [1]


def test_what_follows_the_last_trained_token_changes_nothing(pair: Pair) -> None:
    encoded = row(60, range(10, 20))
    whole = token_losses(pair, encoded.input_ids, encoded.labels)
    short = token_losses(pair, encoded.input_ids[:20], encoded.labels[:20])
    for side in ("base", "tuned"):
        assert whole[side][:20] == short[side]


def test_a_row_longer_than_the_context_is_refused(pair: Pair) -> None:
    encoded = row(513, [512])
    with pytest.raises(StudioError) as error:
        token_losses(pair, encoded.input_ids, encoded.labels)
    assert error.value.message == "The row has 513 tokens, and the model reads at most 512."
    fits = row(512, [511])
    assert token_losses(pair, fits.input_ids, fits.labels)["base"][511] is not None


def test_a_token_that_the_model_does_not_know_is_named(pair: Pair) -> None:
    with pytest.raises(StudioError, match="holds the token 259, and the model knows only those below 259"):
        token_losses(pair, [5, 259], [IGNORED, 259])


# --- how far it is, and giving up ---------------------------------------------------------------------------


def test_progress_grows_over_both_sides_to_1(pair: Pair) -> None:
    shares: list[float] = []
    encoded = row(60, range(20, 60))
    token_losses(pair, encoded.input_ids, encoded.labels, shares.append)
    assert shares == pytest.approx([0, 0.225, 0.45, 0.5, 0.725, 0.95, 1])  # two layers and the logits, twice


@pytest.mark.parametrize("steps", range(6))
def test_it_stops_between_any_two_steps_and_can_be_asked_again(pair: Pair, steps: int) -> None:
    encoded = row(60, range(20, 60))
    wanted = token_losses(pair, encoded.input_ids, encoded.labels)
    asked = iter([False] * steps + [True] * 10)
    with pytest.raises(Stopped):
        token_losses(pair, encoded.input_ids, encoded.labels, should_stop=lambda: next(asked))
    assert token_losses(pair, encoded.input_ids, encoded.labels) == wanted


def test_answers_are_not_changed_by_it(pair: Pair, run: TunedRun) -> None:
    ids = list(row(30, []).input_ids)
    sides: tuple[Side, ...] = ("base", "tuned")
    before = [pair.logits(side, ids)[0] for side in sides]
    encoded = row(60, range(20, 60))
    token_losses(pair, encoded.input_ids, encoded.labels)
    assert all(torch.equal(pair.logits(side, ids)[0], was) for side, was in zip(sides, before, strict=True))
