from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr
import pytest

from studio.domain.config import SECTIONS, RunConfig, parse_config, value_of
from studio.domain.machine import Machine
from studio.ui import form
from studio.ui.i18n import words
from studio.ui.page import Draft

SETTINGS = {setting.key: setting for setting in form.form_settings()}


def test_the_form_asks_for_every_setting_once() -> None:
    asked = [s.key for s in form.first_settings()] + [
        s.key for _, group in form.grouped_settings() for s in group
    ]
    assert sorted(asked) == sorted(SETTINGS)
    declared = {
        f"{section}.{name}"
        for section in SECTIONS
        for name in RunConfig.model_fields[section].annotation.model_fields  # type: ignore[union-attr]
    }
    assert declared | {"name"} == set(SETTINGS) | form.ELSEWHERE


def test_the_four_that_matter_stand_first() -> None:
    assert [setting.name for setting in form.first_settings()] == [
        "method",
        "epochs",
        "learning_rate",
        "batch_size",
    ]


@pytest.mark.parametrize(
    ("key", "held", "value"),
    [
        ("train.learning_rate", "2e-4", 0.0002),
        ("train.learning_rate", " 0.0002 ", 0.0002),
        ("train.learning_rate", "abc", "abc"),
        ("train.learning_rate", "-5", -5),
        ("train.learning_rate", "", None),
        ("train.batch_size", "16", 16),
        ("train.batch_size", "2.5", 2.5),
        ("train.target_modules", "q_proj, v_proj,", ["q_proj", "v_proj"]),
        ("train.target_modules", "  ", None),
        ("train.gradient_checkpointing", "yes", True),
        ("train.gradient_checkpointing", None, None),
        ("train.packing", False, False),
        ("train.method", "full", "full"),
        ("name", "my run", "my run"),
    ],
)
def test_what_is_typed_becomes_a_value(key: str, held: Any, value: Any) -> None:
    assert form.typed(SETTINGS[key], held) == value


def test_what_is_shown_can_be_typed_back() -> None:
    values = {
        "train.learning_rate": 0.00037,
        "train.batch_size": 8,
        "train.gradient_checkpointing": False,
        "train.target_modules": ["q_proj"],
        "train.packing": True,
        "train.scheduler": "linear",
    }
    for key, value in values.items():
        assert form.typed(SETTINGS[key], form.text_of(SETTINGS[key], value)) == value


def test_bad_input_is_answered_by_itself_and_the_rest_is_kept() -> None:
    draft = Draft("rows", {"train.learning_rate": "abc", "train.epochs": -5, "train.rank": 8})
    wrong = form.problems(draft, "The form")
    assert set(wrong) == {"train.learning_rate", "train.epochs"}
    said = {
        language: form.complaint(words(language), wrong["train.learning_rate"]) for language in ("en", "zh")
    }
    assert said["en"] == "The form: Learning rate is 'abc', which is not a number. Change it and try again."
    assert "学习率 为 'abc'，不是数字。" in said["zh"]
    assert "Epochs is -5, but it should be greater than 0" in form.complaint(
        words("en"), wrong["train.epochs"]
    )
    assert "应大于 0" in form.complaint(words("zh"), wrong["train.epochs"])
    assert form.sound(draft).values == {"train.rank": 8}


def test_only_what_was_touched_and_differs_from_what_was_shown_was_typed() -> None:
    fields = [SETTINGS["train.epochs"], SETTINGS["train.rank"], SETTINGS["train.seed"]]
    shown = {"train.epochs": "1", "train.rank": "16", "train.seed": "42"}
    draft, typed, over = form.collect(fields, Draft("rows"), ["1", "32", "43"], shown, edits("train.rank"))
    assert draft.values == {"train.rank": 32}
    assert typed == {"train.rank": "32"}
    assert over == set()


