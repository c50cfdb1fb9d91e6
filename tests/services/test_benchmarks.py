"""Public benchmarks by lm-evaluation-harness itself, on a task of our own that needs no hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio import cli
from studio.domain.errors import StudioError
from studio.services import benchmarks
from studio.services.benchmarks import Asked
from studio.services.run_files import RunFiles
from studio.services.store import Store
from tests.runs import finished_run

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: ["yes", "no"]
doc_to_target: "{{{{answer}}}}"
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    return finished_run(Store(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one task, yes_or_no, of eight questions."""
    folder = tmp_path_factory.mktemp("tasks")
    lines = [json.dumps({"question": f"Is {n} even?", "answer": n % 2}) for n in range(8)]
    (folder / "questions.json").write_text("\n".join(lines), encoding="utf-8")
    text = TASK.format(name="yes_or_no", data=json.dumps(str(folder / "questions.json")))
    (folder / "yes_or_no.yaml").write_text(text, encoding="utf-8")
    return folder


def store_of(run: RunFiles) -> Store:
    return Store(run.folder.parent.parent)


def test_both_sides_are_measured_by_the_harness_and_not_again(run: RunFiles, own: Path) -> None:
    asked = Asked(run.id, ["yes_or_no", " yes_or_no"], limit=6, include=str(own))
    said: list[tuple[str, float]] = []
    result = benchmarks.measure(store_of(run), asked, lambda phase, done, total: said.append((phase, done)))
    assert [*dict.fromkeys(phase for phase, _ in said)] == ["loading", "measuring"]
    measured = [done for phase, done in said if phase == "measuring"]
    assert measured == sorted(measured)
    assert (measured[0], measured[-1]) == (0.0, 2.0)
    assert len(measured) > 6
    (line,) = result["figures"]
    assert (line["task"], line["measure"], line["questions"]) == ("yes_or_no", "acc", 6)
    for side in ("base", "tuned"):
        assert line[side] * 6 == pytest.approx(round(line[side] * 6))
        assert line[f"{side}_error"] >= 0
    assert line["higher_is_better"] is True
    assert benchmarks.measure(store_of(run), asked) == result
    assert benchmarks.results(store_of(run), run.id) == [result]


def test_the_terminal_prints_them(run: RunFiles, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verb = ["benchmark", run.id, "--tasks", "yes_or_no", "--limit", "6", "--include", str(own)]
    assert cli.main([*verb, "--home", str(store_of(run).home)]) == 0
    assert "yes_or_no" in capsys.readouterr().out


def test_what_is_no_task_is_named_with_the_nearest(run: RunFiles) -> None:
    with pytest.raises(StudioError, match="has no task arc_esy") as refused:
        benchmarks.measure(store_of(run), Asked(run.id, ["arc_esy"]))
    assert "arc_easy" in refused.value.remedy
    with pytest.raises(StudioError, match="at least one task"):
        Asked(run.id, [" "])
    with pytest.raises(StudioError, match="has no tasks for lm-evaluation-harness"):
        benchmarks.measure(store_of(run), Asked(run.id, ["arc_easy"], include=str(run.folder)))
