"""Failures in a process of ours as sentences for a person, and their way from one process to another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from studio.domain.errors import StudioError
from studio.engine.out_of_memory import is_out_of_memory


def explained(
    error: Exception, short_of_memory: StudioError, failed: Callable[[str], StudioError]
) -> StudioError:
    """What to tell of any exception; `failed(problem)` is for those that nobody foresaw."""
    if isinstance(error, StudioError):
        return error
    if is_out_of_memory(error):
        return short_of_memory
    return failed(f"{type(error).__name__}: {error}".rstrip("."))


def to_json(error: StudioError) -> dict[str, Any]:
    """JSON once the values that it cannot hold, such as paths, are made text: `json.dumps(…, default=str)`."""
    values = {**error.remedy_text.values, **error.text.values}
    return {"template": error.text.template, "remedy": error.remedy_text.template, "values": values}


def from_json(data: dict[str, Any]) -> StudioError:
    return StudioError(data["template"], data["remedy"], **data["values"])