def test_what_the_page_wrote_over_while_it_was_typed_counts_as_typed() -> None:
    fields = [SETTINGS["train.epochs"], SETTINGS["train.rank"]]
    shown = {"train.epochs": "1", "train.rank": "16", form.TOLD: 3}
    data = {
        "touched": ["set-train-epochs", "set-train-rank"],
        "written": {
            "set-train-rank": {"text": "8", "number": 5},
            "set-train-epochs": {"text": "9", "number": 3},
        },
        "number": 5,
    }
    told = form.told(gr.EventData(None, data), shown)
    assert told.texts == {"train.rank": "8"}
    draft, typed, over = form.collect(fields, Draft("rows"), ["1", "16"], shown, told)
    assert (draft.values, typed, over) == ({"train.rank": 8}, {"train.rank": "8"}, {"train.rank"})
    later = form.collect(fields, Draft("rows"), ["1", "12"], shown, told)
    assert later[1:] == ({"train.rank": "12"}, set())


def edits(*touched: str) -> form.Edits:
    return form.Edits(touched, {}, 1)


def test_a_form_that_was_never_filled_in_changes_nothing() -> None:
    fields = [SETTINGS["train.epochs"]]
    assert form.collect(fields, Draft("rows"), [""], {}, edits("train.epochs")) == (Draft("rows"), {}, set())


def test_emptying_a_field_gives_it_back_to_the_recommendation() -> None:
    draft, *_ = form.collect(
        [SETTINGS["train.rank"]],
        Draft("rows", {"train.rank": 8}),
        [""],
        {"train.rank": "8"},
        edits("train.rank"),
    )
    assert draft.values == {}


def test_every_field_says_what_it_is_and_where_its_range_comes_from() -> None:
    info = form.info(words("en"), SETTINGS["train.learning_rate"])
    assert "Recommended: Full 1e-5 to 5e-5; LoRA 1e-4 to 0.002; QLoRA 1e-4 to 0.002." in info.replace(
        "0.0001", "1e-4"
    )
    assert "Source: full tuning: Touvron et al. 2023" in info
    texts = form.composed_texts()
    assert set(texts["en"]) == set(texts["zh"]) == {f"form.{key}.info" for key in SETTINGS}


def test_a_value_is_found_in_a_configuration_by_its_key() -> None:
    config = parse_config({"data": {"path": "x"}, "train": {"rank": 4}, "name": "n"})
    assert value_of(config, "train.rank") == 4
    assert value_of(config, "name") == "n"


CPU = Machine("cpu", "CPU", 16_000_000_000, 12_000_000_000, 4, ("float32",), True)


def test_a_choice_that_the_machine_cannot_do_is_not_offered_and_said_why() -> None:
    setting = SETTINGS["train.optimizer"]
    looks = form.looks(words("en"), setting, Draft("rows"), None, None, form.missing(CPU)[setting.key])
    shown = form.look(words("en"), setting, looks)
    assert [value for _, value in shown["choices"]] == ["adamw", "adamw_8bit"]
    assert shown["info"].count("Paged needs an NVIDIA GPU") == 1
    gpu = form.missing(replace(CPU, device="cuda"))[setting.key]
    assert form.looks(words("en"), setting, Draft("rows"), None, None, gpu) == form.PLAIN


@pytest.mark.parametrize(
    ("key", "values", "applies"),
    [
        ("train.rank", {}, True),
        ("train.rank", {"train.method": "full"}, False),
        ("train.decay_ratio", {}, False),
        ("train.decay_ratio", {"train.scheduler": "warmup_stable_decay"}, True),
        ("train.seed", {"train.method": "full"}, True),
    ],
)
def test_a_setting_is_shown_only_where_it_does_something(
    key: str, values: dict[str, str], applies: bool
) -> None:
    looks = form.looks(words("en"), SETTINGS[key], Draft("rows", values), None, None, {})
    assert form.look(words("en"), SETTINGS[key], looks)["visible"] == applies
