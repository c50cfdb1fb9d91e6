"""The page's two languages: static texts for Gradio's I18n, and the same files for what Python writes."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import gradio as gr

from studio.domain.config import SECTIONS, ExportConfig, RunConfig, Setting, describe, settings
from studio.domain.errors import StudioError
from studio.domain.text import Text
from studio.engine.assets import ASSETS

LANGUAGES: dict[str, str] = {"en": "English", "zh": "中文"}
SPOKEN = frozenset({"advice", "first", "kind", "part", "problem", "reason", "state"})
"""Values of a sentence that are words of ours; all others are a person's own, and are left as they are."""
COOKIE = "studio_language"
FRONTEND_LOCALES: dict[str, str] = {"en": "en", "zh": "zh-CN"}
"""What Gradio's own texts call our languages; it knows no plain `zh`."""
_GRADIOS = {"upload_text.drop_file": "data.drop", "upload_text.click_to_upload": "data.drop.click"}
"""Gradio's texts in place of which ours are shown."""


class HasHeaders(Protocol):
    """As much of a request as is needed to know its language."""

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def cookies(self) -> Mapping[str, str]: ...


def language_of(request: HasHeaders | None) -> str:
    """The language chosen on the page, else the browser's first one; English for all we have no words of."""
    if request is None:
        return "en"
    return language_for(request.cookies.get(COOKIE, ""), request.headers.get("accept-language", ""))


def language_for(cookie: str, accept: str) -> str:
    """
    >>> language_for("", "zh-HK,zh;q=0.9,en;q=0.8")
    'zh'
    >>> language_for("en", "zh-CN")
    'en'
    """
    if cookie in LANGUAGES:
        return cookie
    first = accept.split(",")[0].split(";")[0].strip().lower()
    return "zh" if first.split("-")[0] == "zh" else "en"


@dataclass(frozen=True)
class Words:
    """Everything the page says in one language."""

    language: str
    ui: Mapping[str, str]
    messages: Mapping[str, str]

    def __call__(self, key: str, **values: Any) -> str:
        """The text of a UI key. KeyError for an unknown one: that is a mistake in the page, held by a test."""
        template = self.ui[key]
        return template.format_map(values) if values else template

    def text(self, text: Text) -> str:
        """A sentence of the engine's; values that are themselves known sentences are translated too.

        A setting goes by its label, which the page knows it by, instead of its key.
        """
        values = {name: self._value(name, value) for name, value in text.values.items()}
        return Text(text.template, values).translated(self.messages)

    def message(self, template: str) -> str:
        """A fixed English sentence of the engine's, such as a check's title."""
        return self.messages.get(template, template)

    def label(self, setting: Setting) -> str:
        return self.ui[f"setting.{setting.key}.label"]

    def help(self, setting: Setting) -> str:
        return self.ui[f"setting.{setting.key}.help"]

    def _value(self, name: str, value: Any) -> Any:
        if isinstance(value, Text):
            return self.text(value)
        if name == "key":
            return self.ui.get(f"setting.{value}.label", value)
        if name not in SPOKEN or not isinstance(value, str):
            return value
        for pattern, translation in _patterns(self.language):
            if found := pattern.fullmatch(value):
                return translation.format_map({n: self._value(n, v) for n, v in found.groupdict().items()})
        return value


def message_of(words: Words, error: StudioError) -> tuple[str, str]:
    """What is wrong, and what to do, in the reader's language."""
    return words.text(error.text), words.text(error.remedy_text)


@lru_cache(maxsize=len(LANGUAGES))
def words(language: str) -> Words:
    """All texts of a language, read once."""
    data = _read(language)
    ui = {key: value for key, value in data.items() if isinstance(value, str)}
    if language == "en":
        ui.update(setting_texts())
    messages = data.get("messages", {})
    return Words(language, ui, messages if isinstance(messages, dict) else {})


def t(key: str) -> Any:
    """A static text: the page looks it up in the browser's language."""
    return gr.I18n()(key)


def frontend(extra: Mapping[str, Mapping[str, str]] | None = None) -> gr.I18n:
    """The static texts for Gradio, with texts composed by language such as the form's hints."""
    extra = extra or {}
    tables = {}
    for language in LANGUAGES:
        ui = words(language).ui
        gradios = {theirs: ui[ours] for theirs, ours in _GRADIOS.items()}
        tables[FRONTEND_LOCALES[language]] = {**ui, **gradios, **extra.get(language, {})}
    return gr.I18n(**tables)


def setting_texts() -> dict[str, str]:
    """The English label and help of every setting, from where it is declared."""
    texts: dict[str, str] = {}
    for setting in all_settings():
        texts[f"setting.{setting.key}.label"] = setting.label
        texts[f"setting.{setting.key}.help"] = setting.help
    return texts


def all_settings() -> Iterable[Setting]:
    for section in SECTIONS:
        yield from settings(section)
    yield describe("", "name", RunConfig.model_fields["name"])
    for name, info in ExportConfig.model_fields.items():
        yield describe("export", name, info)


@lru_cache(maxsize=len(LANGUAGES))
def _patterns(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """How to know a sentence whose values are filled in already: pydantic's and the JSON parser's, and our own."""
    data = _read(language)
    known = {**data.get("messages", {}), **data.get("phrases", {})}
    longest_first = sorted(known.items(), key=lambda pair: -len(pair[0]))
    return tuple((_pattern(english), translation) for english, translation in longest_first)


def _pattern(template: str) -> re.Pattern[str]:
    """
    >>> _pattern("it should be greater than {bound}").fullmatch("it should be greater than 0").groupdict()
    {'bound': '0'}
    """
    seen: set[str] = set()
    parts = []
    for literal, name, _, _ in string.Formatter().parse(template):
        parts.append(re.escape(literal))
        if name:
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>.+?)")
            seen.add(name)
    return re.compile("".join(parts), re.DOTALL)


def _read(language: str) -> dict[str, Any]:
    return json.loads((ASSETS / "i18n" / f"{language}.json").read_text(encoding="utf-8"))
