"""The report, its scores, and cleaning: on the sample with known faults, and on the good ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from studio.domain.chat import Conversation, Message
from studio.domain.errors import StudioError
from studio.domain.finding import DIMENSIONS, finding
from studio.engine.checks import CHECKS, clean, run_checks, score
from studio.engine.dataset import read

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "assets" / "samples"


def row(number: int, prompt: str, response: str) -> Conversation:
    return Conversation((Message("user", prompt), Message("assistant", response)), number)


def test_every_fault_of_the_dirty_sample_is_found_and_nothing_else() -> None:
    expected = json.loads((SAMPLES / "dirty.expected.json").read_text(encoding="utf-8"))
    expected.pop("too_long")  # counted in tokens, with the model's tokenizer
    dataset = read(SAMPLES / "dirty.jsonl")
    found: dict[str, list[int]] = {}
    for item in run_checks(dataset.conversations, findings=dataset.findings).findings:
        found.setdefault(item.check, []).extend(item.rows)
    assert found == expected


@pytest.mark.parametrize("name", ["support-train", "support-heldout", "general"])
def test_the_good_samples_are_clean(name: str) -> None:
    report = run_checks(read(SAMPLES / f"{name}.jsonl").conversations)
    assert report.findings == []
    assert report.scores == dict.fromkeys(DIMENSIONS, 100.0)


def test_a_row_costs_its_gravest_finding_once() -> None:
    findings = [
        finding("a", "safety", "info", [1, 2], "m", "r"),
        finding("b", "safety", "error", [2], "m", "r"),
        finding("c", "safety", "warning", [2, 3], "m", "r"),
        finding("d", "accuracy", "error", [4], "m", "r"),
    ]
    assert score(findings, "safety", 10) == 84.0  # 100 x (1 - (0.1 + 1.0 + 0.5) / 10)
    assert score(findings, "accuracy", 10) == 90.0
    assert score(findings, "diversity", 10) == 100.0
    assert score([], "safety", 0) == 100.0


def test_at_least_ten_checks_with_a_repair_cover_the_five_dimensions() -> None:
    assert {check.dimension for check in CHECKS.values() if check.fixable} == set(DIMENSIONS)
    assert sum(check.fixable for check in CHECKS.values()) >= 10


def test_cleaning_all_leaves_nothing_to_repair() -> None:
    cleaned = clean(read(SAMPLES / "dirty.jsonl").conversations, ["all"])
    assert [item for item in run_checks(cleaned.conversations).findings if item.fixable] == []
    again = clean(cleaned.conversations, ["all"])
    assert (again.conversations, again.changes) == (cleaned.conversations, [])


def test_cleaning_says_what_it_did_to_which_row() -> None:
    rows = [row(4, "q", " cafÃ© "), row(7, "Why?", ""), row(9, "q", "café")]
    cleaned = clean(rows, ["all"])
    assert cleaned.conversations == [row(4, "q", "café")]
    assert [(change.row, change.check, change.action) for change in cleaned.changes] == [
        (4, "mojibake", "changed"),
        (4, "whitespace", "changed"),
        (7, "empty_response", "dropped"),
        (9, "duplicate_exact", "dropped"),
    ]
    assert (cleaned.changes[0].before, cleaned.changes[0].after) == (
        "user: q\nassistant:  cafÃ© ",
        "user: q\nassistant:  café ",
    )
    assert (cleaned.changed, cleaned.dropped) == (1, 2)


def test_only_the_chosen_repairs_are_made() -> None:
    rows = [row(1, "q", "a "), row(2, "q2", "")]
    assert clean(rows, ["whitespace"]).conversations == [row(1, "q", "a"), row(2, "q2", "")]
    assert clean(rows, []).conversations == rows


def test_unknown_checks_are_refused_with_the_nearest() -> None:
    with pytest.raises(StudioError) as caught:
        clean([], ["whitespaces"])
    assert str(caught.value) == "There is no check whitespaces. Did you mean whitespace?"
    with pytest.raises(StudioError, match="The check length_outlier has no repair"):
        clean([], ["length_outlier"])


def test_findings_of_the_file_come_first_and_are_not_scored() -> None:
    about_file = finding("missing_field", "file", "error", [1], "m", "r")
    report = run_checks([row(2, "q", "a")], findings=[about_file])
    assert report.findings == [about_file]
    assert set(report.scores.values()) == {100.0}


def test_conversations_without_a_file_are_numbered_from_one() -> None:
    (found,) = run_checks([row(0, "q", "a"), row(0, "q2", "")]).findings
    assert (found.check, found.rows) == ("empty_response", (2,))


def test_a_huge_row_does_not_take_long() -> None:
    import time

    start = time.perf_counter()
    run_checks([row(1, "Tell me all.", "word, " * 20_000), row(2, "{{A " * 5_000, "<a " * 30_000)])
    assert time.perf_counter() - start < 10


def test_every_other_finding_is_documented() -> None:
    page = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    sources = (ROOT / "studio").rglob("*.py")
    named = {
        name
        for file in sources
        for name in re.findall(r"\bfinding\(\s*\"(\w+)\"", file.read_text(encoding="utf-8"))
    }
    assert len(named) > 20
    assert sorted(name for name in named if f"`{name}`" not in page) == []


def test_every_check_is_documented() -> None:
    text = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    for check in CHECKS.values():
        for part in (
            f"`{check.id}`",
            check.title,
            check.why,
            check.blind_spots,
            check.fix_title,
            check.source,
        ):
            assert part.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|") in text, (
                f"docs/checks.md lacks {part!r} of {check.id}"
            )
