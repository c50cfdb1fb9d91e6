from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from studio.domain.chat import Conversation, Message
from studio.domain.config import TemplateConfig
from studio.domain.errors import Stopped
from studio.engine.difficulty import Difficulty, about_difficulty, difficulties
from studio.engine.encode import Encoder, encoder_for
from studio.engine.token_losses import token_losses
from studio.engine.tokenizer import load_tokenizer
from studio.engine.tuned import Pair, load_alone
from tests.engine.test_self_written import KNOWN, row, taught
from tests.tiny import tiny_model

TRUE = [replace(row(*pair), row=number) for number, pair in enumerate(KNOWN.items(), start=1)]
SHUFFLED = [
    replace(item, messages=(item.messages[0], TRUE[number % len(TRUE)].messages[1]))
    for number, item in enumerate(TRUE, start=1)
]
"""Each prompt with the response to the next one."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Encoder]:
    """A model that has learnt which response belongs to which prompt."""
    folder: Path = taught(tiny_model(tmp_path_factory.mktemp("model"), initializer_range=0.02))
    encoder = encoder_for(TemplateConfig(), load_tokenizer(folder))
    return load_alone(folder, "float32", device="cpu"), encoder


def test_responses_that_were_shuffled_among_prompts_score_higher(model: tuple[Pair, Encoder]) -> None:
    true = [item.ratio for item in difficulties(*model, TRUE)]
    shuffled = [item.ratio for item in difficulties(*model, SHUFFLED)]
    auc = sum(high > low for high in shuffled for low in true) / (len(true) * len(shuffled))
    print(f"AUC {auc:.3f}; true {max(true):.3f} at most, shuffled {min(shuffled):.3f} at least")
    assert auc == 1.0
    assert max(true) < 1


def test_the_losses_are_those_of_each_row_alone(model: tuple[Pair, Encoder]) -> None:
    pair, encoder = model
    found = difficulties(pair, encoder, TRUE)
    for item, conversation in zip(found, TRUE, strict=True):
        encoded = encoder.encode(conversation)
        losses = [
            loss for loss in token_losses(pair, encoded.input_ids, encoded.labels)["base"] if loss is not None
        ]
        assert item.row == conversation.row
        assert item.given_prompt == pytest.approx(sum(losses) / len(losses), rel=1e-3, abs=1e-5)


def test_a_row_without_a_last_response_is_not_measured(model: tuple[Pair, Encoder]) -> None:
    asked = Conversation((Message("user", "Why?"),), 1)
    assert difficulties(*model, [asked]) == []


def test_measuring_ends_when_it_is_told_to(model: tuple[Pair, Encoder]) -> None:
    def stop(done: float, total: float) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        difficulties(*model, TRUE, stop)


def test_a_prompt_that_does_not_help_is_a_finding_with_its_rows() -> None:
    found = about_difficulty([Difficulty(1, 1.0, 2.0), Difficulty(2, 2.5, 2.0)], "starter")
    assert [(item.check, item.dimension, item.rows) for item in found] == [
        ("prompt_does_not_help", "relevance", (2,))
    ]
    assert about_difficulty([Difficulty(1, 1.0, 2.0)], "starter") == []
