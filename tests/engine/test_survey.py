from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.domain.errors import StudioError
from studio.engine.assets import ASSETS
from studio.engine.checks import run_checks
from studio.engine.dataset import read
from studio.engine.row_changes import repairs
from studio.engine.survey import load, survey

DIRTY = ASSETS / "samples" / "dirty.jsonl"


@pytest.mark.parametrize("processes", [0, 2])
def test_a_survey_finds_what_the_checks_find_in_memory(tmp_path: Path, processes: int) -> None:
    dataset = read(DIRTY)
    found = survey(DIRTY, tmp_path, processes=processes)
    assert list(found.rows) == dataset.conversations
    assert found.report == run_checks(dataset.conversations)
    assert (found.format, found.columns, found.total) == (dataset.format, dataset.columns, dataset.total)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # Ray's of its own settings
def test_one_or_two_processes_of_a_ray_cluster_find_the_same(tmp_path: Path) -> None:
    ray = pytest.importorskip(
        "ray", reason="Ray is not installed: pip install -c constraints.txt -e '.[ray]'"
    )
    alone = survey(DIRTY, tmp_path, processes=0).report
    ray.init(log_to_driver=False, include_dashboard=False, num_cpus=2)
    try:
        for processes in (1, 2):
            assert survey(DIRTY, tmp_path, processes=processes, on_ray=True).report == alone
    finally:
        ray.shutdown()


def test_a_survey_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    found = survey(DIRTY, tmp_path, processes=0)
    kept = load(tmp_path)
    assert kept is not None
    assert (kept.report, kept.about_file) == (found.report, found.about_file)
    assert kept.rows[3] == found.rows[3]
    assert [row.row for row in kept.rows] == kept.rows.numbers.tolist()


def test_a_survey_can_be_ended_and_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[str] = []

    def end(phase: str, done: float, of: float) -> None:
        told.append(phase)
        if phase == "compare":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey(DIRTY, tmp_path, processes=0, progress=end)
    assert told[0] == "check"
    assert load(tmp_path) is None


def test_rows_are_found_by_their_numbers_and_drawn_evenly(tmp_path: Path) -> None:
    rows = survey(DIRTY, tmp_path, processes=0).rows
    few = rows.numbered([rows[7].row, rows[2].row, 10**6])
    assert [row.row for row in few] == [rows[2].row, rows[7].row]
    assert few.position(rows[7].row) == 1
    assert few.position(rows[3].row) is None
    assert (few[-1], few[:1]) == (rows[7], [rows[2]])
    drawn = rows.sample(3)
    assert list(drawn) == [rows[0], rows[(len(rows) - 1) // 2], rows[-1]]


@pytest.mark.parametrize(
    "checks", ["all", "whitespace", "duplicate_exact,duplicate_near", "mojibake,conflicting_responses"]
)
def test_repairs_that_read_only_what_they_touch_do_what_repairs_of_all_rows_do(
    tmp_path: Path, checks: str
) -> None:
    prompts = "You are a careful helper. ", "You are a carefull helper."
    turns = [
        (prompts[n % 9 == 0], f"question {n % 40} about birds", f"They fly {n % 45}. ") for n in range(90)
    ]
    lines = [json.dumps({"system": s, "prompt": p, "response": r}) for s, p, r in turns]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join([*lines, *lines[:5]]), encoding="utf-8")
    for source in (DIRTY, file):
        found = survey(source, tmp_path, processes=0)
        rows = list(found.rows)
        names = checks.split(",")
        assert repairs(found.rows, names, found.report.findings) == repairs(rows, names)


def test_a_file_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"messages": 1}) + "\n", encoding="utf-8")
    with pytest.raises(StudioError, match=r"No row of rows\.jsonl can be used"):
        survey(file, tmp_path, processes=0)
