from __future__ import annotations

import re
from pathlib import Path

import pytest

from studio.domain.chat import Conversation, Message
from studio.domain.errors import StudioError
from studio.domain.finding import finding
from studio.domain.machine import Machine
from studio.engine.checks import run_checks
from studio.engine.dataset import read
from studio.ui import data_views, plan_views, views
from studio.ui.i18n import words

EN, ZH = words("en"), words("zh")
EVIL = '<script>alert("x")</script>'


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def conversation(row: int, prompt: str, response: str) -> Conversation:
    return Conversation((Message("user", prompt), Message("assistant", response)), row)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [f'{{"prompt": "Question {n}?", "response": "Answer {n}."}}' for n in range(1, 31)]
    lines[4] = '{"prompt": "<b>bold</b>", "response": ""}'
    lines[6] = '{"prompt": "broken"'
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_the_table_shows_a_page_of_rows_under_their_numbers_in_the_file(file: Path) -> None:
    dataset = read(file)
    report = run_checks(dataset.conversations, findings=dataset.findings)
    html = data_views.rows(EN, dataset.conversations, report, 1, 0, 20)
    assert re.findall(r'<span class="num">(\d+)', html) == [str(n) for n in range(1, 22) if n != 7]
    assert "1–20 of 29" in html
    assert "&lt;b&gt;bold&lt;/b&gt;" in html
    assert "<b>bold" not in html
    assert '<details class="entry target" open>' in data_views.rows(
        EN, dataset.conversations, report, 2, 25, 20
    )


def test_the_checklist_names_rows_remedy_and_repair(file: Path) -> None:
    dataset = read(file)
    html = data_views.findings(
        EN, run_checks(dataset.conversations, findings=dataset.findings), dataset.findings
    )
    assert "is not valid JSON" in html
    assert (
        'data-show="empty_response" data-to="repair-panel" aria-label="Show the repair: Empty response"'
        in html
    )
    assert 'data-row="5"' in html
    assert "Write the response, or drop the row." in html
    chinese = data_views.findings(ZH, run_checks(dataset.conversations), dataset.findings)
    assert "回答为空" in chinese
    assert "Write the response" not in chinese


def test_a_score_below_full_is_never_shown_as_full() -> None:
    assert "<b>99</b>" in data_views._score(EN, "accuracy", 99.9)
    assert "<b>100</b>" in data_views._score(EN, "accuracy", 100.0)


def test_only_the_first_twenty_row_numbers_are_listed() -> None:
    html = data_views._row_numbers(EN, finding("c", "accuracy", "info", range(1, 101), "Rows: {count}.", ""))
    assert html.count("data-row=") == 20
    assert "and 80 more" in html
    assert 'data-filter="c"' in html


def test_deleting_a_dataset_asks_first() -> None:
    button = data_views.forget(EN, "rows", EVIL)
    assert ('data-dataset="rows" data-do="delete"' in button, "delete-yes" in button) == (True, False)
    question = data_views.forget(EN, "rows", EVIL, asking=True)
    assert ('data-do="delete-yes"' in question, 'data-do="delete-no"' in question) == (True, True)
    assert "<script>" not in button + question
    assert "x is damaged and cannot be opened." in data_views.forget(EN, "x", "x", damaged=True)


def test_an_answer_that_is_not_trained_says_so() -> None:
    row = Conversation((Message("user", "q"), Message("assistant", "a", trained=False)), 1)
    assert "not trained" in data_views.conversation(EN, row)
    assert "not trained" not in data_views.conversation(EN, conversation(1, "q", "a"))


def test_a_row_of_a_hundred_thousand_characters_does_not_reach_the_browser_whole() -> None:
    html = data_views.conversation(EN, conversation(1, "p", "x" * 100_000))
    assert len(html) < 25_000
    assert "… and 80,000 more characters" in html


def test_an_error_escapes_what_it_quotes() -> None:
    html = views.error(
        EN, StudioError("There is no file {path}.", "Check the name and the folder.", path=EVIL)
    )
    assert "<script" not in html
    assert 'role="alert"' in html


def test_the_header_says_model_data_and_machine_in_one_line() -> None:
    html = views.header(EN, model=EVIL, data="", machine=machine(24, 20))
    assert "<script" not in html
    assert "Data none yet Machine CPU, 2 cores, 24.0 GiB" in text(html)
    assert "being looked at" in views.header(EN, model="starter", data="", machine=None)


def machine(total: int, free: int) -> Machine:
    return Machine("cpu", "x", total * 2**30, free * 2**30, 2, ("bfloat16",), False)


def test_whether_a_run_fits_is_said_of_the_number_that_it_is_judged_by() -> None:
    need = {"weights": 12 * 2**30, "total": 12 * 2**30}
    fits = text(plan_views._memory(EN, need, True, machine(20, 16)))
    assert "Fits 12.0 GiB of the 18.0 GiB that a run can use" in fits
    assert "free" not in fits
    assert "12.0 GiB needed, 9.0 GiB can be used" in text(plan_views._memory(EN, need, False, machine(10, 9)))


def test_memory_that_other_programs_hold_is_a_warning() -> None:
    need = {"weights": 12 * 2**30, "total": 12 * 2**30}
    assert "Only 5.0 GiB are free right now" in text(plan_views._memory(EN, need, True, machine(20, 5)))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(3, "3 s"), (47, "45 s"), (183, "3 min 5 s"), (992, "17 min"), (7300, "2 h 2 min")],
)
def test_an_estimated_time_is_no_more_exact_than_it_can_be(seconds: float, said: str) -> None:
    assert views.about(EN, seconds) == said
