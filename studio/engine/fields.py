"""The fields of a raw record: found by name, read as text, as a list or as JSON, or refused with what they hold."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn

from studio.domain.text import Text
from studio.engine.records import LONE_SURROGATE, kind_of

_WRITTEN_BY_PYTHON = re.compile(r"""\s*\[\s*[\[{]\s*'""")
"""How a list of turns begins in a file that pandas wrote."""


class Unconvertible(Exception):
    """A record that is no conversation; says why, and whether a field is missing."""

    def __init__(self, template: str, check: str = "wrong_shape", **values: Any) -> None:
        super().__init__(template)
        self.text = Text(template, values)
        self.check = check


def field(record: Mapping[str, Any], *names: str) -> Any:
    """The first of the named fields, whatever its capitals; None where there is none."""
    found = key_of(record, *names)
    return None if found is None else record[found]


def key_of(record: Mapping[str, Any], *names: str) -> str | None:
    """How the record writes the first of the names that it has."""
    return _written(tuple(record), names)


@lru_cache(maxsize=1024)
def _written(keys: tuple[Any, ...], names: tuple[str, ...]) -> str | None:
    """The same of the keys alone: most records of a file have the same ones."""
    exact = next((name for name in names if name in keys), None)
    if exact is not None:
        return exact
    lowered = {key.strip().lower(): key for key in keys if isinstance(key, str)}
    return next((lowered[name] for name in names if name in lowered), None)


def is_blank(value: Any) -> bool:
    """Null, NaN (an empty cell of a table) or text without a character to see."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def text_of(value: Any, name: str, number: int = 0) -> str:
    """A cell as text: numbers as they are written, null and NaN as nothing. Raises Unconvertible for lists and objects.

    `name` is that of the field, `number` that of the message which has it, or 0.

    >>> text_of(3, "output"), text_of(float("nan"), "output")
    ('3', '')
    """
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise Unconvertible(
                "Row {row} ({place}): its field {name} holds bytes that are not UTF-8 text.", name=name
            ) from None
    if not isinstance(value, (list, dict, tuple)):
        return str(value)
    kind = kind_of(list(value) if isinstance(value, tuple) else value)
    if number:
        raise Unconvertible(
            "Row {row} ({place}): the field {field} of its message {number} holds {kind}, not text.",
            field=name,
            number=number,
            kind=kind,
        )
    raise Unconvertible("Row {row} ({place}): its field {name} holds {kind}, not text.", name=name, kind=kind)


def as_list(value: Any) -> list[Any] | None:
    """A list, also where the cell of a table holds it as JSON text, or as Python writes it.

    >>> as_list("[{'role': 'user', 'content': None}]")
    [{'role': 'user', 'content': None}]
    """
    if isinstance(value, str):
        read = ast.literal_eval if _WRITTEN_BY_PYTHON.match(value) else json.loads
        try:
            value = read(value)
            if read is not json.loads:  # only what JSON could hold, with names that are text
                value = json.loads(json.dumps(value))
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            return None
    return list(value) if isinstance(value, (list, tuple)) else None


def parsed(value: Any) -> Any:
    """A value that may be written as JSON text. ValueError where it is text but no JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("too deeply nested") from None


def as_json(value: Any) -> str:
    """A value as JSON text. ValueError where JSON cannot hold it, such as NaN or a date."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("too deeply nested") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def refuse_half_characters(text: str) -> None:
    """Unconvertible for a lone surrogate: no file can hold it, and no tokenizer takes it."""
    lone = None if text.isascii() else LONE_SURROGATE.search(text)
    if lone:
        raise Unconvertible(
            "Row {row} ({place}) holds half a character ({code}), which no text file can hold.",
            code=f"\\u{ord(lone.group()):04x}",
        )
