"""The records that cannot be read, as a file: to be mended there and uploaded again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from studio.domain.text import Text
from studio.engine.records import Quarantined


def write_quarantined(path: Path, records: Iterable[Quarantined], told: Callable[[Text], str] = str) -> None:
    """One object a line: file, line, column, reason, and the record's text as it stands in its file.

    `told` writes the reason in the reader's language.
    """
    lines = (
        {
            "file": record.file,
            "line": record.line,
            "column": record.column,
            "reason": told(record.reason),
            "text": record.text,
        }
        for record in records
    )
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")
