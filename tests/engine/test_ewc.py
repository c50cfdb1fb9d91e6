"""The penalty through small matrices is that over all weights; the estimate is of what flows through each layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.domain.chat import Conversation, Message
from studio.domain.config import TrainConfig
from studio.domain.encoded import Encoded
from studio.domain.errors import StudioError
from studio.engine import trainee
from studio.engine.encode import Encoder
from studio.engine.ewc import Consolidation, Fisher, adapted_layers, estimate
from studio.engine.templates import resolve
from studio.engine.tokenizer import load_tokenizer
from studio.engine.trainee import Trainee
from tests.tiny import tiny_model

STRENGTH = 3.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[Encoded]:
    tokenizer = load_tokenizer(folder)
    said = [("What is it?", "A hat."), ("Who came?", "Nobody at all."), ("When?", "Now.")]
    conversations = [
        Conversation((Message("user", question), Message("assistant", answer)), row)
        for row, (question, answer) in enumerate(said, start=1)
    ]
    return Encoder(resolve("model", tokenizer), tokenizer).encode_many(conversations)


def adapted(folder: Path, **changes: Any) -> Trainee:
    fields = {
        "method": "lora",
        "learning_rate": 1e-3,
        "epochs": 1.0,
        "max_length": 256,
        "rank": 4,
        "alpha": 8.0,
    }
    config = TrainConfig(**{**fields, "dtype": "float32", "gradient_checkpointing": False, **changes})
    return trainee.build(folder, config, "cpu", pad_id=0)


def moved(made: Trainee, seed: int) -> None:
    """Give the adapter other weights."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters.values():
            parameter.normal_(0, 0.3)


def some_fisher(made: Trainee) -> dict[str, Fisher]:
    torch.manual_seed(9)
    return {
        name: Fisher(torch.rand(layer.in_features), torch.rand(layer.out_features))
        for name, layer in adapted_layers(made.model).items()
    }


def change(layer: Any) -> torch.Tensor:
    """What the adapter adds to the layer's weight, (out, in)."""
    product: torch.Tensor = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    return product * layer.scaling["default"]


@pytest.mark.parametrize("start", ["zero", "pissa", "earlier"])
@pytest.mark.parametrize("scale", [{}, {"rank_stabilized": True}])
def test_the_penalty_and_its_gradients_are_those_over_all_weights(
    folder: Path, start: str, scale: dict[str, Any]
) -> None:
    made = adapted(folder, adapter_start="pissa" if start == "pissa" else "zero", **scale)
    if start == "earlier":  # as in continual tuning, from an adapter that does something already
        moved(made, 1)
    layers, fisher = adapted_layers(made.model), some_fisher(made)
    before = {name: change(layer).detach() for name, layer in layers.items()}
    penalty = Consolidation(made.model, fisher, STRENGTH)
    moved(made, 2)
    weighted = [
        torch.outer(fisher[name].outputs, fisher[name].inputs) * (change(layer) - before[name]) ** 2
        for name, layer in layers.items()
    ]
    dense = torch.stack([part.sum() for part in weighted]).sum()
    wanted = torch.autograd.grad(STRENGTH / 2 * dense, [*made.parameters.values()])
    for parameter in made.parameters.values():
        parameter.grad = torch.ones_like(parameter)  # that of the loss is there already
    assert float(penalty.add_gradients()) == pytest.approx(float(STRENGTH / 2 * dense.detach()), rel=1e-5)
    for parameter, gradient in zip(made.parameters.values(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient + 1, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"packing": False}, {"gradient_checkpointing": True}])
def test_what_is_estimated_is_what_flows_through_each_layer(
    folder: Path, rows: list[Encoded], changes: dict[str, Any]
) -> None:
    made = adapted(folder, **changes)
    found = estimate(made.model, [loss_of(made, rows[:2]), loss_of(made, rows[2:])])

    plain = adapted(folder, packing=False)
    trained = sum(row.trained for row in rows)
    seen: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    hooks = [
        layer.register_forward_hook(
            lambda _, inputs, output, name=name: seen.setdefault(name, []).append((inputs[0], output))
        )
        for name, layer in adapted_layers(plain.model).items()
    ]
    loss = sum(plain.loss(plain.collate([row])) for row in rows)
    for hook in hooks:
        hook.remove()
    for name, passes in seen.items():
        gradients = torch.autograd.grad(loss, [output for _, output in passes], retain_graph=True)
        inputs = torch.cat([given.flatten(0, -2) for given, _ in passes])
        outputs = torch.cat([gradient.flatten(0, -2) for gradient in gradients])
        torch.testing.assert_close(
            found[name].outputs, outputs.square().sum(0) / trained, rtol=1e-4, atol=1e-8
        )
        if changes.get("packing", True):  # what stands in padding flows through a layer too
            torch.testing.assert_close(found[name].inputs, inputs.square().mean(0), rtol=1e-4, atol=1e-8)
    assert all(parameter.grad is None for parameter in made.parameters.values())


def loss_of(made: Trainee, rows: list[Encoded]) -> tuple[Callable[[], torch.Tensor], int]:
    batch = made.collate(rows)
    return lambda: made.loss(batch), batch.trained


def test_it_goes_on_from_a_file_as_it_was(folder: Path, tmp_path: Path) -> None:
    made = adapted(folder)
    moved(made, 1)
    Consolidation(made.model, some_fisher(made), STRENGTH).save(tmp_path / "ewc.safetensors")
    penalties = []
    for _ in range(2):
        again = adapted(folder)
        moved(again, 2)
        penalties.append(
            float(Consolidation.load(again.model, tmp_path / "ewc.safetensors", STRENGTH).add_gradients())
        )
    assert penalties[0] == penalties[1] > 0


def test_a_file_of_another_adapter_is_refused(folder: Path, tmp_path: Path) -> None:
    made = adapted(folder)
    Consolidation(made.model, some_fisher(made), STRENGTH).save(tmp_path / "ewc.safetensors")
    with pytest.raises(StudioError, match="does not fit"):
        Consolidation.load(
            adapted(folder, target_modules=["q_proj"]).model, tmp_path / "ewc.safetensors", STRENGTH
        )


def test_layers_that_nothing_passes_through_are_left_out(folder: Path, rows: list[Encoded]) -> None:
    made = adapted(folder)
    names = [*adapted_layers(made.model)]
    batch = made.collate(rows)

    def loss() -> torch.Tensor:
        half: torch.Tensor = made.base.model.layers[0](
            made.base.model.embed_tokens(batch.input_ids),
            position_embeddings=made.base.model.rotary_emb(
                torch.zeros(1, 1, 64), position_ids=batch.position_ids
            ),
            attention_mask=None,
        )
        return half.square().sum()

    found = estimate(made.model, [(loss, batch.trained)])
    assert set(found) == {name for name in names if ".layers.0." in name}
    made_of = Consolidation(made.model, found, STRENGTH)
    moved(made, 2)
    assert torch.isfinite(made_of.add_gradients())
