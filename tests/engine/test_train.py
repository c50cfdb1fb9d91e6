"""What must not change the result does not: how a batch is cut up, packing, stopping and going on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM

from studio.domain.config import TrainConfig
from studio.domain.encoded import IGNORED, Encoded
from studio.domain.errors import StudioError
from studio.domain.events import Started
from studio.engine import attention, trainee
from studio.engine.encode import fingerprint
from tests.tiny import tiny_model
from tests.trainings import BASE, Trained, encoded_rows, losses, measured, result, steps, trained


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def rows(model: Path) -> list[Encoded]:
    return encoded_rows(model)


Run = Callable[..., Trained]


@pytest.fixture
def run(model: Path, rows: list[Encoded], tmp_path: Path) -> Run:
    return lambda folder, *stop, **settings: trained(model, rows, tmp_path / folder, *stop, **settings)


def test_it_learns_and_says_each_step(run: Run, rows: list[Encoded]) -> None:
    events, metrics, folder = run("a", epochs=8.0)
    started = next(event for event in events if isinstance(event, Started))
    assert (started.steps, started.rows, started.encoded_sha256) == (24, 10, fingerprint(rows))
    assert steps(events) == list(range(1, 25))
    assert losses(events)[-1] < 0.6 * losses(events)[0]
    assert metrics["tokens"] == 8 * sum(row.total for row in rows)
    assert (folder / "adapter" / "adapter_config.json").is_file()


@pytest.mark.parametrize(
    "other", [{"micro_batch_size": 1}, {"micro_batch_size": 3}, {"packing": False}], ids=str
)
def test_how_a_batch_passes_through_the_model_does_not_change_the_run(
    run: Run, other: dict[str, object]
) -> None:
    one, _, first = run("one")
    two, _, second = run("two", **other)
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    for name, tensor in result(first).items():
        torch.testing.assert_close(result(second)[name], tensor, rtol=2e-2, atol=2e-3)


def test_gradient_checkpointing_changes_nothing(run: Run) -> None:
    plain, _, _ = run("plain")
    spared, _, _ = run("spared", gradient_checkpointing=True)
    assert losses(spared) == pytest.approx(losses(plain), rel=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_stopped_run_goes_on_bit_for_bit(run: Run, stop_after: int, dropout: float) -> None:
    whole, metrics, first = run("whole", dropout=dropout)
    before, _, second = run("halves", stop_after=stop_after, dropout=dropout)
    after, resumed_metrics, _ = run("halves", dropout=dropout)
    assert losses(before) + losses(after) == losses(whole)
    assert {**measured(before), **measured(after)} == measured(whole)
    assert resumed_metrics["tokens"] == metrics["tokens"]
    assert resumed_metrics["eval_loss"] == metrics["eval_loss"]
    for name, tensor in result(first).items():
        assert torch.equal(result(second)[name], tensor), name


def test_a_run_killed_after_its_result_was_written_ends_well_when_resumed(run: Run) -> None:
    _, metrics, folder = run("a")
    before = result(folder)
    events, again, _ = run("a")
    assert steps(events) == []
    assert (again["steps"], again["eval_loss"]) == (metrics["steps"], metrics["eval_loss"])
    assert all(torch.equal(result(folder)[name], tensor) for name, tensor in before.items())


def test_a_single_step_already_teaches(run: Run) -> None:
    _, _, folder = run("a", max_steps=1)
    assert any(bool(tensor.any()) for name, tensor in result(folder).items() if "lora_B" in name)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(run: Run) -> None:
    assert losses(run("a")[0]) == losses(run("b")[0])
    assert losses(run("c", seed=1)[0]) != losses(run("d", seed=2)[0])


def test_only_so_many_checkpoints_are_kept(run: Run) -> None:
    _, _, folder = run("a", save_steps=1, keep_checkpoints=2)
    kept = sorted(path.name for path in (folder / "checkpoints").glob("step-*"))
    assert kept == ["step-000005", "step-000006"]


def test_full_tuning_trains_every_weight_and_saves_a_whole_model(run: Run) -> None:
    events, _, folder = run("full", method="full", learning_rate=1e-3, epochs=4.0)
    started = next(event for event in events if isinstance(event, Started))
    assert started.trainable_parameters == sum(
        t.numel() for t in load_file(folder / "model" / "model.safetensors").values()
    )
    assert losses(events)[-1] < losses(events)[0]


def test_full_tuning_resumes_bit_for_bit(run: Run) -> None:
    whole, _, first = run("whole", method="full", learning_rate=1e-3)
    before, _, second = run("halves", method="full", learning_rate=1e-3, stop_after=3)
    after, _, _ = run("halves", method="full", learning_rate=1e-3)
    assert losses(before) + losses(after) == losses(whole)
    one, two = (load_file(folder / "model" / "model.safetensors") for folder in (first, second))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_qlora_learns_on_a_cpu_after_an_evaluation(run: Run) -> None:
    events, _, _ = run("qlora", method="qlora", dtype="bfloat16", epochs=8.0, eval_steps=1)
    assert losses(events)[-1] < 0.7 * losses(events)[0]


def test_target_modules_that_are_not_there_are_named(run: Run) -> None:
    with pytest.raises(StudioError, match="No adapter can be put on nowhere"):
        run("a", target_modules=["nowhere"])


def test_a_model_whose_packed_rows_see_each_other_is_found_out(model: Path, rows: list[Encoded]) -> None:
    built = trainee.build(model, TrainConfig.model_validate(BASE), "cpu", pad_id=0)
    assert trainee.packing_is_exact(built, rows)

    def forgets_rows(*args: Any, row_lengths: tuple[int, ...] = (), **options: Any) -> Any:
        return attention.rows_attention(*args, **options)

    AttentionInterface.register("forgets_rows", forgets_rows)
    built.base.set_attn_implementation("forgets_rows")
    assert not trainee.packing_is_exact(built, rows)


# --- every architecture's own output layer --------------------------------------------------------------------

SIZES = {
    "vocab_size": 259,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.mark.parametrize(
    ("name", "settings", "plain"),
    [
        ("llama", {}, True),
        ("llama4_text", {"attention_chunk_size": 512, "num_local_experts": 2}, True),
        (
            "gemma2",
            {"final_logit_softcapping": 5.0, "attn_logit_softcapping": 1.0, "query_pre_attn_scalar": 16},
            False,
        ),
        ("nanochat", {"final_logit_softcapping": 5.0}, False),
        ("granite", {"logits_scaling": 4.0}, False),
        ("cohere", {"logit_scale": 0.3}, False),
        ("hyperclovax", {"logits_scaling": 0.4}, False),
        ("falcon_h1", {"lm_head_multiplier": 0.3}, False),
        ("recurrent_gemma", {"logits_soft_cap": 3.0}, False),
        ("phi", {}, False),
    ],
)
def test_the_loss_and_its_gradient_are_those_of_the_architecture(
    tmp_path: Path, rows: list[Encoded], name: str, settings: dict[str, Any], plain: bool
) -> None:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **SIZES, **settings)).save_pretrained(
        tmp_path
    )
    config = TrainConfig.model_validate({**BASE, "packing": True, "method": "full"})
    built = trainee.build(tmp_path, config, "cpu", pad_id=0)
    if not trainee.packing_is_exact(built, rows):
        trainee.unpack(built)
    built.model.eval()
    assert built.plain_head == plain
    row, weight = rows[0], built.base.get_output_embeddings().weight
    logits = built.base(input_ids=torch.tensor([row.input_ids])).logits[0, :-1].float()
    theirs = functional.cross_entropy(
        logits, torch.tensor(row.labels[1:]), ignore_index=IGNORED, reduction="sum"
    )
    ours = built.loss(built.collate([row]))
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        torch.autograd.grad(ours, weight)[0], torch.autograd.grad(theirs, weight)[0], rtol=1e-3, atol=1e-4
    )
