"""Each fused operation against the model's own modules: forward and backward, in both number formats."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from studio.domain.config import TrainConfig
from studio.engine import adapters, attention, fused_layers, fused_lora, fused_norm
from studio.engine.models import target_modules
from tests.trainings import BASE

SIZES = {
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
}
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 4e-2}
FORMATS = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)


def made(name: str, dtype: torch.dtype = torch.float32, **settings: Any) -> Any:
    """The model with random norms and a LoRA whose B is not zero."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **SIZES, **settings)
    base = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").to(dtype)
    for parameter in base.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
        parameter.requires_grad_(False)
    return base


def with_adapter(base: Any, **settings: Any) -> Any:
    modules = target_modules(base)
    config = TrainConfig.model_validate({**BASE, "target_modules": modules, **settings})
    model = adapters.add(base, config)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.1 * torch.randn_like(parameter)
    return model


def far(one: torch.Tensor, other: torch.Tensor) -> float:
    """Their largest difference, over the largest of the second."""
    assert one.dtype == other.dtype
    one, other = one.detach().float(), other.detach().float()
    return float((one - other).abs().max() / other.abs().max())


def outcome(module: Any, x: torch.Tensor, weights: torch.Tensor) -> list[torch.Tensor]:
    """What comes out and the gradients at the input and at all that is trained."""
    x = x.clone().requires_grad_()
    out = module(x)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [out, *torch.autograd.grad((out.float() * weights).sum(), [x, *trained])]


@FORMATS
@pytest.mark.parametrize("name", ["llama", "qwen3", "mistral", "gemma", "olmo2"])
def test_norms(name: str, dtype: torch.dtype) -> None:
    base = made(name, dtype)
    norm = base.model.norm
    norm.weight.requires_grad_()
    x, weights = torch.randn(3, 7, 64).to(dtype), torch.randn(3, 7, 64)
    theirs = outcome(norm, x, weights)
    assert fused_norm.fuse(base) >= 5
    assert "forward" in vars(norm)
    for ours, wanted in zip(outcome(norm, x, weights), theirs, strict=True):
        assert far(ours, wanted) < TOLERANCE[dtype]


def test_a_norm_of_another_kind_is_left_alone() -> None:
    class OddRMSNorm(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.eps = torch.nn.Parameter(torch.ones(8)), 1e-6

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.weight

    assert fused_norm.fuse(torch.nn.Sequential(OddRMSNorm())) == 0


@FORMATS
@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "mistral", "gemma"])
@pytest.mark.parametrize("settings", [{}, {"target_modules": ["q_proj", "down_proj"]}], ids=["all", "some"])
def test_whole_models_with_an_adapter(name: str, settings: dict[str, Any], dtype: torch.dtype) -> None:
    """Their logits, and the gradients of everything that is trained."""
    model = with_adapter(made(name, dtype), **settings)
    ids, weights = torch.randint(97, (2, 9)), torch.randn(2, 9, 97)

    def outcome_of_all() -> list[torch.Tensor]:
        logits = model(input_ids=ids, use_cache=False).logits
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return [logits, *torch.autograd.grad((logits.float() * weights).sum(), trained)]

    theirs = outcome_of_all()
    fused_layers.fuse(model)
    layer = model.base_model.model.model.layers[0]
    assert ("forward" in vars(layer.self_attn)) == (name != "gemma")
    assert (getattr(layer.self_attn, "joined", None) is not None) == (name != "gemma" and not settings)
    assert ("forward" in vars(layer.mlp)) == (name != "gemma")
    for ours, wanted in zip(outcome_of_all(), theirs, strict=True):
        assert far(ours, wanted) < TOLERANCE[dtype] * (1 if dtype == torch.float32 else 3)


@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_whole_models_of_which_every_weight_is_trained(name: str) -> None:
    """Under autocast too, whose products are in another type than the rest."""
    base = made(name).requires_grad_(True)
    ids, weights = torch.randint(97, (2, 9)), torch.randn(2, 9, 97)

    def outcome_of_all(autocast: bool) -> list[torch.Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            logits = base(input_ids=ids, use_cache=False).logits
        return [logits, *torch.autograd.grad((logits.float() * weights).sum(), list(base.parameters()))]

    theirs = [outcome_of_all(autocast) for autocast in (False, True)]
    fused_layers.fuse(base)
    for autocast, tolerance in ((False, 2e-5), (True, 0.1)):
        for ours, wanted in zip(outcome_of_all(autocast), theirs[autocast], strict=True):
            assert far(ours, wanted) < tolerance


def test_it_generates_as_before() -> None:
    model = with_adapter(made("qwen3")).eval()
    ids = torch.randint(97, (1, 5))
    theirs = model.generate(input_ids=ids, max_new_tokens=8, do_sample=False)
    fused_layers.fuse(model)
    assert torch.equal(model.generate(input_ids=ids, max_new_tokens=8, do_sample=False), theirs)


def test_joined_layers_hold_their_weights_once_and_can_be_watched() -> None:
    model = with_adapter(made("llama"))
    attention_ = model.base_model.model.model.layers[0].self_attn
    layers = (attention_.q_proj, attention_.k_proj, attention_.v_proj)
    x = torch.randn(5, 64)
    apart = torch.cat([layer(x) for layer in layers], -1)
    joined = fused_lora.join(layers)
    assert joined is not None
    assert len({layer.get_base_layer().weight.untyped_storage().data_ptr() for layer in layers}) == 1
    torch.testing.assert_close(joined(x), apart)
    seen: list[int] = []
    hook = layers[1].register_forward_hook(lambda _, inputs, output: seen.append(output.shape[-1]))
    torch.testing.assert_close(joined(x), apart)
    hook.remove()
    assert seen == [32]
    assert fused_lora.join((attention_.q_proj, torch.nn.Linear(64, 8))) is None


def test_the_layer_after_a_gate_keeps_only_what_it_is_given_and_can_be_watched() -> None:
    layer = with_adapter(made("llama")).base_model.model.model.layers[0].mlp.down_proj
    gate, up = (torch.randn(1, 5, 96, requires_grad=True) for _ in range(2))
    trained = [gate, up, *(parameter for parameter in layer.parameters() if parameter.requires_grad)]
    theirs = layer(torch.nn.functional.silu(gate) * up)
    wanted = torch.autograd.grad(theirs.sum(), trained)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda one: kept.append(one.data_ptr()) or one, lambda one: one
    ):
        ours = fused_lora.gated(layer, gate, up)
    torch.testing.assert_close(ours, theirs)
    for found, one in zip(torch.autograd.grad(ours.sum(), trained), wanted, strict=True):
        torch.testing.assert_close(found, one)
    parameters = {parameter.data_ptr() for parameter in layer.parameters()}
    assert len(kept) == 6  # gate, up, W, A, B, and the product with A
    assert len({*kept} - parameters - {gate.data_ptr(), up.data_ptr()}) == 1
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    torch.testing.assert_close(fused_lora.gated(layer, gate, up), theirs)
    hook.remove()
    torch.testing.assert_close(seen[0], torch.nn.functional.silu(gate) * up)


attention.register()
