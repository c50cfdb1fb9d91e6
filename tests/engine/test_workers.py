from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.engine.checks import run_checks
from studio.engine.survey import survey
from studio.engine.workers import AHEAD, workers


@pytest.mark.parametrize("processes", [0, 2])
def test_what_is_made_of_the_parts_comes_in_their_order(processes: int) -> None:
    with workers(processes) as work:
        assert list(work(str, range(50))) == [str(number) for number in range(50)]


def test_parts_are_not_made_far_ahead_of_what_is_asked_for() -> None:
    made: list[int] = []

    def parts() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    with workers(1) as work:
        first = next(iter(work(str, parts())))
    assert (first, len(made)) == ("0", AHEAD)


def test_rows_that_are_compared_by_several_processes_are_found_as_by_one(tmp_path: Path) -> None:
    said = (
        "Bees stay in the hive in winter, form a cluster around the queen and live on the honey of the summer"
    )
    asked = [f"What do bees number {n // 4} do in the winter" for n in range(400)]
    answers = [
        f"{said}{'.!'[n % 2]}" if n % 3 else f"I counted {n} wasps in autumn, none of them at home."
        for n in range(400)
    ]
    file = tmp_path / "rows.jsonl"
    lines = [json.dumps({"prompt": q, "response": a}) for q, a in zip(asked, answers, strict=True)]
    file.write_text("\n".join(lines), encoding="utf-8")
    found = survey(file, tmp_path, processes=2)
    assert found.report == run_checks(list(found.rows))
    flagged = {finding.check: len(finding.rows) for finding in found.report.findings}
    assert {"conflicting_responses", "duplicate_near"} <= flagged.keys()
