from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.domain.chat import Conversation, Message
from studio.domain.errors import StudioError
from studio.domain.finding import finding
from studio.domain.history import RowChange, Step
from studio.domain.text import Text
from studio.engine.checks import Report, run_checks
from studio.services import reports
from studio.services.history import Taken


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
    html = reports.as_html(
        reports.Subject("<b>mine</b>.csv", "columns", "ab12", "cd34"),
        report_of(("What?", ""), ("Why?", "So.")),
    )
    assert "<b>mine" not in html
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "empty_response" in html
    assert "回答为空" in html
    assert "The quality checklist on 2 rows, format columns." in html
    assert "准确性" in html
    assert "SHA-256 <code>ab12</code>" in html
    assert "SHA-256 of these: <code>cd34</code>" in html
    assert html.count("Of &lt;script&gt;alert(1)&lt;/script&gt;: 1.") == 2  # once a language


def test_the_json_names_every_row(tmp_path: Path) -> None:
    report = report_of(("What?", ""), ("Why?", "So."))
    reports.write_report(tmp_path / "out.json", reports.Subject("mine.csv", "columns"), report)
    read = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (read["file"], read["rows"], read["score"]) == ("mine.csv", 2, report.scores)
    assert [f["rows"] for f in read["findings"] if f["check"] == "empty_response"] == [[1]]


def test_a_report_is_html_or_json(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="cannot be written as"):
        reports.write_report(tmp_path / "report.pdf", reports.Subject("mine.csv", "columns"), report_of())
    with pytest.raises(StudioError, match="cannot be written: No such file"):
        reports.write_report(
            tmp_path / "none" / "out.html", reports.Subject("mine.csv", "columns"), report_of()
        )


def test_a_report_says_what_was_done_to_the_rows_and_why() -> None:
    row = Conversation((Message("user", "q <1>"), Message("assistant", " a")), 3)
    changes = [RowChange(3, row, row, (Text("Space at the ends"),), ("whitespace",))]
    step = Step(1, "repair", "2026-01-01T00:00:00Z", 2, 0, {"checks": ["whitespace"], "spared": []})
    taken = [Taken(step, changes), Taken(Step(2, "edit", "", 1, 0, {"row": 4}), [])]
    html = reports.as_html(reports.Subject("mine.csv", "columns"), report_of(), taken)
    assert "1. Repaired: Space at the ends" in html
    assert "<li>Row 3 of the file: Space at the ends</li><li>… +1</li>" in html
    assert "2. Row 4 was edited." in html
    assert "第 4 行已编辑。" in html
    (first, _) = reports.as_json(reports.Subject("mine.csv", "columns"), report_of(), taken)["steps"]
    assert first["rows"] == [{"row": 3, "action": "changed", "reasons": ["Space at the ends"]}]
    assert (first["changed"], first["more_rows"], first["asked"]["checks"]) == (2, 1, ["whitespace"])
