"""A run as one HTML file: whole, self-contained, and nothing in it but text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from studio import cli
from studio.domain.answer import SIDES
from studio.services import evaluations, ratings
from studio.services.files import read_json, write_json
from studio.services.jobs import Jobs
from studio.services.run_files import RunFiles
from studio.services.store import Store
from studio.ui import run_report
from studio.ui.i18n import words
from tests.runs import finished_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    store = Store(tmp_path_factory.mktemp("home"))
    files = finished_run(store)
    evaluations.evaluate(store, evaluations.Asked(files.id, tokens=8))
    file = next(files.evaluations.glob("*/result.json"))
    found = read_json(file)
    assert found
    found["samples"][0]["tuned"]["text"] = "<script>alert(1)</script>"
    write_json(file, found)
    (files.benchmarks / "ab").mkdir(parents=True)
    line = {
        "task": "arc_easy",
        "measure": "acc",
        "questions": 100,
        "base": 0.5,
        "tuned": 0.45,
        "base_error": 0.05,
    }
    figures = [{**line, "tuned_error": 0.05, "higher_is_better": True}]
    kept = {
        "schema": 1,
        "created": "2026-11-28T10:00:00Z",
        "harness": "0.4.13",
        "chat": True,
        "figures": figures,
    }
    write_json(files.benchmarks / "ab" / "result.json", kept)
    desk = ratings.from_evaluation(store, files.id)
    ratings.rate(desk, "Ann", 1, ratings.Given("left", {}))
    ratings.close(desk)
    return files


def test_it_has_figures_answers_ratings_and_what_the_run_was_made_of(run: RunFiles) -> None:
    text = run_report.as_html(words("en"), Jobs(Store(run.folder.parent.parent)), run.id)
    for wanted in (
        "chrF",
        "Question 9?",
        "Ratings: 1",
        "What was forgotten",
        "ab12",
        "2.13.0",
        "learning_rate",
    ):
        assert wanted in text, wanted
    assert all(f"answer-{side}" in text for side in SIDES)


def test_it_needs_no_other_file_and_runs_nothing(run: RunFiles) -> None:
    text = run_report.as_html(words("en"), Jobs(Store(run.folder.parent.parent)), run.id)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert re.findall(r"""(?:src|href)\s*=|@import|url\((?!["']?data:)""", text) == []
    assert "default-src 'none'" in text


def test_it_holds_no_secret_of_the_environment(run: RunFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Jobs(Store(run.folder.parent.parent))
    before = run_report.as_html(words("en"), jobs, run.id)
    monkeypatch.setenv("JUDGE_API_KEY", before[before.index("Question 9?") :][:14])
    after = run_report.as_html(words("en"), jobs, run.id)
    assert "Question 9?" in before
    assert "Question 9?" not in after
    assert "[secret]" in after


def test_the_terminal_writes_it_in_either_language(run: RunFiles, tmp_path: Path) -> None:
    home = str(run.folder.parent.parent)
    out = tmp_path / "report.html"
    assert cli.main(["report", run.id, "--out", str(out), "--language", "zh", "--home", home]) == 0
    assert '<html lang="zh">' in out.read_text(encoding="utf-8")
    assert cli.main(["report", run.id, "--out", str(tmp_path / "no" / "r.html"), "--home", home]) == 1
