"""Each method and knob does what its paper and its reference implementation do, and its result is what was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from studio.domain.config import ExportConfig, RunConfig, TrainConfig
from studio.domain.encoded import Encoded
from studio.domain.errors import StudioError
from studio.engine import trainee
from studio.engine.export import RunFacts, export
from studio.engine.export.verify import Verified
from studio.engine.models import load_base
from studio.engine.steps import plan_steps
from studio.engine.templates import resolve
from studio.engine.tokenizer import load_tokenizer
from studio.engine.tuned import TunedRun
from tests.runs import LINEAR, ROWS
from tests.tiny import tiny_model
from tests.trainings import BASE, Trained, encoded_rows, losses, measured, result, trained

Run = Callable[..., Trained]
VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"rank_stabilized": True},
    "dora": {"dora": True},
    "pissa": {"adapter_start": "pissa"},
    "pissa+rslora": {"adapter_start": "pissa", "rank_stabilized": True},
    "pissa+dora": {"adapter_start": "pissa", "dora": True},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def rows(model: Path) -> list[Encoded]:
    return encoded_rows(model)


@pytest.fixture
def run(model: Path, rows: list[Encoded], tmp_path: Path) -> Run:
    return lambda folder, *stop, **settings: trained(model, rows, tmp_path / folder, *stop, **settings)


# --- the trajectory is that of the reference -----------------------------------------------------------------

AGAINST_TRL: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # ours, SFTConfig's, LoraConfig's
    ({}, {}, {}),
    ({"rank_stabilized": True}, {}, {"use_rslora": True}),
    ({"dora": True}, {}, {"use_dora": True}),
    ({"adapter_start": "pissa"}, {}, {"init_lora_weights": "pissa"}),
    (
        {"adapter_start": "pissa", "rank_stabilized": True, "weight_decay": 0.3},
        {"weight_decay": 0.3},
        {"init_lora_weights": "pissa", "use_rslora": True},
    ),
    ({"scheduler": "cosine"}, {"lr_scheduler_type": "cosine"}, {}),
    ({"scheduler": "constant"}, {"lr_scheduler_type": "constant"}, {}),
    (
        {"scheduler": "warmup_stable_decay", "decay_ratio": 0.5},
        {
            "lr_scheduler_type": "warmup_stable_decay",
            "lr_scheduler_kwargs": {"num_decay_steps": 3, "decay_type": "linear"},
        },
        {},
    ),
    ({"weight_decay": 0.3}, {"weight_decay": 0.3}, {}),
    ({"max_grad_norm": 0.1}, {"max_grad_norm": 0.1}, {}),
    ({"lora_plus_ratio": 16.0}, {"loraplus": 16.0}, {}),
    ({"optimizer": "adamw_8bit", "rank": 64}, {"optim": "adamw_8bit"}, {"r": 64}),
]


@pytest.mark.parametrize(("ours", "arguments", "adapter"), AGAINST_TRL, ids=lambda value: str(value))
def test_the_loss_trajectory_equals_trls(
    model: Path,
    rows: list[Encoded],
    run: Run,
    tmp_path: Path,
    ours: dict[str, Any],
    arguments: dict[str, Any],
    adapter: dict[str, Any],
) -> None:
    """Stock SFTTrainer, fed the same batches in the same order."""
    given = {"scheduler": "linear", "epochs": 2.0, "warmup_ratio": 0.0, **ours}
    theirs = trl_losses(model, rows, tmp_path, arguments, adapter)
    assert losses(run("ours", **given)[0]) == pytest.approx(theirs, rel=1e-3)


def trl_losses(
    model: Path, rows: list[Encoded], folder: Path, arguments: dict[str, Any], adapter: dict[str, Any]
) -> list[float]:
    """Of each of six steps; `loraplus` goes to PEFT's own optimiser for it."""
    datasets, trl, peft = (pytest.importorskip(name) for name in ("datasets", "trl", "peft"))
    order = plan_steps(len(rows), 4, 2.0, None, 42)
    fed = [list(order.batch(step)) for step in range(order.count)]
    data = datasets.Dataset.from_list(
        [{"input_ids": list(row.input_ids), "labels": list(row.labels)} for row in rows]
    )

    class InOrder(trl.SFTTrainer):  # type: ignore[misc, name-defined]
        def get_train_dataloader(self) -> torch.utils.data.DataLoader[Any]:
            return torch.utils.data.DataLoader(data, batch_sampler=fed, collate_fn=self.data_collator)

    given = {"lr_scheduler_type": "linear", **arguments}
    ratio = given.pop("loraplus", None)
    torch.manual_seed(42)
    trainer = InOrder(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(model),
        args=trl.SFTConfig(
            output_dir=str(folder / "trl"),
            per_device_train_batch_size=4,
            num_train_epochs=1,
            learning_rate=1e-2,
            warmup_steps=0,
            logging_steps=1,
            report_to=[],
            seed=42,
            bf16=False,
            use_cpu=True,
            max_length=None,
            activation_checkpointing=False,
            save_strategy="no",
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
            completion_only_loss=False,
            **{"weight_decay": 0.0, **given},
        ),
        train_dataset=data,
        peft_config=peft.LoraConfig(
            task_type="CAUSAL_LM", target_modules=LINEAR, **{"r": 4, "lora_alpha": 8, **adapter}
        ),
    )
    if ratio:
        from peft.optimizers import create_loraplus_optimizer

        trainer.optimizer = create_loraplus_optimizer(
            trainer.model, torch.optim.AdamW, lr=1e-2, loraplus_lr_ratio=ratio
        )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


