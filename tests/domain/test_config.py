from __future__ import annotations

import pytest

from studio.domain.config import SECTIONS, RunConfig, merge, parse_config, settings
from studio.domain.errors import StudioError

MINIMAL = {"model": {"id": "starter"}, "data": {"path": "rows.jsonl"}}


def problem(data: object) -> str:
    with pytest.raises(StudioError) as caught:
        parse_config(data, source="run.yaml")
    return str(caught.value)


def test_two_lines_are_a_configuration() -> None:
    config = parse_config(MINIMAL)
    assert (config.model.id, config.train.method, config.train.learning_rate) == ("starter", "auto", None)


def test_an_unknown_key_is_answered_with_the_nearest_known_one() -> None:
    wrong = {**MINIMAL, "train": {"learnig_rate": 1e-4}}
    assert (
        problem(wrong)
        == "run.yaml: there is no setting train.learnig_rate. Did you mean train.learning_rate?"
    )


def test_an_unknown_section_is_answered_with_the_nearest_known_one() -> None:
    assert problem({**MINIMAL, "trian": {}}).endswith("Did you mean train?")


@pytest.mark.parametrize("value", ["abc", -5, 0, 7])
def test_a_learning_rate_that_is_none_is_quoted_with_what_it_should_be(value: object) -> None:
    message = problem({**MINIMAL, "train": {"learning_rate": value}})
    assert message.startswith(f"run.yaml: train.learning_rate is {value!r}, but it should be")


def test_a_number_as_yaml_leaves_it_is_understood() -> None:
    assert parse_config({**MINIMAL, "train": {"learning_rate": "1e-4"}}).train.learning_rate == 1e-4


def test_a_configuration_survives_being_written_and_read() -> None:
    config = parse_config({**MINIMAL, "train": {"rank": 8}})
    assert parse_config(config.model_dump(mode="json")) == config


def test_dotted_values_replace_single_settings() -> None:
    assert merge({"train": {"seed": 1, "rank": 8}}, {"train.seed": 2}) == {"train": {"seed": 2, "rank": 8}}


def test_every_setting_says_what_it_is() -> None:
    for section in SECTIONS:
        for setting in settings(section):
            assert setting.label, setting.key
            assert setting.help.endswith("."), setting.key
    assert set(SECTIONS) == set(RunConfig.model_fields) - {"name"}
