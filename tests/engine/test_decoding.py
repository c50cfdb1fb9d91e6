"""Rows read together: each as if it were alone, and the base's rows as by a model without an adapter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, MistralConfig

from studio.domain.answer import Side
from studio.engine.decoding import Decoder, Row, is_exact
from studio.engine.models import load_base
from studio.engine.tuned import Pair, load_alone, load_pair
from tests.runs import tuned_run
from tests.tiny import tiny_model, tiny_tokenizer

PROMPTS = [
    [5 + (7 * place + start) % 250 for place in range(length)] for start, length in ((1, 9), (2, 30), (3, 17))
]


def written(pair: Pair, asked: Sequence[tuple[Side, list[int]]], tokens: int = 12) -> list[list[int]]:
    """The likeliest continuation of each prompt, all read together."""
    decoder, rows = Decoder(pair), [Row(side, list(prompt)) for side, prompt in asked]
    said: list[list[int]] = [[] for _ in rows]
    while any(len(ids) < tokens for ids in said):
        for ids, row, logits in zip(said, rows, decoder.advance(rows), strict=True):
            if logits is not None:
                ids.append(int(logits.argmax()))
                row.pending = [ids[-1]]
    return [ids[:tokens] for ids in said]


def first(pair: Pair, asked: Sequence[tuple[Side, list[int]]]) -> list[torch.Tensor]:
    decoder, rows = Decoder(pair), [Row(side, list(prompt)) for side, prompt in asked]
    found: dict[int, torch.Tensor] = {}
    while any(row.pending for row in rows):
        for place, logits in enumerate(decoder.advance(rows)):
            if logits is not None:
                found[place] = logits
    return [found[place] for place in range(len(rows))]


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return load_pair(tuned_run(tmp_path_factory.mktemp("run"), dtype=request.param), device="cpu")


def test_a_row_is_read_as_if_it_were_alone(pair: Pair) -> None:
    assert is_exact(pair, pair.sides["base"])
    asked: list[tuple[Side, list[int]]] = [(side, prompt) for prompt in PROMPTS for side in ("base", "tuned")]
    together = first(pair, asked)
    for one, logits in zip(asked, together, strict=True):
        assert torch.equal(first(pair, [one])[0], logits)
    assert written(pair, asked) == [written(pair, [one])[0] for one in asked]


def test_rows_of_the_base_are_read_by_a_model_without_an_adapter(tmp_path: Path) -> None:
    run = tuned_run(tmp_path)
    pair, alone = load_pair(run, device="cpu"), load_alone(run.model_path, "float32", device="cpu")
    mixed = first(pair, [("tuned", PROMPTS[0]), ("base", PROMPTS[1]), ("tuned", PROMPTS[2])])
    assert torch.equal(mixed[1], first(alone, [("base", PROMPTS[1])])[0])
    assert not torch.allclose(mixed[0], first(alone, [("base", PROMPTS[0])])[0])


def test_it_writes_what_the_models_own_attention_writes(tmp_path: Path) -> None:
    pair = load_pair(tuned_run(tmp_path), device="cpu")
    for side in pair.sides:
        for prompt, ids in zip(PROMPTS, written(pair, [(side, prompt) for prompt in PROMPTS]), strict=True):
            so_far, wanted = list(prompt), list[int]()
            for _ in ids:
                wanted.append(int(pair.logits(side, so_far)[0][-1].argmax()))
                so_far.append(wanted[-1])
            assert ids == wanted


def test_a_prompt_read_in_parts_beside_rows_that_write(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.engine.decoding.READ", 8)
    asked: list[tuple[Side, list[int]]] = [("tuned", PROMPTS[2]), ("base", PROMPTS[1]), ("tuned", PROMPTS[0])]
    assert written(pair, asked) == [written(pair, [one])[0] for one in asked]


def test_models_of_full_tuning_are_read_one_after_the_other(tmp_path: Path) -> None:
    pair = load_pair(tuned_run(tmp_path, "full"), device="cpu")
    assert len(pair.models) == 2
    asked: list[tuple[Side, list[int]]] = [("tuned", PROMPTS[0]), ("base", PROMPTS[0])]
    for (side, prompt), logits in zip(asked, first(pair, asked), strict=True):
        assert torch.allclose(logits, pair.logits(side, prompt)[0][-1], atol=1e-4)


def test_adapters_that_are_no_plain_product_are_read_by_stretches(tmp_path: Path) -> None:
    run = tuned_run(tmp_path)
    described = json.loads((run.weights / "adapter_config.json").read_text())
    (run.weights / "adapter_config.json").write_text(json.dumps({**described, "use_dora": True}))
    from safetensors.torch import load_file, save_file

    file = run.weights / "adapter_model.safetensors"
    state = load_file(file)
    base = load_base(run.model_path, dtype="float32", device="cpu", quantize=False)
    for name, weight in dict(base.named_parameters()).items():
        key = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{key}.lora_A.weight" in state:
            state[f"{key}.lora_magnitude_vector"] = 1.1 * weight.detach().norm(dim=1)
    save_file(state, file)
    pair = load_pair(run, device="cpu")
    asked: list[tuple[Side, list[int]]] = [("tuned", PROMPTS[0]), ("base", PROMPTS[1]), ("tuned", PROMPTS[2])]
    for (side, prompt), logits in zip(asked, first(pair, asked), strict=True):
        assert torch.allclose(logits, pair.logits(side, prompt)[0][-1], atol=1e-4)


def _alone(folder: Path, config: object) -> Pair:
    tiny_tokenizer(folder)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return load_alone(folder, "float32", device="cpu")


SHAPE = {
    "vocab_size": 259,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "initializer_range": 0.2,
}


def test_a_window_is_kept_also_beyond_it(tmp_path: Path) -> None:
    pair = _alone(tmp_path, MistralConfig(**SHAPE, sliding_window=8))
    assert is_exact(pair, pair.sides["base"])
    for prompt, ids in zip(PROMPTS, written(pair, [("base", prompt) for prompt in PROMPTS]), strict=True):
        so_far = list(prompt)
        for token in ids:
            assert int(pair.logits("base", so_far)[0][-1].argmax()) == token
            so_far.append(token)


def test_a_model_with_attention_of_its_own_is_asked_row_by_row(tmp_path: Path) -> None:
    pair = _alone(tmp_path, Gemma2Config(**SHAPE, attn_logit_softcapping=5.0))
    assert not is_exact(pair, pair.sides["base"])
    asked: list[tuple[Side, list[int]]] = [("base", prompt) for prompt in PROMPTS]
    assert written(pair, asked) == [written(pair, [one])[0] for one in asked]


def test_the_models_own_attention_is_back_afterwards(tmp_path: Path) -> None:
    pair = load_alone(tiny_model(tmp_path), "float32", device="cpu")
    first(pair, [("base", PROMPTS[0])])
    assert pair.sides["base"].config._attn_implementation == "sdpa"


def test_a_row_that_writes_is_the_same_alone_and_beside_a_prompt(pair: Pair) -> None:
    def next_logits(beside: Sequence[tuple[Side, list[int]]]) -> torch.Tensor:
        decoder, row = Decoder(pair), Row("tuned", list(PROMPTS[0]))
        while row.pending:
            decoder.advance([row])
        row.pending = [7]
        logits = decoder.advance([row, *(Row(side, list(prompt)) for side, prompt in beside)])[0]
        assert logits is not None
        return logits

    alone = next_logits([])
    for beside in ([("tuned", PROMPTS[1])], [("base", PROMPTS[2]), ("tuned", PROMPTS[1])], [("base", [9])]):
        assert torch.equal(next_logits(beside), alone)
