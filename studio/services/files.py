"""Files that are whole or absent, and the operating system's refusals as sentences."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from studio.domain.errors import StudioError
from studio.services.redaction import without_known


def now() -> str:
    """UTC, ISO 8601, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_json(path: Path, data: Mapping[str, Any] | list[Any]) -> None:
    """Replace a JSON file as a whole: a reader sees the old or the new, never a part. Keys of the machine's programs
    stay out of it, whatever brought them there.
    """
    write_text(path, without_known(json.dumps(data, ensure_ascii=False, indent=2)) + "\n")


def write_text(path: Path, text: str) -> None:
    with explained(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file, or None where there is no such file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StudioError(
            "{path} is damaged: {problem}.",
            "Restore it from a copy, or delete its folder.",
            path=str(path),
            problem=str(error),
        ) from None
    return data if isinstance(data, dict) else None


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals while writing `path` into sentences."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise StudioError(
                "The disk is full: {path} could not be written.",
                "Free some space (old runs and exports are the largest), then try again; nothing else was lost.",
                path=str(path),
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StudioError(
                "{path} cannot be written: {problem}.",
                "Choose another home with --home or STUDIO_HOME, or correct its permissions.",
                path=str(path),
                problem=error.strerror,
            ) from error
        raise


def is_disk_full(error: BaseException) -> bool:
    """Also where a library says so in words of its own, as safetensors does."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return "No space left on device" in str(error) or "os error 28" in str(error)
