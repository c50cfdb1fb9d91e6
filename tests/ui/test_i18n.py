from __future__ import annotations

import argparse
import ast
import json
import re
import string
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from studio import cli
from studio.domain import config
from studio.domain.errors import StudioError
from studio.domain.text import Text
from studio.engine.assets import ASSETS
from studio.engine.checks import CHECKS
from studio.ui.i18n import all_settings, language_for, setting_texts, words
from studio.ui.samples import samples

PACKAGE = Path(__file__).parents[2] / "studio"
SPEAKERS = {"StudioError", "Warned", "Failed", "Text", "finding", "Unconvertible", "reject"}
"""Calls whose literal arguments are sentences for a person."""


def read(language: str) -> dict[str, object]:
    return json.loads((ASSETS / "i18n" / f"{language}.json").read_text(encoding="utf-8"))


ENGLISH, CHINESE = read("en"), read("zh")
MESSAGES: dict[str, str] = CHINESE["messages"]  # type: ignore[assignment]


@lru_cache
def trees() -> dict[str, ast.Module]:
    files = sorted(PACKAGE.rglob("*.py"))
    return {str(file.relative_to(PACKAGE)): ast.parse(file.read_text(encoding="utf-8")) for file in files}


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """(file, name, call) for every call in the package."""
    for file, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                function = node.func
                name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
                yield file, name, node


def literals(node: ast.AST) -> Iterator[str]:
    """The strings that an argument may be: itself, either branch of a condition."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from literals(node.body)
        yield from literals(node.orelse)


def used_keys() -> tuple[set[str], set[str]]:
    """UI keys named in the code, and the prefixes of those that are put together."""
    keys, prefixes = set(), set()
    for file, name, call in calls():
        if not file.startswith("ui/") or name not in ("t", "say") or not call.args:
            continue
        keys.update(literals(call.args[0]))
        if isinstance(call.args[0], ast.JoinedStr):
            first = call.args[0].values[0]
            prefixes.add(first.value if isinstance(first, ast.Constant) else "")
    return keys, prefixes


@lru_cache
def sentences() -> frozenset[str]:
    """Every English template in the code that can reach a person."""
    found = set()
    for _, name, call in calls():
        if name not in SPEAKERS:
            continue
        arguments = [
            *call.args,
            *(k.value for k in call.keywords if k.arg in ("template", "remedy", "message")),
        ]
        texts = {text for argument in arguments for text in literals(argument)}
        # ids and states stand beside the sentences: a sentence has a space and begins with a capital or a value
        found.update(text for text in texts if " " in text and re.match(r"[A-Z{'`“]", text))
    for check in CHECKS.values():
        found.update(
            (check.title, check.message, check.why, check.remedy, check.fix_title, check.blind_spots)
        )
    for sample in samples():
        found.update((sample.title, sample.description))
    found.update(setting.source for setting in all_settings())
    return frozenset(found - {""})


def fields(template: str) -> set[str]:
    return {name.split(".")[0].split("[")[0] for _, name, _, _ in string.Formatter().parse(template) if name}


def test_both_languages_have_the_same_keys() -> None:
    chinese = {key for key in CHINESE if isinstance(CHINESE[key], str)}
    assert chinese == set(ENGLISH) | set(setting_texts())


def test_every_setting_has_its_label_and_help_in_both_languages() -> None:
    for setting in all_settings():
        for language in ("en", "zh"):
            assert words(language).label(setting), setting.key
            assert words(language).help(setting), setting.key


def test_every_key_that_the_page_uses_exists_in_both_languages() -> None:
    keys, _ = used_keys()
    composed = re.compile(r"form\..+\.info")
    assert sorted(key for key in keys if key not in words("en").ui and not composed.fullmatch(key)) == []
    assert sorted(key for key in keys if key not in words("zh").ui and not composed.fullmatch(key)) == []


def test_every_key_is_used() -> None:
    keys, prefixes = used_keys()
    sources = "".join(file.read_text(encoding="utf-8") for file in (PACKAGE / "ui").glob("*.py"))
    unused = [
        key
        for key in ENGLISH
        if key not in keys
        and f'"{key}"' not in sources
        and not any(p and key.startswith(p) for p in prefixes)
    ]
    assert unused == []


def test_every_sentence_of_the_engine_is_said_in_chinese() -> None:
    assert sorted(sentences() - set(MESSAGES)) == []


def test_no_translation_is_left_over() -> None:
    literals = {n.value for tree in trees().values() for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    assert sorted(set(MESSAGES) - sentences() - literals) == []


def test_every_option_that_a_sentence_names_is_one_of_the_command_line() -> None:
    known = set(options(cli._parser()))
    named = {english: re.findall(r"(?<![\w-])--[a-z][a-z-]*", text) for english, text in said_sentences()}
    assert {english: found for english, found in named.items() if not known.issuperset(found)} == {}
    assert "--user" in {option for found in named.values() for option in found}


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every option of a parser and of its verbs."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from options(verb)


def said_sentences() -> Iterator[tuple[str, str]]:
    """Each sentence under its English, as it is and in Chinese."""
    for english in sentences():
        yield english, english + MESSAGES.get(english, "")


def test_a_text_has_the_same_places_for_values_in_both_languages() -> None:
    assert [key for key in ENGLISH if fields(str(ENGLISH[key])) != fields(str(CHINESE[key]))] == []


def test_a_sentence_has_the_same_places_for_values_in_both_languages() -> None:
    assert [english for english, chinese in MESSAGES.items() if fields(english) != fields(chinese)] == []


def test_no_text_is_empty_or_left_in_english() -> None:
    assert [key for key, text in {**ENGLISH, **CHINESE}.items() if not text] == []
    han = re.compile(r"[一-鿿]")
    assert [english for english, chinese in MESSAGES.items() if not han.search(chinese)] == []


def test_an_error_is_said_in_the_readers_language_with_its_values() -> None:
    english = "Port {port} is in use."
    error = StudioError(english, port=7860)
    assert words("en").text(error.text) == "Port 7860 is in use."
    assert words("zh").text(error.text) == MESSAGES[english].format(port=7860)


def test_what_is_wrong_with_a_setting_is_said_by_its_label_and_in_the_readers_language() -> None:
    text = Text("{source}: {key} is {value}, {problem}.", {
        "source": "表单", "key": "train.epochs", "value": "-5", "problem": "but it should be greater than 0",
    })  # fmt: skip
    label = words("zh").ui["setting.train.epochs.label"]
    assert words("zh").text(text) == f"表单：{label} 为 -5，应大于 0。"
    assert words("en").text(text) == "表单: Epochs is -5, but it should be greater than 0."


def test_whatever_can_be_wrong_with_a_setting_is_said_in_chinese() -> None:
    assert set(config._PROBLEMS.values()) <= set(MESSAGES)


@pytest.mark.parametrize(
    ("cookie", "accept", "language"),
    [
        ("", "", "en"),
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "zh-Hant-HK", "zh"),
        ("", "de-DE,zh;q=0.9", "en"),
        ("en", "zh-CN", "en"),
        ("zh", "en-GB", "zh"),
        ("../../etc", "en-GB", "en"),
    ],
)
def test_the_language_is_the_one_chosen_else_the_browsers_first(
    cookie: str, accept: str, language: str
) -> None:
    assert language_for(cookie, accept) == language
