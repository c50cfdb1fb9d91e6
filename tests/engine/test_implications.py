from __future__ import annotations

import pytest

from studio.engine.implications import Marker, explained, implications
from studio.engine.shipped_templates import SHIPPED
from studio.engine.tokenizer import Tokenizer, load_tokenizer
from tests.oracles import families
from tests.oracles.tokenizers import save


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    return {
        name: load_tokenizer(save(tmp_path_factory.mktemp(name), families.family(name), "bytes"))
        for name in ("gemma", "llama3", "llava_next", "phi3", "qwen3")
    }


def test_a_models_own_tokens_are_told_from_plain_text(tokenizers: dict[str, Tokenizer]) -> None:
    markers = implications("qwen3", tokenizers["qwen3"]).markers
    assert Marker("<|im_start|>", 1, special=True) in markers
    assert Marker("<think>", 1, special=False) in markers
    assert Marker("<tools>", 7, special=False) in markers
    assert Marker("<|im_start|>", 12, special=False) in implications("qwen3", tokenizers["llama3"]).markers


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_template_teaches_a_base_model_to_stop(
    name: str, tokenizers: dict[str, Tokenizer]
) -> None:
    for family, end in (("qwen3", "<|im_end|>"), ("llama3", "<|eot_id|>"), ("llava_next", "</s>")):
        assert implications(name, tokenizers[family]).ends == (end,)


def test_what_a_row_may_hold_is_found_by_trying(tokenizers: dict[str, Tokenizer]) -> None:
    def found(name: str, family: str) -> tuple[str, str, str, str, bool]:
        at = implications(name, tokenizers[family])
        return (at.system, at.tools, at.tool_calls, at.reasoning, at.alternation)

    assert found("chatml", "llama3") == ("written", "written", "written", "written", False)
    assert found("gemma", "gemma") == ("folded", "refused", "refused", "written", True)
    assert found("qwen3_no_thinking", "qwen3") == ("written", "written", "written", "refused", False)
    assert found("model", "qwen3") == ("written", "written", "written", "last", False)
    assert found("model", "gemma") == ("refused", "ignored", "refused", "ignored", True)
    assert found("model", "phi3") == ("written", "ignored", "ignored", "ignored", False)


def test_what_opens_the_models_turn_is_found(tokenizers: dict[str, Tokenizer]) -> None:
    found = implications("qwen3_no_thinking", tokenizers["qwen3"])
    assert (found.opening, found.opens) == ("<|im_start|>assistant\n<think>\n\n</think>\n\n", True)
    silent = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    found = implications("custom", tokenizers["qwen3"], silent)
    assert (found.opening, found.opens) == ("<|im_start|>assistant\n", False)


def test_the_sentences_say_what_is_unusual(tokenizers: dict[str, Tokenizer]) -> None:
    assert [str(text) for text in explained(implications("gemma", tokenizers["llava_next"]))] == [
        "Plain text to this model, which has to learn what it means: <start_of_turn> (15).",
        "No token is added to the vocabulary, so no new embedding has to be trained.",
        "A turn ends with </s>, which the model learns to write.",
        "A system message is written into the first user message.",
        "It refuses tools: rows that offer some are left out.",
        "User and assistant must take turns: the studio joins messages of one role and names the rows.",
    ]
    silent = implications(
        "custom", tokenizers["qwen3"], "{% for m in messages %}{{ m.content }} {% endfor %}"
    )
    assert "No control token ends a turn: the model would not learn to stop." in map(str, explained(silent))


def test_generation_marks_are_seen(tokenizers: dict[str, Tokenizer]) -> None:
    training = families.family("qwen3").training
    assert implications("custom", tokenizers["qwen3"], training).generation_marks
    assert not implications("model", tokenizers["qwen3"]).generation_marks
