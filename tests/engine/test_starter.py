"""The starter model: whatever GGUF comes in, plain transformers must read the same model out."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path

import gguf
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from studio.domain.errors import StudioError
from studio.engine import starter
from studio.engine.starter import check, convert, is_prepared, prepare_starter
from studio.engine.wheel import Wheel

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["Ġ Ġ", "Ċ Ċ", "1 2", "h i"]
TOKENS = [*CONTROL, *sorted(ByteLevel.alphabet()), "ĠĠ", "ĊĊ", "12", "hi"]
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"


def no_progress(phase: str, done: float, total: float) -> None:
    pass


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16).eval()
    with torch.no_grad():  # every hidden state points the way of <|im_end|>, so that each answer ends at once
        model.model.embed_tokens.weight.add_(0.5)[2] = 5.0
    return model


@pytest.fixture
def gguf_file(model: LlamaForCausalLM, tmp_path: Path) -> Path:
    """`model` as llama.cpp writes it: its names, and each head's rotated halves interleaved."""
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(256)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(100000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * len(CONTROL) + [1] * (len(TOKENS) - len(CONTROL)))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    theirs = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
    }
    for layer in range(2):
        for ours, name in starter.LAYER_WEIGHTS.items():
            theirs[f"model.layers.{layer}.{ours}.weight"] = f"blk.{layer}.{name}.weight"
    weights = model.state_dict()
    for ours, name in theirs.items():
        values = weights[ours].float()
        heads = {"attn_q": 4, "attn_k": 2}.get(name.split(".")[-2])
        if heads:
            values = values.reshape(heads, 2, -1, 64).swapaxes(1, 2).reshape(values.shape)
        writer.add_tensor(name, values.numpy().copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def converted(gguf_file: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "converted"
    folder.mkdir()
    convert(gguf_file, folder, no_progress)
    return folder


def test_the_converted_model_gives_the_same_logits(converted: Path, model: LlamaForCausalLM) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(converted, dtype=torch.bfloat16)
    ids = torch.tensor([[5, 9, 77, 3, 12, 200]])
    with torch.inference_mode():
        assert torch.equal(loaded(ids).logits, model(ids).logits)


def test_the_tied_output_layer_is_not_saved_twice(converted: Path) -> None:
    from safetensors.torch import load_file

    weights = load_file(converted / "model.safetensors")
    assert "lm_head.weight" not in weights
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    loaded = AutoModelForCausalLM.from_pretrained(converted, dtype=torch.bfloat16)
    assert loaded.lm_head.weight.data_ptr() == loaded.model.embed_tokens.weight.data_ptr()


def test_a_turn_ends_with_a_token_that_is_not_the_padding(converted: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(converted)
    generation = json.loads((converted / "generation_config.json").read_text())
    assert (tokenizer.eos_token, tokenizer.eos_token_id, generation["eos_token_id"]) == ("<|im_end|>", 2, 2)
    assert (tokenizer.pad_token, tokenizer.pad_token_id, generation["pad_token_id"]) == (
        "<|endoftext|>",
        0,
        0,
    )
    assert tokenizer.model_max_length == 256
    assert tokenizer.chat_template == TEMPLATE


def test_digits_are_split_one_by_one_before_anything_else(converted: Path) -> None:
    plain = Tokenizer.from_file(str(converted / "tokenizer.json"))
    # The two spaces and the two newlines stay whole because the digit after them is its own piece.
    assert plain.encode("hi  12\n\n1").tokens == ["hi", "ĠĠ", "1", "2", "ĊĊ", "1"]


@pytest.mark.parametrize("text", ["hi  12\n\n1", "Größe 北京 🙂 x²", "<|im_start|>hi<|im_end|>\n", "  ", ""])
def test_transformers_and_the_bare_tokenizer_agree(converted: Path, text: str) -> None:
    plain = Tokenizer.from_file(str(converted / "tokenizer.json"))
    tokenizer = AutoTokenizer.from_pretrained(converted)
    assert tokenizer.encode(text) == plain.encode(text).ids
    assert plain.decode(plain.encode(text).ids, skip_special_tokens=False) == text


def test_a_model_that_answers_wrongly_is_refused(converted: Path) -> None:
    with pytest.raises(StudioError, match="does not answer a simple question"):
        check(converted, no_progress)


@pytest.fixture
def wheel(gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with a random model in it, passed off as the pinned one."""
    path = tmp_path / "tiny.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(gguf_file, starter.GGUF_MEMBER)
        archive.writestr(starter.LICENSE_MEMBER, "Apache License 2.0")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(starter, "WHEEL", Wheel("tiny", "1.0", path.name, sha256))
    monkeypatch.setenv("STUDIO_STARTER_WHEEL", str(path))
    return path


def test_a_conversion_that_fails_leaves_nothing_that_looks_whole(wheel: Path, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="came out wrong"):
        prepare_starter(tmp_path / "models", no_progress)
    assert not is_prepared(tmp_path / "models")
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".starter.lock"]


def test_a_killed_conversion_and_a_damaged_model_are_replaced(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    (models / ".starter-killed").mkdir(parents=True)
    (models / "starter").mkdir()
    (models / "starter" / "config.json").write_text("{}")
    monkeypatch.setattr(starter, "ANSWER", "<|im_end|>")  # this model knows no capital
    seen: list[tuple[str, float, float]] = []

    folder = prepare_starter(models, lambda *step: seen.append(step))

    assert folder == models / "starter"
    assert sorted(path.name for path in models.iterdir()) == [".starter.lock", "starter"]
    assert [step for step in seen if step[1] == step[2]] == [
        ("unpack", 1.0, 1.0),
        ("convert", 20.0, 20.0),
        ("check", 2.0, 2.0),
    ]
    marker = json.loads((folder / "studio-model.json").read_text())
    assert (marker["licence"], marker["sha256"]) == ("Apache-2.0", starter.WHEEL.sha256)
    assert marker["parameters"] == sum(
        weight.numel() for weight in AutoModelForCausalLM.from_pretrained(folder).parameters()
    )

    seen.clear()
    prepare_starter(models, lambda *step: seen.append(step))
    assert seen == []  # whole: nothing to do

    (folder / "model.safetensors").write_bytes(b"cut")
    assert not is_prepared(models)


def test_a_wheel_that_is_not_the_pinned_one_is_refused(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.whl"
    other.write_bytes(b"something else")
    monkeypatch.setenv("STUDIO_STARTER_WHEEL", str(other))
    with pytest.raises(StudioError, match="is not the expected file: its SHA-256 is"):
        prepare_starter(tmp_path / "models", no_progress)
    monkeypatch.setenv("STUDIO_STARTER_WHEEL", str(tmp_path / "none.whl"))
    with pytest.raises(StudioError, match=r"There is no file .*none.whl, which STUDIO_STARTER_WHEEL names"):
        prepare_starter(tmp_path / "models", no_progress)


def test_the_real_starter_model_is_whole_and_answers() -> None:
    models = Path(os.environ.get("STUDIO_HOME", Path.home() / ".studio")).expanduser() / "models"
    if not is_prepared(models):
        pytest.skip("the starter model is not prepared on this machine: run `studio models get starter`")
    marker = json.loads((models / "starter" / "studio-model.json").read_text())
    assert marker["parameters"] == 134_515_008
    check(models / "starter", no_progress)
