"""GGUF files: read by transformers as the tuned model, with the same ids; what llama.cpp would not know is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from studio.domain.chat import Message
from studio.domain.config import ExportConfig, Quantization
from studio.domain.errors import StudioError
from studio.engine.export import export
from studio.engine.export.gguf import vocabulary as vocabularies
from studio.engine.export.gguf.read import load_gguf
from studio.engine.export.gguf.vocabulary import CUTS, as_read, vocabulary_of
from studio.engine.export.gguf.write import file_name, gguf_bytes, write_gguf
from studio.engine.export.ollama import modelfile, translated
from studio.engine.export.verify import Distance, _Compared, _failures
from studio.engine.shipped_templates import SHIPPED
from studio.engine.templates import Template, resolve
from studio.engine.tokenizer import load_tokenizer
from studio.engine.tuned import TunedRun, load_pair
from tests.engine.test_export import FACTS, nothing
from tests.oracles import tokenizers as toys
from tests.oracles.families import Family
from tests.runs import LINEAR, ROWS, tuned_run
from tests.tiny import CHATML

TALK = [Message("user", "Which way is north,  and\n\nhow far is 12345 m? 北 🙂")]
SPECIAL = ("<unk>", "<s>", "<|im_start|>", "<|im_end|>")
CONTROL = Family("toy", CHATML, "<s>", "<|im_end|>", SPECIAL, (), False, False)
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
    "bos_token_id": 1,
    "eos_token_id": 3,
    "pad_token_id": 0,
}
LLAMA_3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
MODELS: dict[str, Callable[[int], PreTrainedConfig]] = {
    "llama": lambda size: LlamaConfig(vocab_size=size, **SIZES),
    "llama with biases": lambda size: LlamaConfig(vocab_size=size, attention_bias=True, **SIZES),
    "llama 3": lambda size: LlamaConfig(
        vocab_size=size, rope_parameters=LLAMA_3, tie_word_embeddings=True, **SIZES
    ),
    "mistral": lambda size: MistralConfig(vocab_size=size, sliding_window=None, **SIZES),
    "qwen2": lambda size: Qwen2Config(vocab_size=size, tie_word_embeddings=True, **SIZES),
    "qwen3": lambda size: Qwen3Config(vocab_size=size, head_dim=32, **SIZES),
    "gemma2": lambda size: Gemma2Config(
        vocab_size=size, head_dim=16, query_pre_attn_scalar=16, sliding_window=8, **SIZES
    ),
    "gemma3": lambda size: Gemma3TextConfig(
        vocab_size=size, head_dim=16, query_pre_attn_scalar=16, sliding_window=8, **SIZES
    ),
}


def toy_run(folder: Path, config: Callable[[int], PreTrainedConfig], kind: toys.Kind = "bpe") -> TunedRun:
    """A tiny model of a family with a tokenizer of some hundred merges, and an adapter on it."""
    base = toys.save(folder / "base", CONTROL, kind)
    tokenizer = load_tokenizer(base)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config(len(tokenizer.backend.get_vocab()) + 3))
    model.save_pretrained(base)
    tuned = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=LINEAR))
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    tuned.save_pretrained(str(folder / "adapter"))
    run = tuned_run(folder / "other")
    return replace(
        run,
        model_path=base,
        weights=folder / "adapter",
        tokenizer=tokenizer,
        template=resolve("model", tokenizer),
    )


def apart(run: TunedRun, model: Any) -> float:
    """Mean KL divergence, nats a token, of the live tuned model to another on the same talk."""
    ids = run.prompt(TALK)
    wanted, _ = load_pair(run, device="cpu").logits("tuned", ids, last=len(ids))
    with torch.no_grad():
        found = model(input_ids=torch.tensor([ids])).logits[0].float()
    p, q = wanted.log_softmax(-1), found.log_softmax(-1)
    return float((p.exp() * (p - q)).sum(-1).mean())


def written(run: TunedRun, folder: Path, quantization: Quantization = "f16") -> Path:
    write_gguf(run, folder, quantization, nothing)
    return folder / file_name(quantization)


# --- families ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_transformers_reads_the_file_as_the_tuned_model(tmp_path: Path, name: str) -> None:
    run = toy_run(tmp_path, MODELS[name])
    model, tokenizer = load_gguf(run, written(run, tmp_path), "cpu")
    assert apart(run, model) < 1e-4
    shown = [message.to_json() for message in TALK]
    assert tokenizer.apply_chat_template(shown, add_generation_prompt=True, return_dict=False) == run.prompt(
        TALK
    )
    assert model.generation_config.eos_token_id == run.stop_ids


def test_llama_3_s_scaled_positions_are_a_tensor_of_the_file(tmp_path: Path) -> None:
    run = toy_run(tmp_path, MODELS["llama 3"])
    reader = gguf.GGUFReader(written(run, tmp_path))
    factors = next(tensor for tensor in reader.tensors if tensor.name == "rope_freqs.weight").data
    # Wavelengths of 2 pi 10000^(i / 8): below 16 positions as they were, above 64 an eighth, between them in between.
    assert factors[:2].tolist() == [1.0, pytest.approx(1.294, abs=1e-3)]
    assert factors[3:].tolist() == [pytest.approx(8.0)] * 5
    assert "output.weight" not in {tensor.name for tensor in reader.tensors}  # the embedding's


def test_what_is_said_of_the_model(tmp_path: Path) -> None:
    run = toy_run(tmp_path, MODELS["gemma3"])
    reader = gguf.GGUFReader(written(run, tmp_path, "q4_0"))
    found = {name: field.contents() for name, field in reader.fields.items()}
    assert found["general.architecture"] == "gemma3"
    assert found["general.file_type"] == gguf.LlamaFileType.MOSTLY_Q4_0
    assert found["gemma3.attention.head_count"] == 4
    assert found["gemma3.attention.head_count_kv"] == 2
    assert found["gemma3.attention.key_length"] == 16
    assert found["gemma3.attention.sliding_window"] == 8
    assert found["gemma3.rope.freq_base"] == 1e6
    assert found["gemma3.rope.freq_base_swa"] == 1e4
    assert found["tokenizer.ggml.add_bos_token"] is False
    assert found["tokenizer.chat_template"] == CHATML
    assert found["tokenizer.ggml.tokens"][run.stop_ids[0]] == "<|im_end|>"
    assert found["tokenizer.ggml.eos_token_id"] == run.stop_ids[0]
    assert found["tokenizer.ggml.token_type"][-3:] == [gguf.TokenType.UNUSED] * 3


@pytest.mark.parametrize(
    ("quantization", "inner", "output"),
    [("f16", "F16", "F16"), ("q8_0", "Q8_0", "Q8_0"), ("q4_1", "Q4_1", "Q8_0"), ("q4_0", "Q4_0", "Q8_0")],
)
def test_each_precision_and_the_output_layer_s(
    tmp_path: Path, quantization: Quantization, inner: str, output: str
) -> None:
    run = toy_run(tmp_path, MODELS["qwen2"])
    file = written(run, tmp_path, quantization)
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(file).tensors}
    assert kinds["blk.0.attn_q.weight"] == inner
    assert kinds["blk.1.ffn_down.weight"] == inner
    assert kinds["token_embd.weight"] == output  # tied: it is the output layer too
    assert kinds["blk.0.attn_norm.weight"] == kinds["blk.0.attn_q.bias"] == "F32"
    assert file.stat().st_size < gguf_bytes(run, quantization)


def test_an_architecture_that_is_not_known_is_refused(tmp_path: Path) -> None:
    run = toy_run(tmp_path, lambda size: LlamaConfig(vocab_size=size, **SIZES))
    GPT2Config(vocab_size=9).save_pretrained(run.model_path)
    with pytest.raises(StudioError) as error:
        write_gguf(run, tmp_path, "f16", nothing)
    assert error.value.message == "A model of the architecture gpt2 cannot be written as GGUF here."
    assert "llama, mistral, qwen2, qwen3, gemma2, gemma3_text" in error.value.remedy


# --- vocabularies --------------------------------------------------------------------------------------------


def cut_tokenizer(folder: Path, cut: str) -> Path:
    """A byte-level tokenizer whose merges were learnt on what the expressions of `cut` leave together."""
    toys.save(folder, CONTROL, "bytes")
    tokenizer = Tokenizer(BPE(ignore_merges=cut == "llama-bpe"))
    parts = [pre_tokenizers.Split(Regex(expression), "isolated") for expression in CUTS[cut]]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*parts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(
        [*vocabularies.PROBES, "it's DON'T don't 123 1234\n\n/\n\n CamelCase"], trainer
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("cut", CUTS)
def test_how_text_is_cut_is_found_by_trying(tmp_path: Path, cut: str) -> None:
    tokenizer = load_tokenizer(cut_tokenizer(tmp_path, cut))
    assert vocabulary_of(tokenizer, len(tokenizer.backend.get_vocab())).cut == cut


@pytest.mark.parametrize("kind", ["first", "always", "prepend"])
def test_pieces_are_merged_by_score_as_by_order(tmp_path: Path, kind: toys.Kind) -> None:
    tokenizer = load_tokenizer(toys.save(tmp_path, CONTROL, kind))
    vocabulary = vocabulary_of(tokenizer, len(tokenizer.backend.get_vocab()))
    assert (vocabulary.model, vocabulary.space_first) == ("llama", kind != "first")
    backend = as_read(vocabulary)
    for text in (*vocabularies.PROBES, *toys.CORPUS):
        text = f"<|im_start|>{text}<|im_end|>and"
        wanted = tokenizer.encode([text])[0].ids
        assert backend.encode(text, add_special_tokens=False).ids == wanted


def test_a_cut_without_a_name_is_refused(tmp_path: Path) -> None:
    toys.save(tmp_path, CONTROL, "bpe")
    tokenizer = load_tokenizer(tmp_path)
    tokenizer.backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("e", "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    with pytest.raises(StudioError, match="has no name in GGUF that the studio knows"):
        vocabulary_of(tokenizer, 900)


# --- the whole export ----------------------------------------------------------------------------------------


def test_a_gguf_export_is_one_file_that_is_proven(tmp_path: Path) -> None:
    run = tuned_run(tmp_path)
    result = export(
        run, ExportConfig(to="gguf", quantization="q8_0"), tmp_path / "out", rows=ROWS, facts=FACTS
    )
    assert sorted(result.files) == [
        "Modelfile",
        "README.md",
        "model.Q8_0.gguf",
        "receipt.json",
        "verification.json",
    ]
    assert result.precision == "q8_0"
    assert result.verified.passed
    assert 0 < result.verified.mean_kl < 0.02 < result.verified.untuned_kl
    assert str(result.verified.note).startswith("llama.cpp itself was not asked")
    assert "llama-cli -m model.Q8_0.gguf" in (tmp_path / "out" / "README.md").read_text()


def test_a_file_that_lost_some_merges_fails_its_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = toy_run(tmp_path, MODELS["llama"])
    found = vocabularies.vocabulary_of
    monkeypatch.setattr(
        "studio.engine.export.gguf.write.vocabulary_of",
        lambda tokenizer, size: replace(found(tokenizer, size), merges=found(tokenizer, size).merges[:20]),
    )
    verified = export(run, ExportConfig(to="gguf"), tmp_path / "out", rows=ROWS[:2], facts=FACTS).verified
    assert [str(failure) for failure in verified.failures] == [
        "Its chat template does not give the token ids that the run was trained with."
    ]


def test_four_bits_that_undo_what_was_learnt_fail() -> None:
    undone = Distance(max_logit_difference=9.0, mean_kl=0.4, greedy_match=0.0)
    compared = _Compared(chat=undone, original=None, same_prompt_ids=True, same_end_tokens=True)
    assert [str(failure) for failure in _failures(compared, 1.0, 0.3, 8)] == [
        "The untuned model is as near to the live one: so few bits undo what the run has learnt."
    ]
    assert _failures(compared, 1.0, 0.5, 8) == []


# --- Ollama --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_templates_are_translated_for_ollama(tmp_path: Path, name: str) -> None:
    run = tuned_run(tmp_path)
    turns = translated(replace(run, template=resolve(name, run.tokenizer)))
    assert turns is not None


def test_a_modelfile_names_the_file_the_template_and_the_stop_tokens(tmp_path: Path) -> None:
    assert modelfile(tuned_run(tmp_path), "model.Q8_0.gguf").splitlines() == [
        "# ollama create run -f Modelfile",
        "FROM ./model.Q8_0.gguf",
        'TEMPLATE """{{ range .Messages }}'
        '{{ if eq .Role "system" }}{{ "<|im_start|>system\\n" }}{{ .Content }}{{ "<|im_end|>\\n" }}'
        '{{ else if eq .Role "user" }}{{ "<|im_start|>user\\n" }}{{ .Content }}{{ "<|im_end|>\\n" }}'
        '{{ else if eq .Role "assistant" }}{{ "<|im_start|>assistant\\n" }}{{ .Content }}{{ "<|im_end|>\\n" }}'
        '{{ end }}{{ end }}{{ "<|im_start|>assistant\\n" }}"""',
        'PARAMETER stop "<|im_end|>"',
    ]


def test_a_template_that_counts_its_turns_is_not_translated(tmp_path: Path) -> None:
    counts = CHATML.replace("message['content']", "loop.index ~ message['content']")
    text = modelfile(replace(tuned_run(tmp_path), template=Template("run", "Own", counts)), "model.F16.gguf")
    assert "TEMPLATE" not in text
    assert "# The run's chat template is not written here" in text
