"""A run's configuration from a YAML or JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from studio.domain.config import RunConfig, merge, parse_config
from studio.domain.errors import StudioError


def load_config(path: str | Path, values: Mapping[str, Any] | None = None) -> RunConfig:
    """Read a YAML or JSON config file. A relative `data.path` is taken from the file's own folder."""
    path = Path(path)
    if not path.is_file():
        raise StudioError("There is no config file {path}.", "Check the name.", path=str(path))
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise StudioError(
            "{path} is not UTF-8 text: byte {position} cannot be read.",
            "Save it as UTF-8.",
            path=str(path),
            position=error.start,
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise StudioError(
            "{path}, line {line}, column {column}: {problem}.",
            "Correct the line and try again.",
            path=str(path),
            line=mark.line + 1 if mark else 1,
            column=mark.column + 1 if mark else 1,
            problem=getattr(error, "problem", None) or "not YAML or JSON",
        ) from None
    if isinstance(data, Mapping):
        data = merge(data, values or {})
        _anchor(data, path.parent)
    return parse_config(data, source=path.name)


def _anchor(data: dict[str, Any], folder: Path) -> None:
    section = data.get("data")
    if not isinstance(section, dict):
        return
    for key in ("path", "held_out_path"):
        value = section.get(key)
        if (
            isinstance(value, str)
            and value
            and not Path(value).expanduser().is_absolute()
            and (folder / value).exists()
        ):
            section[key] = str((folder / value).resolve())
