"""Chat templates run here: Jinja as transformers runs it, within bounds of time, size and depth.

A template is somebody else's program: one that would not end, or would fill the memory, is stopped with a StudioError.
Every error says where in the template it lies.
"""

from __future__ import annotations

import re
from functools import lru_cache
from threading import Lock
from types import TracebackType
from typing import Any

import jinja2
from jinja2.runtime import Context

from studio.domain.errors import StudioError
from studio.engine import template_bounds as bounds
from studio.engine.template_bounds import Exceeded, within
from studio.engine.template_environment import Environment, Refusal, Span

LONGEST_SOURCE = 200_000
"""Characters of a template."""
_FAILURES = (
    jinja2.TemplateError,
    Exceeded,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)


class Refused(StudioError):
    """A template refuses or fails at a conversation, and would do so again."""


class TookTooLong(StudioError):
    """A template was stopped for the time that it took; where the machine was busy, it may do better the next time."""


_TAG_END = re.compile(r"[%}]\}")
_NEWLINE = re.compile(r"\r\n|\r|\n")


def render(
    source: str, variables: dict[str, Any], *, title: str = "", seconds: float = bounds.SECONDS
) -> str:
    """The text that the template `source` writes for its `variables`.

    Raises StudioError where it is not valid Jinja, `TookTooLong` after `seconds`, and `Refused` where it refuses, fails
    or takes too much space; line and column are in the message where they can be known, and `line` and `column` among
    its values.
    """
    return render_spans(source, variables, title=title, seconds=seconds)[0]


def render_spans(
    source: str, variables: dict[str, Any], *, title: str = "", seconds: float = bounds.SECONDS
) -> tuple[str, list[Span]]:
    """As `render`, with the characters [start, end) of each `{% generation %}` block, as transformers counts them."""
    program = compiled(source)
    try:
        return program.run(variables, seconds)
    except Refusal as error:
        raise Refused(
            "The chat template {title} refuses this conversation: {problem}.",
            "Choose another template, or change the row.",
            title=title,
            problem=str(error).rstrip("."),
        ) from error
    except _FAILURES as error:
        raise _failure(error, program, title) from error


@lru_cache(maxsize=64)
def compiled(source: str) -> Program:
    """The template ready to run. StudioError with line and column where it is not valid Jinja."""
    return Program(source)


class Program:
    """One compiled template. Renderings of the same one wait for each other."""

    def __init__(self, source: str) -> None:
        if len(source) > LONGEST_SOURCE:
            raise StudioError(
                "The chat template has {length} characters; more than {limit} are not read.",
                "Shorten it, or choose another template.",
                length=len(source),
                limit=LONGEST_SOURCE,
            )
        self.source = _NEWLINE.sub("\n", source)
        self._environment = Environment()
        self._lock = Lock()
        try:
            self._template = self._environment.from_string(self.source)
            self._globals = dict(self._template.globals)
        except jinja2.TemplateSyntaxError as error:
            line, column = _place(self.source, -1 - error.lineno)
            raise StudioError(
                "The chat template is not valid Jinja, line {line}, column {column}: {problem}.",
                "Correct the line, or choose another template.",
                line=line,
                column=column,
                problem=re.sub(r" at \d+$", "", error.message or "").rstrip("."),
            ) from error
        except (RecursionError, MemoryError) as error:
            raise StudioError(
                "The chat template is not valid Jinja: it nests too deep.",
                "Correct the line, or choose another template.",
            ) from error
        except (
            SyntaxError,
            *_FAILURES,
        ) as error:  # of the code that Jinja makes of it, or of a constant in it
            raise StudioError(
                "The chat template is not valid Jinja: {problem}.",
                "Correct the line, or choose another template.",
                problem=re.sub(r" \(<template>, line \d+\)$", "", str(error)).rstrip("."),
            ) from error

    def run(self, variables: dict[str, Any], seconds: float) -> tuple[str, list[Span]]:
        """Its text and the spans of its generation blocks; raises what the template raises."""
        environment, template = self._environment, self._template
        with self._lock:
            parts = environment.begin(seconds)
            # As `template.new_context`, which goes through its chained globals each time.
            context = Context(environment, {**self._globals, **variables}, None, template.blocks)
            for part in template.root_render_func(context):
                parts.append(part)  # where a generation block sees what is there so far
            within(sum(map(len, parts)))
            return "".join(parts), environment.spans

    def offset(self, trace: TracebackType | None) -> int:
        """Where in `source` the statement or expression begins that a traceback ends in."""
        offset = 0
        while trace is not None:
            if trace.tb_frame.f_globals.get("__jinja_template__") is self._template:
                offset = -1 - self._template.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        return max(offset, 0)


def _failure(error: Exception, program: Program, title: str) -> StudioError:
    offset, problem = program.offset(error.__traceback__), str(error) or type(error).__name__
    for name in re.findall(r"'(\w+)'", problem):
        if (found := _nearest(program.source, name, offset)) is not None:
            offset = found
            break
    line, column = _place(program.source, offset)
    place = {"title": title, "line": line, "column": column}
    bound = error.bound if isinstance(error, Exceeded) else ""
    if bound == "time":
        return TookTooLong(
            "The chat template {title} was stopped, line {line}, column {column}: it does not come to an end.",
            "Correct the line, or choose another template.",
            **place,
        )
    if bound == "size" or isinstance(error, MemoryError):
        return Refused(
            "The chat template {title} was stopped, line {line}, column {column}: what it makes is too large.",
            "Correct the line, or choose another template.",
            **place,
        )
    if bound == "depth" or isinstance(error, RecursionError):
        return Refused(
            "The chat template {title} was stopped, line {line}, column {column}: it nests too deep.",
            "Correct the line, or choose another template.",
            **place,
        )
    return Refused(
        "The chat template {title} fails at this conversation, line {line}, column {column}: {problem}.",
        "Correct the line, choose another template, or change the row.",
        problem=re.sub(r" on line -\d+", "", problem).rstrip("."),
        **place,
    )


def _nearest(source: str, name: str, offset: int) -> int | None:
    """Where the name stands next to `offset` in the tag there."""
    start = max(source.rfind("{{", 0, offset + 2), source.rfind("{%", 0, offset + 2), 0)
    end = _TAG_END.search(source, offset)
    found = re.finditer(rf"\b{name}\b", source[start : end.start() if end else None])
    return min((start + match.start() for match in found), key=lambda at: abs(at - offset), default=None)


def _place(source: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1, of a character."""
    return source.count("\n", 0, offset) + 1, offset - source.rfind("\n", 0, offset)
