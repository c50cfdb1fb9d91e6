from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.domain.chat import Conversation, Message
from studio.domain.errors import StudioError
from studio.domain.finding import finding
from studio.engine.checks import Report, run_checks
from studio.services import reports


def report_of(*pairs: tuple[str, str]) -> Report:
    rows = [
        Conversation((Message("user", prompt), Message("assistant", answer)), row)
        for row, (prompt, answer) in enumerate(pairs, 1)
    ]
    odd = finding(
        "odd", "file", "info", [1], "Of {file}: {count}.", "Look.", file="<script>alert(1)</script>"
    )
    return run_checks(rows, findings=[odd])


def test_the_html_says_what_was_found_in_both_languages_and_escapes_it() -> None:
    html = reports.as_html("<b>mine</b>.csv", "columns", report_of(("What?", ""), ("Why?", "So.")))
    assert "<b>mine" not in html
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "empty_response" in html
    assert "回答为空" in html
    assert "The quality checklist on 2 rows, format columns." in html
    assert "准确性" in html


def test_the_json_names_every_row(tmp_path: Path) -> None:
    report = report_of(("What?", ""), ("Why?", "So."))
    reports.write_report(tmp_path / "out.json", "mine.csv", "columns", report)
    read = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (read["file"], read["rows"], read["score"]) == ("mine.csv", 2, report.scores)
    assert [f["rows"] for f in read["findings"] if f["check"] == "empty_response"] == [[1]]


def test_a_report_is_html_or_json(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="cannot be written as"):
        reports.write_report(tmp_path / "report.pdf", "mine.csv", "columns", report_of())
    with pytest.raises(StudioError, match="cannot be written: No such file"):
        reports.write_report(tmp_path / "none" / "out.html", "mine.csv", "columns", report_of())
