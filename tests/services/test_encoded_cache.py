from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from studio.domain import chat
from studio.domain.chat import Conversation, Message
from studio.domain.config import TemplateConfig
from studio.engine import rendering
from studio.engine.encode import Encoder, encoder_for, fingerprint
from studio.engine.templates import Template
from studio.engine.tokenizer import Tokenizer, load_tokenizer
from studio.services import encoded_cache
from studio.services.encoded_cache import EncodedCache, content_key
from tests.tiny import tiny_tokenizer

ROWS = [
    Conversation((Message("user", f"Question {n}?"), Message("assistant", f"Answer <|im_end|> {n}.")), n + 1)
    for n in range(30)
] + [Conversation((Message("user", "Unanswered"),), 31)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return load_tokenizer(tiny_tokenizer(tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture
def encoder(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> Encoder:
    monkeypatch.setattr(encoded_cache, "_WORTHWHILE", 1)
    return encoder_for(TemplateConfig(), tokenizer)


def test_what_is_read_back_is_what_was_encoded(encoder: Encoder, tmp_path: Path) -> None:
    cache = EncodedCache(tmp_path)
    first, second = cache.encode(encoder, ROWS), cache.encode(encoder, ROWS)
    assert len(list(tmp_path.iterdir())) == 1
    assert [replace(row, text="") for row in first] == second
    assert fingerprint(first) == fingerprint(second)
    assert "special_text" in second[0].hazards
    assert "nothing_trained" in second[-1].hazards


def test_a_damaged_file_is_encoded_anew(encoder: Encoder, tmp_path: Path) -> None:
    cache = EncodedCache(tmp_path)
    first = cache.encode(encoder, ROWS)
    (file,) = tmp_path.iterdir()
    for damage in (b"", file.read_bytes()[:-9], b"x" * 400):
        file.write_bytes(damage)
        assert fingerprint(cache.encode(encoder, ROWS)) == fingerprint(first)


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("strftime_now('%d %b %Y')", True),
        ("'x' if strftime_now is defined", True),
        ("strftime_now(form)", False),
        ("now('%d')", False),
    ],
)
def test_only_texts_that_are_the_same_tomorrow_are_kept(
    asked: str, kept: bool, tokenizer: Tokenizer, encoder: Encoder, tmp_path: Path
) -> None:
    """A resolved template has the date of its day written into it, but where the form is worked out."""
    named = "{% set now = strftime_now %}" if asked.startswith("now") else ""
    source = (
        f"{named}{{% set form = '%d' %}}{{{{ {asked} }}}}{{{{ messages | map(attribute='content') | join }}}}"
    )
    dated = encoder_for(TemplateConfig(name="custom", source=source), tokenizer)
    EncodedCache(tmp_path).encode(dated, ROWS)
    assert bool(list(tmp_path.iterdir())) == kept


def test_all_that_the_ids_depend_on_is_in_the_key(encoder: Encoder, tokenizer: Tokenizer) -> None:
    keys = [content_key(encoder, rows) for rows in (ROWS, ROWS[1:], [replace(ROWS[0], row=9), *ROWS[1:]])]
    keys += [
        content_key(encoder_for(config, tokenizer), ROWS)
        for config in (
            TemplateConfig(name="alpaca"),
            TemplateConfig(turns="last"),
            TemplateConfig(prompts=True),
            TemplateConfig(reasoning=False),
        )
    ]
    assert len(set(keys)) == len(keys)
    assert content_key(encoder_for(TemplateConfig(name="model"), tokenizer), ROWS) == keys[0]


def test_the_template_of_plain_texts_is_in_the_key_where_there_are_such(tokenizer: Tokenizer) -> None:
    texts = [Conversation((Message("assistant", "Once."),), 1, plain=True)]
    ours, other = (encoder_for(TemplateConfig(), tokenizer) for _ in range(2))
    other.texts = Encoder(Template("plain", "Plain", "{{ messages[0].content }}"), tokenizer)
    assert content_key(ours, texts) != content_key(other, texts)
    assert content_key(ours, ROWS) == content_key(other, ROWS)


def test_all_code_that_makes_ids_is_in_the_key() -> None:
    assert {Path(module.__file__ or "") for module in (chat, rendering)} <= {*encoded_cache._code_files()}


def test_the_folder_keeps_the_latest_files(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoded_cache, "_KEPT", 2)
    cache = EncodedCache(tmp_path)
    for number in range(1, 5):
        cache.encode(encoder, ROWS[:number])
    assert len(list(tmp_path.iterdir())) == 2