# --- the result is what was trained --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_adapter_that_is_written_gives_the_loss_that_was_measured(
    model: Path, rows: list[Encoded], run: Run, method: str, variant: str
) -> None:
    """Loaded by PEFT's own class on a fresh base, as in the chat."""
    from peft import PeftModel

    events, _, folder = run("a", method=method, **VARIANTS[variant])
    base = load_base(model, dtype="float32", device="cpu", quantize=method == "qlora")
    tuned = PeftModel.from_pretrained(base, str(folder / "adapter")).eval()
    total = sum(row_loss(tuned, row) for row in rows[:3]) / sum(row.trained for row in rows[:3])
    assert total == pytest.approx(measured(events)[6], rel=1e-4)
    with tuned.disable_adapter():
        untuned = sum(row_loss(tuned, row) for row in rows[:3]) / sum(row.trained for row in rows[:3])
    assert untuned == pytest.approx(measured(events)[0], rel=1e-4)


def row_loss(model: Any, row: Encoded) -> float:
    ids, labels = torch.tensor([row.input_ids]), torch.tensor([row.labels])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0, :-1].float()
    return float(torch.nn.functional.cross_entropy(logits, labels[0, 1:], reduction="sum"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stopped_run_goes_on_bit_for_bit(run: Run, variant: str) -> None:
    knobs = {**VARIANTS[variant], "neftune_alpha": 5.0, "lora_plus_ratio": 4.0, "weight_decay": 0.1}
    whole, _, first = run("whole", **knobs)
    before, _, second = run("halves", 3, **knobs)
    after, _, _ = run("halves", **knobs)
    assert losses(before) + losses(after) == losses(whole)
    assert all(torch.equal(result(second)[name], tensor) for name, tensor in result(first).items())


def test_8_bit_averages_go_on_bit_for_bit(run: Run) -> None:
    knobs = {
        "optimizer": "adamw_8bit",
        "rank": 64,
        "dora": True,
    }  # both 8-bit and, of small tensors, 32-bit averages
    whole, _, _ = run("whole", **knobs)
    before, _, _ = run("halves", 3, **knobs)
    after, _, _ = run("halves", **knobs)
    assert losses(before) + losses(after) == losses(whole)
    assert losses(whole) != losses(run("32 bits", rank=64, dora=True)[0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_goes_on_from_the_adapter_of_an_earlier_one(run: Run, variant: str) -> None:
    first, _, folder = run("first", **VARIANTS[variant])
    shape = {**VARIANTS[variant], "adapter_start": "zero"}
    if VARIANTS[variant].get("adapter_start") == "pissa":
        shape |= {"rank": 8, "alpha": 8 * 2**0.5 if "rank_stabilized" in shape else 16}
    second, _, _ = run("second", adapter=folder / "adapter", **shape)
    assert measured(second)[0] == pytest.approx(measured(first)[6], rel=1e-5)


@pytest.mark.parametrize("kind", ["adapter", "checkpoint"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_an_export_answers_as_the_chat_did(
    model: Path,
    rows: list[Encoded],
    run: Run,
    tmp_path: Path,
    kind: Literal["adapter", "checkpoint"],
    variant: str,
) -> None:
    settings = {**BASE, "epochs": 8.0, "target_modules": LINEAR, **VARIANTS[variant]}
    _, _, folder = run("a", **settings)
    config = RunConfig.model_validate({"model": {"id": "tiny"}, "data": {"path": "x"}, "train": settings})
    tokenizer = load_tokenizer(model)
    weights = folder / "adapter" if kind == "adapter" else sorted(folder.glob("checkpoints/step-*"))[-1]
    tuned = TunedRun("a", "a", config, model, resolve("model", tokenizer), tokenizer, kind, weights)
    for to in ("merged", "adapter"):
        how = ExportConfig.model_validate({"to": to, "dtype": "float32"})
        verified = export(tuned, how, tmp_path / to, rows=ROWS, facts=RunFacts()).verified
        assert verified.passed
        assert verified.chat.mean_kl < 1e-6
        assert verified.untuned_kl > 0.01


@pytest.mark.parametrize("variant", ["dora", "pissa", "pissa+dora"])
def test_an_adapter_on_4_bits_is_merged_into_either_weights(
    model: Path, run: Run, tmp_path: Path, variant: str
) -> None:
    settings = {**BASE, "method": "qlora", "target_modules": LINEAR, **VARIANTS[variant]}
    _, _, folder = run("a", **settings)
    config = RunConfig.model_validate({"model": {"id": "tiny"}, "data": {"path": "x"}, "train": settings})
    tokenizer = load_tokenizer(model)
    tuned = TunedRun(
        "a", "a", config, model, resolve("model", tokenizer), tokenizer, "adapter", folder / "adapter"
    )

    def merged(into: str) -> Verified:
        how = ExportConfig.model_validate({"dtype": "float32", "into": into})
        verified = export(tuned, how, tmp_path / into, rows=ROWS, facts=RunFacts()).verified
        assert verified is not None
        assert verified.passed
        return verified

    original = merged("original").original
    assert original is not None
    assert original.mean_kl < 1e-6
    assert merged("dequantised").chat.mean_kl < 1e-6


# --- PiSSA ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_pissa_begins_without_effect_and_with_the_largest_directions(model: Path, method: str) -> None:
    config = TrainConfig.model_validate({**BASE, "method": method, "adapter_start": "pissa"})
    built = trainee.build(model, config, "cpu", pad_id=0)
    layer: Any = built.base.model.layers[0].mlp.up_proj
    a, b = layer.lora_A["default"].weight.detach(), layer.lora_B["default"].weight.detach()
    assert (a.shape[0], b.shape[1]) == (8, 8)
    assert float((b @ a).abs().max()) < 1e-6
    from peft.utils.integrations import dequantize_module_weight

    weight = dequantize_module_weight(layer.get_base_layer())
    begun = layer.scaling["default"] * b[:, :4] @ a[:4]
    left, values, right = torch.linalg.svd(weight.float())
    torch.testing.assert_close(begun, left[:, :4] * values[:4] @ right[:4], rtol=1e-3, atol=1e-4)
    assert built.trainable == sum(
        tensor.numel() for name, tensor in built.parameters.items() if "original" in name
    )


def test_large_weights_are_decomposed_nearly_as_well_by_the_quick_method(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from studio.engine import adapters

    torch.manual_seed(0)
    weight = torch.randn(96, 64) @ torch.diag(torch.linspace(3, 0.1, 64))
    left, values, right = adapters._largest(weight, 8)
    monkeypatch.setattr(adapters, "_EXACT_SIDE", 0)
    quick_left, quick_values, quick_right = adapters._largest(weight, 8)
    exact, quick = left * values @ right, quick_left * quick_values @ quick_right
    assert float((exact - weight).norm()) == pytest.approx(float((quick - weight).norm()), rel=1e-3)


def test_a_rank_that_a_weight_has_not_is_refused_by_pissa(run: Run) -> None:
    with pytest.raises(StudioError, match="PiSSA cannot begin k_proj at rank 40: its weights have only 32"):
        run("a", adapter_start="pissa", rank=40)


# --- NEFTune -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [{"micro_batch_size": 1}, {"packing": False}], ids=str)
def test_noise_is_a_rows_own_however_a_batch_passes_through(run: Run, other: dict[str, object]) -> None:
    one, two = run("one", neftune_alpha=50.0)[0], run("two", neftune_alpha=50.0, **other)[0]
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    assert losses(one) != pytest.approx(losses(run("none")[0]), rel=1e-2)


def test_noise_is_uniform_within_alpha_by_the_root_of_a_rows_numbers(
    model: Path, rows: list[Encoded]
) -> None:
    config = TrainConfig.model_validate({**BASE, "neftune_alpha": 5.0})
    built = trainee.build(model, config, "cpu", pad_id=0)
    embeddings, batch = built.base.get_input_embeddings(), built.collate(rows[:2])
    plain = embeddings.weight[batch.input_ids]
    assert built.noise is not None
    built.noise.of(batch.row_lengths, [1, 2])
    noise = (embeddings(batch.input_ids) - plain)[0].detach()
    for part, length in zip(noise.split(batch.row_lengths), batch.row_lengths, strict=True):
        limit = 5.0 / (length * 64) ** 0.5
        assert float(part.abs().max()) == pytest.approx(limit, rel=0.02)
        assert float(part.std()) == pytest.approx(limit / 3**0.5, rel=0.05)


def test_what_is_measured_has_no_noise(run: Run) -> None:
    assert measured(run("a", neftune_alpha=50.0)[0])[0] == measured(run("b")[0])[0]


# --- optimisers ----------------------------------------------------------------------------------------------


def test_lora_plus_gives_b_and_magnitudes_a_multiple_of_the_rate(model: Path) -> None:
    from studio.engine import optimizers

    config = TrainConfig.model_validate({**BASE, "dora": True, "lora_plus_ratio": 4.0, "weight_decay": 0.1})
    built = trainee.build(model, config, "cpu", pad_id=0)
    optimizer = optimizers.build(built.parameters, config, "cpu")
    optimizers.set_rate(optimizer, 1e-3)
    names = {id(parameter): name for name, parameter in built.parameters.items()}
    found = {
        (kind, group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
        for kind in ("lora_A", "lora_B", "lora_magnitude_vector")
        if f".{kind}." in names[id(parameter)]
    }
    assert found == {("lora_A", 1e-3, 0.1), ("lora_B", 4e-3, 0.1), ("lora_magnitude_vector", 4e-3, 0.0)}
