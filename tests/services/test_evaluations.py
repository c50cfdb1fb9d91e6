"""A run is evaluated for real: figures, both answers of every row, what was forgotten; cut off and gone on with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio import cli
from studio.domain.errors import StudioError
from studio.services import evaluations
from studio.services.evaluations import Asked
from studio.services.run_files import RunFiles
from studio.services.store import Store
from tests.runs import ROWS, finished_run

NAMES = {"loss", "perplexity", "bleu", "chrf", "rouge1", "rouge2", "rougeL", "exact_match", "length_ratio"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    files = finished_run(Store(tmp_path_factory.mktemp("home")))
    files.write_data(ROWS[:4], ROWS[4:])
    return files


@pytest.fixture(scope="module")
def store(run: RunFiles) -> Store:
    return Store(run.folder.parent.parent)


def asked(run: RunFiles, **changes: Any) -> Asked:
    return Asked(run.id, **{"tokens": 12, **changes})


def stripped(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "created"}


def test_both_sides_are_judged_on_the_rows_kept_from_training(store: Store, run: RunFiles) -> None:
    said: dict[str, list[tuple[float, float]]] = {}
    result = evaluations.evaluate(
        store, asked(run), lambda phase, done, total: said.setdefault(phase, []).append((done, total))
    )
    assert [*said] == ["loading", "measuring_own", "measuring_general", "answering", "counting"]
    for steps in [*said.values()][:-1]:
        assert steps == sorted(steps)
        assert steps[-1][0] == steps[-1][1] > 0
    assert len({done for done, _ in said["answering"]}) > 12  # told while answers are still being written
    assert (result["rows"], result["answered"], result["left_out"]) == (6, 6, [])
    for side in ("base", "tuned"):
        assert set(result["metrics"][side]) >= NAMES
        for name, (low, high) in result["intervals"][side].items():
            assert low <= result["metrics"][side][name] <= high, name
    assert result["metrics"]["base"]["loss"] != result["metrics"]["tuned"]["loss"]
    assert {row["row"] for row in result["samples"]} == {row.row for row in ROWS[4:]}
    gains = [row["tuned"]["chrf"] - row["base"]["chrf"] for row in result["samples"]]
    assert gains == sorted(gains, reverse=True)
    assert result["general"]["rows"] > 0
    tasks = result["general"]["tasks"]
    assert sum(task["rows"] for task in tasks) == result["general"]["rows"]
    worst = result["general"]["worst"]
    assert 0 < len(worst) <= evaluations.WORST
    assert {row["task"] for row in worst} <= {task["task"] for task in tasks}
    assert all(row["base"]["text"] and row["tuned"]["text"] for row in worst)
    assert evaluations.evaluate(store, asked(run)) == result == evaluations.latest(store, run.id)


def test_it_goes_on_where_it_was_cut_off_with_the_same_result(store: Store, run: RunFiles) -> None:
    whole = evaluations.evaluate(store, asked(run))
    (folder,) = (file.parent for file in run.evaluations.glob("*/result.json"))
    (folder / "result.json").unlink()
    for name, kept in (("losses.jsonl", 5), ("answers.jsonl", 3)):
        lines = (folder / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / name).write_text("".join(lines[:kept]) + lines[kept][:20], encoding="utf-8")
    said: list[tuple[str, float]] = []
    again = evaluations.evaluate(store, asked(run), lambda phase, done, total: said.append((phase, done)))
    assert stripped(again) == stripped(whole)
    assert ("answering", 3) in said
    assert ("answering", 0) not in said


def test_other_rows_and_weights_are_evaluated_anew(store: Store, run: RunFiles, tmp_path: Path) -> None:
    evaluations.evaluate(store, asked(run))
    file = tmp_path / "rows.jsonl"
    lines = [json.dumps({"prompt": f"What is {n}?", "response": f"It is {n}."}) for n in range(3)]
    file.write_text("\n".join(lines), encoding="utf-8")
    other = asked(run, data=str(file))
    result = evaluations.evaluate(store, other)
    assert (result["rows"], result["data"]) == (3, str(file))
    assert len([*run.evaluations.glob("*/result.json")]) == 2


def test_rows_of_two_files_with_one_number_are_told_apart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    files = finished_run(store)
    files.write_data(ROWS[:4], [ROWS[4], replace(ROWS[5], row=ROWS[4].row, source="general")])
    result = evaluations.evaluate(store, asked(files))
    assert [row["row"] for row in result["samples"]] == [ROWS[4].row] * 2
    assert {row["prompt"] for row in result["samples"]} == {ROWS[4].prompt, ROWS[5].prompt}
    (folder,) = (file.parent for file in files.evaluations.glob("*/result.json"))
    assert len((folder / "answers.jsonl").read_text(encoding="utf-8").splitlines()) == 4


def test_the_command_line_says_the_same(store: Store, run: RunFiles, capsys: Any) -> None:
    result = evaluations.evaluate(store, asked(run))
    options = ["evaluate", run.id, "--max-new-tokens", "12", "--home", str(store.home)]
    assert cli.main([*options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == result
    assert cli.main(options) == 0
    shown = capsys.readouterr().out
    assert "6 of 6 rows answered" in shown
    assert "rougeL" in shown


def test_a_run_without_held_out_rows_says_what_to_do(tmp_path: Path) -> None:
    store = Store(tmp_path)
    files = finished_run(store)
    files.write_data(ROWS, [])
    with pytest.raises(StudioError, match="kept no rows from training") as error:
        evaluations.start(store, Asked(files.id))
    assert error.value.remedy == "Name a file of rows that it has not seen."
