"""Chat templates: the model's own and the shipped ones, rendered in a sandbox as transformers renders them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import Any

from studio.domain.chat import Message, ToolCall
from studio.domain.errors import StudioError
from studio.engine.assets import ASSETS
from studio.engine.shipped_templates import SHIPPED
from studio.engine.tokenizer import Tokenizer

_DATE = re.compile(r"""strftime_now\s*\(\s*(?P<quote>['"])(?P<form>[^'"]*)(?P=quote)\s*\)""")
_ASKED = re.compile(r"\bstrftime_now\b(?!\s+is\s+(?:not\s+)?defined\b)")
_QUOTED = r"'(?:[^'\\]|\\.)*'"
"""A string as `_dated` writes it."""
_THINKING = re.compile(r"\benable_thinking\b")
AUTO = "auto"
MODEL = "model"
MODEL_NO_THINKING = "model_no_thinking"
CUSTOM = "custom"


@dataclass(frozen=True)
class Template:
    """A chat template ready for one tokenizer; `source` alone renders the same with plain transformers."""

    name: str
    title: str
    source: str


def choices(tokenizer: Tokenizer | None) -> list[tuple[str, str]]:
    """(name, title) of what can be picked for a model, the recommended first; one's own Jinja is not among them."""
    source = None if tokenizer is None else tokenizer.chat_template
    own = [(MODEL, "The model's own")] if tokenizer is None or source else []
    if source and _THINKING.search(source):
        own.append((MODEL_NO_THINKING, "The model's own, without thinking"))
    return [(AUTO, "Recommended"), *own, *((name, shipped.title) for name, shipped in SHIPPED.items())]


def resolve(name: str, tokenizer: Tokenizer, source: str | None = None, day: date | None = None) -> Template:
    """The template called `name` for this tokenizer, with the date of `day`, or of today, written into it.

    `auto` is the model's own, or ChatML where it has none; `custom` is the Jinja in `source`.
    """
    found = _undated(name, tokenizer, source)
    return replace(found, source=_dated(found.source, day or date.today()))


def asks_for_date(source: str) -> bool:
    """Whether a resolved template still asks for the date: its form is worked out, so that none could be written in."""
    return _ASKED.search(source) is not None


def meant(name: str, tokenizer: Tokenizer) -> str:
    """The name of the template that is taken for `name`: `auto` stands for another one."""
    if name != AUTO:
        return name
    return MODEL if tokenizer.chat_template else "chatml"


def is_resolved(text: str, name: str, tokenizer: Tokenizer, source: str | None = None) -> bool:
    """Whether `text` is what `resolve` gives for these, or gave on another day."""
    undated, pattern, position = _undated(name, tokenizer, source).source, "", 0
    for match in _DATE.finditer(undated):
        pattern += re.escape(undated[position : match.start()]) + _QUOTED
        position = match.end()
    return re.fullmatch(pattern + re.escape(undated[position:]), text) is not None


def _undated(name: str, tokenizer: Tokenizer, source: str | None) -> Template:
    """As `resolve`, but with the question for today's date where a template asks for it."""
    if name == CUSTOM:
        if not (source or "").strip():
            raise StudioError(
                "Your own template is empty.",
                "Write its Jinja in {key}, or choose another template.",
                key="template.source",
            )
        return Template(CUSTOM, "Your own", str(source))
    name = meant(name, tokenizer)
    if name in (MODEL, MODEL_NO_THINKING):
        return _own(name, tokenizer)
    if name not in SHIPPED:
        raise StudioError(
            "There is no chat template {name}.",
            "Choose one of: {known}.",
            name=name,
            known=", ".join([AUTO, MODEL, MODEL_NO_THINKING, CUSTOM, *SHIPPED]),
        )
    shipped = SHIPPED[name]
    end = (
        shipped.end_of_turn
        if shipped.end_of_turn in tokenizer.special
        else tokenizer.named.get("eos_token", "")
    )
    if not end:
        raise StudioError(
            "The tokenizer in {path} names no end token, so {title} could not end a turn.",
            "Set eos_token in its tokenizer_config.json.",
            path=str(tokenizer.path),
            title=shipped.title,
        )
    source = _file(shipped.file or name)
    if shipped.thinking is not None:
        source = _with_thinking(source, shipped.thinking)
    bos = tokenizer.named.get("bos_token", "") if tokenizer.adds_bos else ""
    source = source.replace("__END_OF_TURN__", _quoted(end)).replace("__BOS__", _quoted(bos))
    return Template(name, shipped.title, source)


def _own(name: str, tokenizer: Tokenizer) -> Template:
    source = tokenizer.chat_template
    if not source:
        raise StudioError(
            "The model in {path} has no chat template of its own.",
            "Choose ChatML or Alpaca.",
            path=str(tokenizer.path),
        )
    if name == MODEL:
        return Template(MODEL, "The model's own", source)
    if not _THINKING.search(source):
        raise StudioError(
            "The chat template of the model in {path} has no switch for thinking.",
            "Choose the model's own template.",
            path=str(tokenizer.path),
        )
    return Template(name, "The model's own, without thinking", _with_thinking(source, False))


@lru_cache(maxsize=32)
def _file(name: str) -> str:
    return (ASSETS / "templates" / f"{name}.jinja").read_text(encoding="utf-8")


def _with_thinking(source: str, thinking: bool) -> str:
    """The template with its switch set; Jinja drops the line break after the tag."""
    return f"{{% set enable_thinking = {str(thinking).lower()} %}}\n{source}"


def _dated(source: str, day: date) -> str:
    """The template with a day's date written into it where it asks for the date, as Llama 3's does.

    Else a run would be trained with one date and answer with another, and could not be resumed tomorrow.
    """
    return _DATE.sub(lambda match: "'" + _quoted(day.strftime(match["form"])) + "'", source)


def _quoted(text: str) -> str:
    """`text` for the inside of a single-quoted Jinja string."""
    return text.replace("\\", "\\\\").replace("'", "\\'")


def template_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as chat templates read them: OpenAI's shape with the arguments of calls as objects.

    Reasoning is there under both names that templates know, as transformers gives it.
    """
    return [_shown(message) for message in messages]


def _shown(message: Message) -> dict[str, Any]:
    shown: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning:
        shown = {"thinking": message.reasoning, **shown, "reasoning_content": message.reasoning}
    if message.tool_calls:
        shown["tool_calls"] = [_shown_call(call) for call in message.tool_calls]
    if message.name:
        shown["name"] = message.name
    if message.tool_call_id:
        shown["tool_call_id"] = message.tool_call_id
    return shown


def _shown_call(call: ToolCall) -> dict[str, Any]:
    shown = call.to_json()
    with suppress(ValueError):  # what is no JSON is shown as it stands
        shown["function"]["arguments"] = json.loads(call.arguments)
    return shown
