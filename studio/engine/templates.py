"""Chat templates: the model's own and the shipped ones, rendered in a sandbox as transformers renders them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from studio.domain.chat import Message
from studio.domain.errors import StudioError
from studio.engine.assets import ASSETS
from studio.engine.tokenizer import Tokenizer


@dataclass(frozen=True)
class Shipped:
    """A template file in assets/templates and what choosing it implies."""

    title: str
    description: str
    end_of_turn: str
    """The token it ends a turn with where the model knows it; else the model's end token is used."""


SHIPPED: dict[str, Shipped] = {
    "chatml": Shipped(
        "ChatML",
        "Roles between <|im_start|> and <|im_end|>. A model that lacks these tokens reads the first as plain text and "
        "ends each turn with its own end token.",
        "<|im_end|>",
    ),
    "alpaca": Shipped(
        "Alpaca",
        "'### Instruction' and '### Response' headings in plain text. For base models; it adds no new tokens.",
        "",
    ),
    "llama2": Shipped(
        "Llama 2",
        "[INST] and <<SYS>> in plain text, one pair a turn. For Llama 2 and early Mistral models.",
        "",
    ),
}
_DATE = re.compile(r"""strftime_now\(\s*(?P<quote>['"])(?P<form>[^'"]*)(?P=quote)\s*\)""")
AUTO = "auto"
MODEL = "model"


@dataclass(frozen=True)
class Template:
    """A chat template ready for one tokenizer; `source` alone renders the same with plain transformers."""

    name: str
    title: str
    source: str


def choices(tokenizer: Tokenizer | None) -> list[tuple[str, str]]:
    """(name, title) of what can be picked for a model, the recommended first."""
    own = [(MODEL, "The model's own")] if tokenizer is None or tokenizer.chat_template else []
    return [(AUTO, "Recommended"), *own, *((name, shipped.title) for name, shipped in SHIPPED.items())]


def resolve(name: str, tokenizer: Tokenizer) -> Template:
    """The template called `name` for this tokenizer. `auto` is the model's own, or ChatML where it has none."""
    if name == AUTO:
        name = MODEL if tokenizer.chat_template else "chatml"
    if name == MODEL:
        if not tokenizer.chat_template:
            raise StudioError(
                "The model in {path} has no chat template of its own.",
                "Choose ChatML or Alpaca.",
                path=str(tokenizer.path),
            )
        return Template(MODEL, "The model's own", _dated(tokenizer.chat_template))
    if name not in SHIPPED:
        raise StudioError(
            "There is no chat template {name}.",
            "Choose one of: {known}.",
            name=name,
            known=", ".join([AUTO, MODEL, *SHIPPED]),
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
    source = (ASSETS / "templates" / f"{name}.jinja").read_text(encoding="utf-8")
    bos = tokenizer.named.get("bos_token", "") if tokenizer.adds_bos else ""
    source = source.replace("__END_OF_TURN__", _quoted(end)).replace("__BOS__", _quoted(bos))
    return Template(name, shipped.title, source)


def _dated(source: str) -> str:
    """The template with today's date written into it where it asks for the date, as Llama 3's does.

    Else a run would be trained with one date and answer with another, and could not be resumed tomorrow.
    """
    return _DATE.sub(lambda match: "'" + _quoted(datetime.now().strftime(match["form"])) + "'", source)


def _quoted(text: str) -> str:
    """`text` for the inside of a single-quoted Jinja string."""
    return text.replace("\\", "\\\\").replace("'", "\\'")


def render(
    template: Template,
    messages: Sequence[Message],
    tokenizer: Tokenizer,
    *,
    add_generation_prompt: bool = False,
) -> str:
    """The text of a conversation. Raises StudioError with the template's own reason where it refuses one."""
    try:
        return _compile(template.source).render(
            messages=[message.to_json() for message in messages],
            tools=None,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            **tokenizer.named,
        )
    except jinja2.TemplateSyntaxError as error:
        raise StudioError(
            "The chat template is not valid Jinja, line {line}: {problem}.",
            "Correct the line, or choose another template.",
            line=error.lineno,
            problem=error.message,
        ) from error
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, IndexError) as error:
        raise StudioError(
            "The chat template {title} refuses this conversation: {problem}.",
            "Choose another template, or change the row.",
            title=template.title,
            problem=str(error).rstrip("."),
        ) from error


class _Generation(jinja2.ext.Extension):
    """`{% generation %}` blocks, which some templates carry to mark responses, render as what they hold."""

    tags = {"generation"}  # noqa: RUF012 (jinja2's own declaration)

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@lru_cache(maxsize=32)
def _compile(source: str) -> jinja2.Template:
    # The same options, filters and globals as transformers.utils.chat_template_utils, so that both render alike.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(source)


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise(message: str) -> str:
    raise jinja2.TemplateError(message)
