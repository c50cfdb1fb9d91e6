"""The shipped general instruction set keeps the promises of its README, and what it says it was verified by holds."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from itertools import permutations
from math import gcd
from pathlib import Path
from typing import Any

import pytest

from studio.engine import dataset
from studio.engine.checks import CHECKS, run_checks

GENERAL = Path(__file__).parents[1] / "assets" / "general"
ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in (GENERAL / "general.jsonl").read_text(encoding="utf-8").splitlines()
]
BY_ID = {row["id"]: row for row in ROWS}
PROOFS: dict[str, list[dict[str, Any]]] = json.loads((GENERAL / "proofs.json").read_text(encoding="utf-8"))
DATA = dataset.read(GENERAL / "general.jsonl")
GAUGE = [number for number, row in enumerate(ROWS, 1) if row["split"] == "gauge"]


def said(row: dict[str, Any], role: str) -> list[str]:
    return [message["content"] for message in row["messages"] if message["role"] == role]


def block(text: str) -> str:
    """The first fenced block of an answer."""
    found = re.search(r"```\w*\n(.*?)```", text, re.DOTALL)
    assert found, text
    return found.group(1)


# ---- make-up --------------------------------------------------------------------------------------------------------


def test_there_are_enough_rows_tasks_and_both_languages() -> None:
    languages = Counter(row["language"] for row in ROWS)
    tasks = Counter(row["task"] for row in ROWS)
    assert len(ROWS) >= 440
    assert len(tasks) >= 12
    assert min(tasks.values()) >= 15
    assert set(languages) == {"en", "zh"}
    assert 0.35 <= languages["zh"] / len(ROWS) <= 0.45
    assert set(Counter((row["task"], row["language"]) for row in ROWS)) == {
        (task, language) for task in tasks for language in languages
    }


def test_every_row_has_the_same_fields_and_an_id_of_its_own() -> None:
    assert {tuple(row) for row in ROWS} == {("id", "task", "language", "split", "verified", "messages")}
    assert len(BY_ID) == len(ROWS)


def test_turns_alternate_and_each_says_something_without_space_around_it() -> None:
    for row in ROWS:
        roles = [message["role"] for message in row["messages"]]
        turns = roles[1:] if roles[0] == "system" else roles
        assert turns == ["user", "assistant"] * (len(turns) // 2), row["id"]
        assert 1 <= len(turns) // 2 <= 4, row["id"]
        assert all(m["content"] and m["content"] == m["content"].strip() for m in row["messages"]), row["id"]


def test_rows_come_with_and_without_a_system_message_and_in_one_to_four_turns() -> None:
    with_system = sum(bool(said(row, "system")) for row in ROWS)
    assert 0.15 <= with_system / len(ROWS) <= 0.5
    assert set(Counter(len(said(row, "user")) for row in ROWS)) == {1, 2, 3, 4}


def test_the_language_is_the_one_that_is_spoken() -> None:
    for row in ROWS:
        if row["task"] != "translation":
            asked = re.sub(r"```.*?```|`[^`]*`", "", said(row, "user")[0], flags=re.DOTALL)
            chinese = len(re.findall(r"[\u4e00-\u9fff]", asked))
            assert (3 * chinese > len(re.findall("[a-z]", asked))) == (row["language"] == "zh"), row["id"]


def test_prompts_are_unique_and_answers_repeat_only_where_they_are_labels() -> None:
    prompts = [said(row, "user")[0].casefold() for row in ROWS]
    assert len(set(prompts)) == len(ROWS)
    answers = Counter(said(row, "assistant")[-1] for row in ROWS)
    assert [text for text, count in answers.items() if count > 1] == []


def test_the_gauge_has_every_task_in_both_languages() -> None:
    gauge = [row for row in ROWS if row["split"] == "gauge"]
    assert {row["split"] for row in ROWS} == {"gauge", "train"}
    assert 44 <= len(gauge) <= 52
    assert {(row["task"], row["language"]) for row in gauge} == {
        (row["task"], row["language"]) for row in ROWS
    }


def test_the_readme_counts_what_is_there() -> None:
    readme = (GENERAL / "README.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \|.*\| (\d+) \| (\d+) \|$", readme, re.MULTILINE)
    counts = Counter((row["task"], row["language"]) for row in ROWS)
    assert {task: (int(en), int(zh)) for task, en, zh in told} == {
        task: (counts[task, "en"], counts[task, "zh"]) for task, _ in counts
    }
    assert f"{len(ROWS)} rows" in readme
    assert f"{len(GAUGE)} of them" in readme


# ---- the studio's own checklist -------------------------------------------------------------------------------------


def test_the_file_is_read_whole_and_its_further_columns_are_let_pass() -> None:
    assert DATA.format == "messages"
    assert DATA.total == len(DATA.conversations) == len(ROWS)
    assert DATA.findings == []


def test_the_checklist_finds_no_error_and_no_warning() -> None:
    report = run_checks(DATA.conversations, findings=DATA.findings)
    grave = [f for f in report.findings if f.severity in ("error", "warning")]
    assert [(f.check, f.rows, str(f.text)) for f in grave] == []


def test_no_row_is_nearly_the_same_as_another_so_none_of_the_gauge_is_trained_on() -> None:
    assert CHECKS["duplicate_exact"].findings(DATA.conversations) == []
    assert CHECKS["duplicate_near"].findings(DATA.conversations) == []


# ---- what was verified ----------------------------------------------------------------------------------------------


def cases(kind: str) -> list[Any]:
    found = [(name, proof) for name, proofs in PROOFS.items() for proof in proofs if proof["kind"] == kind]
    assert found, kind
    return [
        pytest.param(answer_of(name, proof), proof, id=f"{name}-{proof['answer']}") for name, proof in found
    ]


def answer_of(name: str, proof: dict[str, Any]) -> str:
    return said(BY_ID[name], "assistant")[proof["answer"] - 1]


def test_a_row_says_by_what_it_was_verified() -> None:
    told = {row["id"]: row["verified"] for row in ROWS if row["verified"]}
    assert told == {name: ",".join(sorted({p["kind"] for p in proofs})) for name, proofs in PROOFS.items()}


def test_a_coding_answer_with_code_is_run() -> None:
    for row in ROWS:
        if row["task"] == "coding" and any(
            re.search(r"```(python|sql|bash|regex)\n", a) for a in said(row, "assistant")
        ):
            assert row["verified"], row["id"]


@pytest.mark.parametrize(("answer", "proof"), cases("sum"))
def test_the_result_of_a_calculation_is_right(answer: str, proof: dict[str, Any]) -> None:
    known = {"Fraction": Fraction, "permutations": permutations, "gcd": gcd}
    result = str(eval(proof["expression"], known))
    assert re.search(rf"(?<![\d.]){re.escape(result)}(?!\d)", proof["says"]), result
    assert proof["says"] in answer


_NUMBER = r"\d[\d,]*(?:\.\d+)?"


def equations(text: str) -> list[str]:
    """Chains such as '3 × (2 + 1) = 9' that hold nothing but numbers."""
    plain = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    parts = re.split(r"[^\d\s.,+−×÷/()%=a-z]|\n|,(?!\d{3})|\.(?!\d)|[a-z]{2,}", plain)
    chains = [part.strip() for part in parts if "=" in part and not re.search(r"[a-z]", part)]
    whole = [
        c if all(side.count("(") == side.count(")") for side in c.split("=")) else c.strip("() ")
        for c in chains
    ]
    return [c for c in whole if all(map(is_sum, c.split("=")))]


def is_sum(text: str) -> bool:
    term = rf"\(*{_NUMBER}\)*\s?%?\)*"
    return bool(re.fullmatch(rf"\s*{term}(?:\s*[+−×÷/]\s*{term})*\s*", text))


def value(text: str) -> Fraction:
    for written, meant in {"−": "-", "×": "*", "÷": "/", "%": "/100", ",": ""}.items():
        text = text.replace(written, meant)
    result = eval(
        re.sub(r"\d+(?:\.\d+)?", lambda m: f"Fraction('{m.group()}')", text.strip()), {"Fraction": Fraction}
    )
    assert isinstance(result, Fraction)
    return result


def test_equations_are_found_and_told_from_algebra() -> None:
    assert equations("So 2x + 6 = 5x − 9. Then 9.00 ÷ 0.75 = 12.00 (and 3/4 = 9/12), 1,000 × 2 = 2,000.") == [
        "9.00 ÷ 0.75 = 12.00",
        "3/4 = 9/12",
        "1,000 × 2 = 2,000",
    ]


def test_every_equation_in_every_answer_is_right() -> None:
    checked = 0
    for row in ROWS:
        for chain in (chain for answer in said(row, "assistant") for chain in equations(answer)):
            assert len({value(side) for side in chain.split("=")}) == 1, (row["id"], chain)
            checked += 1
    assert checked > 80


@pytest.mark.parametrize(("answer", "proof"), cases("json"))
def test_the_json_is_valid_and_says_what_it_should(answer: str, proof: dict[str, Any]) -> None:
    assert json.loads(answer) == proof["expected"]


def test_an_answer_that_looks_like_json_is_valid() -> None:
    for row in ROWS:
        for answer in said(row, "assistant"):
            if answer[:1] in ("{", "["):
                json.loads(answer)


def run(command: list[str], folder: Path, script: str) -> str:
    done = subprocess.run(
        command,
        input=script,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(folder)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("answer", "proof"), cases("python"))
def test_the_python_runs_and_does_what_it_should(answer: str, proof: dict[str, Any], tmp_path: Path) -> None:
    for name, content in proof.get("files", {}).items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    script = "\n".join((proof.get("before", ""), block(answer), proof["check"]))
    printed = run([sys.executable, "-I", "-W", "ignore::ResourceWarning", "-"], tmp_path, script)
    assert printed == proof.get("stdout", printed)


@pytest.mark.parametrize(("answer", "proof"), cases("sql"))
def test_the_query_gives_the_rows_it_should(answer: str, proof: dict[str, Any]) -> None:
    database = sqlite3.connect(":memory:")
    database.executescript(proof["setup"])
    rows = [list(row) for row in database.execute(block(answer))]
    database.close()
    assert sorted(rows) == sorted(proof["rows"])
    assert rows == proof["rows"] or proof.get("unordered")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the answers are for GNU tools")
@pytest.mark.parametrize(("answer", "proof"), cases("shell"))
def test_the_command_does_what_it_should(answer: str, proof: dict[str, Any], tmp_path: Path) -> None:
    if "git " in proof["setup"] and not shutil.which("git"):
        pytest.skip("needs git")
    script = "\n".join((proof["setup"], block(answer), proof.get("after", "")))
    printed = run(["bash"], tmp_path, script)
    if "stdout_re" in proof:
        assert re.fullmatch(proof["stdout_re"], printed)
    else:
        assert printed == proof["stdout"]


@pytest.mark.parametrize(("answer", "proof"), cases("regex"))
def test_the_pattern_matches_what_it_should(answer: str, proof: dict[str, Any]) -> None:
    asked = " ".join(text for row in ROWS for text in said(row, "user"))
    assert proof["pattern"] in answer or proof["pattern"] in asked
    for text in proof["match"]:
        assert re.search(proof["pattern"], text), text
    for text in proof["reject"]:
        assert not re.search(proof["pattern"], text), text


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
@pytest.mark.parametrize(("answer", "proof"), cases("javascript"))
def test_the_javascript_prints_what_it_should(answer: str, proof: dict[str, Any], tmp_path: Path) -> None:
    assert run([str(shutil.which("node")), "-"], tmp_path, block(answer)).startswith(proof["stdout"])


@pytest.mark.parametrize(("answer", "proof"), cases("search"))
def test_the_only_solution_of_a_puzzle_is_the_one_given(answer: str, proof: dict[str, Any]) -> None:
    exec(proof["code"], {})
