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


@pytest.mark.parametrize(
    ("key", "value", "wrong"),
    [
        ("learning_rate", "abc", "which is not a number"),
        ("learning_rate", -5, "but it should be greater than 0"),
        ("learning_rate", 7, "but it should be 0.1 or less"),
        ("batch_size", 2.5, "which is not a whole number"),
        ("batch_size", "many", "which is not a whole number"),
        ("batch_size", 0, "but it should be 1 or more"),
        ("seed", 2**31, "but it should be 2147483647 or less"),
        ("dropout", 1, "but it should be less than 1"),
        ("packing", "perhaps", "which is neither true nor false"),
        ("result", "worst", "but it should be 'best' or 'last'"),
        ("target_modules", "q_proj", "which is not a list"),
    ],
)
def test_a_value_that_cannot_be_is_quoted_with_what_is_wrong(key: str, value: object, wrong: str) -> None:
    message = problem({**MINIMAL, "train": {key: value}})
    assert message == f"run.yaml: train.{key} is {value!r}, {wrong}. Change it and try again."


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"model": "starter"}, "model is 'starter', which is not a list of names with values."),
        ({"model": {"id": 5}}, "model.id is 5, which is not text."),
        ({"model": {"id": ""}}, "model.id is '', but it should have 1 or more characters."),
    ],
)
def test_text_and_sections_are_told_from_other_things(data: dict[str, object], said: str) -> None:
    assert said in problem({**MINIMAL, **data})


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
