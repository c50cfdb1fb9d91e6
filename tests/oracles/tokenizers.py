"""Tokenizers built in a moment for a family's control tokens, from bytes to pieces that merge across borders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE

from tests.oracles.families import Family

Kind = Literal["bytes", "bpe", "first", "always", "prepend"]
KINDS: tuple[Kind, ...] = ("bytes", "bpe", "first", "always", "prepend")
"""The 256 bytes; a trained byte-level BPE; and as Llama 2 and Mistral do it, pieces in which `▁` stands for a space:
with one written before the text's beginning, before every part between control tokens, or by a normalizer."""
CORPUS = (
    "Hello.\n\nHow are you? I am fine.\n\n\n  indented:\n\n- one\n- two\n\n```python\nprint(1)\n```\n",
    "user assistant system tool model Human: Assistant: User: ### Instruction:\n\n### Response:\n\n",
    'You are a helpful assistant. The answer is: yes. No!\n{"name": "weather", "arguments": {"city": "Paris"}}\n',
    "Bonjour, ça va ? 你好，世界。 こんにちは。 Привет, мир! مرحبا بالعالم नमस्ते 🙂👩‍👩‍👧",
)


def save(folder: Path, family: Family, kind: Kind) -> Path:
    """Save such a tokenizer with the family's control tokens as a model folder does."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _build(kind)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in family.special]
    )
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in family.added])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        **_named(family),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(family.original, encoding="utf-8")
    return folder


def _named(family: Family) -> dict[str, str]:
    named = {"bos_token": family.bos, "eos_token": family.eos, "pad_token": "<|pad|>"}
    return {name: token for name, token in named.items() if token}


def _build(kind: Kind) -> Tokenizer:
    if kind == "bytes":
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        tokenizer = Tokenizer(BPE({letter: index for index, letter in enumerate(letters)}, []))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer
    if kind == "bpe":
        tokenizer = Tokenizer(BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        tokenizer.decoder = decoders.ByteLevel()
        return _train(tokenizer, pre_tokenizers.ByteLevel.alphabet())
    return _pieces(kind)


def _pieces(kind: Kind) -> Tokenizer:
    """As SentencePiece's: a character that is no piece becomes its bytes."""
    tokenizer = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if kind == "prepend":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=kind, split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _train(tokenizer, [], ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))])


def _train(tokenizer: Tokenizer, alphabet: Sequence[str], first: Sequence[str] = ()) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=list(alphabet),
        special_tokens=list(first),
    )
    tokenizer.train_from_iterator([text for text in CORPUS for _ in range(3)], trainer)
    trained = json.loads(tokenizer.to_str())
    return Tokenizer.from_str(json.dumps({**trained, "added_tokens": []}))  # bytes are pieces like any other
