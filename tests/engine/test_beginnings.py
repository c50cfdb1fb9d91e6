"""Texts that begin alike have the ids that the tokenizer alone gives them, whatever its special tokens are like."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from studio.engine.beginnings import Beginnings
from tests.oracles.families import family
from tests.oracles.tokenizers import KINDS, Kind, save

SPECIAL = ("<|a|>", "<|b|>", "</s>")
WORDS = (
    "a",
    "Hi",
    " there",
    " ",
    "  ",
    "\n",
    "\n\n",
    "<",
    "|>",
    "<|a|",
    "|a|>",
    "x<|a",
    "hi<|a|>",
    "|><|",
    "你好",
    "🙂",
    "é",
    "</s",
    ".",
)
ODD = {
    "plain": [],
    "takes white space": [AddedToken("<|b|>", special=True, lstrip=True, rstrip=True)],
    "lies over": [AddedToken("x<|a", normalized=False), AddedToken("|><|", normalized=False)],
    "by normalized text": [AddedToken("hi<", special=False, normalized=True)],
    "words alone": [AddedToken("<|a|>", special=True, single_word=True)],
}


def backend(folder: Path, kind: Kind, odd: str) -> Backend:
    save(folder, family("qwen3"), kind)
    made = Backend.from_file(str(folder / "tokenizer.json"))
    made.add_special_tokens([token for token in ODD[odd] if token.special])
    made.add_tokens([token for token in ODD[odd] if not token.special])
    others = {token.content for token in ODD[odd]}
    made.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIAL if token not in others]
    )
    return made


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("kind", KINDS)
def test_texts_that_begin_alike_have_the_ids_of_the_tokenizer_alone(
    kind: Kind, odd: str, tmp_path: Path
) -> None:
    tokenizer, chance = backend(tmp_path, kind, odd), random.Random(f"{kind} {odd}")
    beginnings = Beginnings(tokenizer, SPECIAL)
    for _ in range(200):
        lead = "".join(chance.choices((*SPECIAL, *WORDS), k=chance.randrange(9)))
        texts = [lead + "".join(chance.choices((*SPECIAL, *WORDS), k=chance.randrange(9))) for _ in range(3)]
        wanted = [found.ids for found in tokenizer.encode_batch(texts, add_special_tokens=False)]
        assert beginnings.ids(texts) == wanted, texts


def test_a_text_alone_and_none_at_all_are_encoded_too(tmp_path: Path) -> None:
    tokenizer = backend(tmp_path, "bpe", "plain")
    beginnings = Beginnings(tokenizer, SPECIAL)
    assert beginnings.ids([]) == []
    assert beginnings.ids(["Hi<|a|>"]) == [tokenizer.encode("Hi<|a|>", add_special_tokens=False).ids]
