"""Masks against TRL's: wherever it ships a training template with generation markers, both train the same tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from studio.engine.encode import Encoder
from studio.engine.templates import SHIPPED, resolve
from tests.oracles.compare import encoder_of, prompts, with_markers, without_markers
from tests.oracles.conversations import ALL, TALKS
from tests.oracles.families import family, names, names_with_training
from tests.oracles.masks import Both
from tests.oracles.tokenizers import KINDS, Kind, save

PIECES = ("gemma", "gemma3", "llava_next", "phi3", "phi3_5", "qwen3", "smolvlm")
"""Families compared with tokenizers of the other kinds too."""
RESULTS = {title for title, talk in ALL.items() if any(message.role == "tool" for message in talk.messages)}
CALLS = {title for title, talk in ALL.items() if any(message.tool_calls for message in talk.messages)}
SYSTEM = {title for title, talk in ALL.items() if talk.messages[0].role == "system"}
MIDDLE = {"a system message in the middle"}
UNEVEN = {"two answers in a row", "two questions in a row", "the assistant begins", *RESULTS}
ALTERNATE = "Conversation roles must alternate user/assistant/user/assistant/..."
REFUSED = {
    "cohere": {ALTERNATE: UNEVEN | MIDDLE},
    "cohere2": {ALTERNATE: UNEVEN},
    "gemma": {"System role not supported": SYSTEM, ALTERNATE: UNEVEN | MIDDLE},
    "gemma3": {ALTERNATE: UNEVEN | MIDDLE},
    "llava_next": {"Only user and assistant roles are supported!": RESULTS},
    "qwen3_5_nothink": {"System message must be at the beginning.": MIDDLE},
    "qwen3_5_think": {"System message must be at the beginning.": MIDDLE},
    "qwen3_6": {"System message must be at the beginning.": MIDDLE},
    "qwen3_8": {"System message must be at the beginning.": MIDDLE},
}
"""All that TRL's training templates refuse to render, by their reason."""
WRITTEN_BY_THE_CHAT = {
    "deepseek_r1_distill": {"<｜Assistant｜>", "<｜Assistant｜><think>", "<｜tool▁outputs▁end｜>"},
    "deepseekv3": {"<｜Assistant｜>", "<｜Assistant｜><think>", "<｜tool▁outputs▁end｜>"},
    "gptoss": {"<|start|>assistant"},
    "muse_glimmer": {"<|start|>assistant"},
    "nemotron_3_5_lightning": {"<think>", "<think>\n"},
    "nemotron_3_nano": {"<think>", "<think>\n"},
    "nemotron_3_super": {"<think>", "<think>\n"},
    "nemotron_3_ultra": {"<think>", "<think>\n"},
    "qwen2_5": {"\n"},
    "qwen3_5_nothink": {"<think>\n", "<think>\n\n</think>\n\n"},
    "qwen3_5_think": {"<think>\n"},
    "qwen3_6": {"<think>\n"},
    "qwen3_8": {"<think>\n"},
}
"""What TRL trains and the studio does not: the end of the prompt, which a model never has to write."""
AFTER_THE_END = {
    "glm4moe": {"<|system|>"},
    "phi3": {"\n<|endoftext|>"},
    "phi3_5": {"\n<|endoftext|>"},
}
"""What TRL trains after the token at which a model stops, or where it cannot; white space there is everywhere."""
NOT_WRITTEN_BY_THE_CHAT = {"diffusion_gemma": {"<|tool_response>", "<|turn>model\n"}}
"""What the studio trains and TRL does not: the token at which a model stops to wait for a tool, and what it opens its
turn with after the tool's result, where a chat's prompt says nothing."""
OTHER_TEXT = {
    "deepseek_r1_distill": 2,  # the original drops what stands before </think>, and TRL's does not
    "glm4moe": 1,  # it ends an answer with <|user|> before another one too
    "qwen3": 39,  # the original drops earlier reasoning and its tags, and TRL's writes the tags always
    "qwen3_5_nothink": 32,
    "qwen3_5_think": 32,
    "qwen3_6": 32,
}
"""Conversations for which a family's training template writes another text than the original."""

Made = Callable[[str, Kind], Both]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("tokenizers")
    return lambda name, kind: Both(save(folder / f"{name}-{kind}", family(name), kind))


def test_there_are_the_families_that_trl_documents() -> None:
    assert len(names_with_training()) == 31


@pytest.mark.parametrize("name", names_with_training())
def test_with_trls_training_template_masks_equal_its_own(name: str, made: Made) -> None:
    for kind in KINDS if name in PIECES else KINDS[:2]:
        found = with_markers(family(name), made(name, kind))
        assert (kind, found.failures) == (kind, [])
        assert dict(found.refused) == REFUSED.get(name, {})
        assert found.silent <= CALLS
        assert found.equal + len(found.silent) == len(ALL) - sum(map(len, REFUSED.get(name, {}).values()))


@pytest.mark.parametrize("name", names_with_training())
def test_with_the_original_template_the_same_is_trained_but_for_the_prompts_end(
    name: str, made: Made
) -> None:
    known = WRITTEN_BY_THE_CHAT.get(name, set()) | AFTER_THE_END.get(name, set())
    for kind in KINDS[:2]:
        found = without_markers(family(name), made(name, kind))
        assert (kind, found.failures) == (kind, [])
        assert found.not_ours == known
        assert found.only_ours == NOT_WRITTEN_BY_THE_CHAT.get(name, set())
        assert len(found.other_text) == OTHER_TEXT.get(name, 0)
        assert found.equal >= 16


@pytest.mark.parametrize("name", names())
def test_a_turn_follows_the_tokens_of_a_chats_prompt_or_the_row_says_so(name: str, made: Made) -> None:
    for kind in KINDS[:2]:
        found = prompts(encoder_of(family(name).original, made(name, kind)))
        assert (kind, found.failures) == (kind, [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SHIPPED)
def test_with_a_shipped_template_turns_follow_the_tokens_of_a_chats_prompt(
    name: str, kind: Kind, made: Made
) -> None:
    tokenizer = made("llava_next", kind).ours
    found = prompts(Encoder(resolve(name, tokenizer), tokenizer))
    assert found.failures == []
    assert not found.other_text & set(TALKS)


@pytest.mark.parametrize("name", names())
def test_many_rows_at_once_are_as_one_by_one(name: str, made: Made) -> None:
    for kind in KINDS[:2]:
        encoder = encoder_of(family(name).original, made(name, kind))
        assert encoder.encode_many([*ALL.values()]) == [
            replace(encoder.encode(row), text="", spans=()) for row in ALL.values()
        ]
