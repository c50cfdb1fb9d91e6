"""Chat templates run here: Jinja with the options, filters and globals that transformers gives them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from studio.domain.errors import StudioError

Span = tuple[int, int]


def render(source: str, variables: Mapping[str, Any], *, title: str = "") -> str:
    """The text that a template writes. StudioError where it is no Jinja, refuses, or fails."""
    return render_spans(source, variables, title=title)[0]


def render_spans(source: str, variables: Mapping[str, Any], *, title: str = "") -> tuple[str, list[Span]]:
    """The text, and the characters [start, end) of each `{% generation %}` block in it, as transformers counts them."""
    try:
        template, tracker = _compile(source)
        return tracker.run(template, variables)
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
            title=title,
            problem=str(error).rstrip("."),
        ) from error


class _Generation(jinja2.ext.Extension):
    """`{% generation %}` blocks render as what they hold; where they stand is noted."""

    tags = {"generation"}  # noqa: RUF012 (jinja2's own declaration)

    def __init__(self, environment: jinja2.Environment) -> None:
        super().__init__(environment)
        self.blocks: list[str] = []
        self.spans: list[Span] = []

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_note"), [], [], body).set_lineno(line)

    def _note(self, caller: Any) -> str:
        text: str = caller()
        start = sum(map(len, self.blocks))
        self.spans.append((start, start + len(text)))
        return text

    def run(self, template: jinja2.Template, variables: Mapping[str, Any]) -> tuple[str, list[Span]]:
        self.blocks, self.spans = [], []
        for block in template.generate(variables):
            self.blocks.append(block)
        return "".join(self.blocks), self.spans


@lru_cache(maxsize=32)
def _compile(source: str) -> tuple[jinja2.Template, _Generation]:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    tracker = next(item for item in environment.extensions.values() if isinstance(item, _Generation))
    return environment.from_string(source), tracker


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise(message: str) -> str:
    raise jinja2.TemplateError(message)
