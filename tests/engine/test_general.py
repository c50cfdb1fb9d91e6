"""Which general rows a run is gauged on: those that are never learnt, in the languages that its own rows are in."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.domain.chat import Conversation, Message
from studio.domain.config import RunConfig, TrainConfig, parse_config
from studio.domain.errors import StudioError
from studio.engine import general
from studio.engine.dataset import general_candidates
from studio.engine.encode import Encoder
from studio.engine.mixing import SHIPPED
from studio.engine.templates import resolve
from studio.engine.tokenizer import load_tokenizer
from tests.tiny import tiny_tokenizer

ENGLISH = [Conversation((Message("user", "Where?"), Message("assistant", "Here.")), 1)]
CHINESE = [Conversation((Message("user", "在哪里？"), Message("assistant", "在这里。")), 1)]
GAUGE = {row.conversation.row: row for row in general_candidates(SHIPPED)[0] if row.gauge}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    tokenizer = load_tokenizer(tiny_tokenizer(tmp_path_factory.mktemp("tokenizer")))
    return Encoder(resolve("auto", tokenizer), tokenizer)


def config(tmp_path: Path, **values: object) -> RunConfig:
    return parse_config({"data": {"path": str(tmp_path / "rows.jsonl")}}).with_values(values)


def test_rows_of_the_gauge_are_measured_on_and_others_held_on_to(encoder: Encoder, tmp_path: Path) -> None:
    chosen = config(tmp_path, **{"train.ewc": 1.0, "evaluate.general_rows": 5})
    found = general.general_rows(chosen, encoder, ENGLISH, 2000)
    assert len(found.gauged) == len(found.prompts) == 5
    assert {row.row for row in found.gauged} <= set(GAUGE)
    assert len(found.known) == general.KNOWN
    assert not {row.row for row in found.known} & set(GAUGE)
    for row, prompt in zip(found.gauged, found.prompts, strict=True):
        assert list(row.input_ids[: len(prompt)]) == list(prompt)


@pytest.mark.parametrize(("rows", "languages"), [(ENGLISH, {"en"}), (CHINESE, {"en", "zh"})])
def test_they_are_in_the_languages_of_ones_own_rows(
    encoder: Encoder, tmp_path: Path, rows: list[Conversation], languages: set[str]
) -> None:
    found = general.general_rows(config(tmp_path, **{"evaluate.general_rows": 40}), encoder, rows, 2000)
    assert {GAUGE[row.row].language for row in found.gauged} == languages


def test_none_is_longer_than_the_run_reads_and_none_is_taken_where_none_is_asked_for(
    encoder: Encoder, tmp_path: Path
) -> None:
    short = general.general_rows(config(tmp_path), encoder, ENGLISH, 300)
    assert short.gauged
    assert max(row.total for row in short.gauged) <= 300
    nothing = general.general_rows(config(tmp_path, **{"evaluate.general_rows": 0}), encoder, ENGLISH, 2000)
    assert (len(nothing.gauged), len(nothing.known)) == (0, 0)


def test_dora_and_holding_on_are_refused_together() -> None:
    general.check(TrainConfig(dora=True))
    with pytest.raises(StudioError, match="do not go together"):
        general.check(TrainConfig(dora=True, ewc=1.0))
