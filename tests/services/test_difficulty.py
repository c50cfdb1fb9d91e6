from __future__ import annotations

import json
from pathlib import Path

from studio import cli
from studio.engine.dataset import read
from studio.services import difficulty
from studio.services.store import Store
from tests.engine.test_self_written import KNOWN, taught
from tests.tiny import tiny_model


def test_the_command_line_and_a_task_find_the_same_rows_whose_prompt_does_not_help(
    tmp_path: Path, capsys: object
) -> None:
    store = Store(tmp_path / "home")
    taught(tiny_model(store.models_dir / "tiny", initializer_range=0.02))
    answers = list(KNOWN.values())
    rows = [*KNOWN.items(), *zip(KNOWN, [*answers[1:], answers[0]], strict=True)]
    file = tmp_path / "rows.jsonl"
    lines = [json.dumps({"prompt": prompt, "response": response}) for prompt, response in rows]
    file.write_text("\n".join(lines), encoding="utf-8")

    request = {"file": str(file), "model": "tiny", "revision": None, "template": {}}
    request |= {"dataset": "", "reading": {}}
    found = difficulty.run(store, request, lambda phase, done, total: None)
    true, shuffled = list(found["ratios"].values())[:4], list(found["ratios"].values())[4:]
    assert max(true) < min(shuffled)
    assert {row for item in found["findings"] for row in item["rows"]} <= {5, 6, 7, 8}

    options = ["data", "check", str(file), "--difficulty", "--model", "tiny", "--json", "--home"]
    assert cli.main([*options, str(store.home)]) == 0
    said = json.loads(capsys.readouterr().out)  # type: ignore[attr-defined]
    assert said["difficulty"] == {str(row): ratio for row, ratio in found["ratios"].items()}


def test_what_was_measured_of_a_dataset_is_known_of_its_rows_whatever_becomes_of_others(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "home")
    taught(tiny_model(store.models_dir / "tiny", initializer_range=0.02))
    answers = list(KNOWN.values())
    rows = zip(KNOWN, [*answers[1:], answers[0]], strict=True)
    lines = [json.dumps({"prompt": prompt, "response": response}) for prompt, response in rows]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    entry = store.save_dataset(tmp_path / "rows.jsonl")
    conversations = read(entry.path).conversations
    assert difficulty.known(store, entry.id, conversations) == []

    request = {"file": str(entry.path), "model": "tiny", "revision": None, "template": {}, "reading": {}}
    done = difficulty.run(store, {**request, "dataset": entry.id}, lambda phase, done, total: None)
    assert [item.to_record() for item in difficulty.known(store, entry.id, conversations)] == done["findings"]
    flagged = done["findings"][0]["rows"]
    (found,) = difficulty.known(store, entry.id, conversations[flagged[0] - 1 :])
    assert list(found.rows) == flagged
    edited = [row.with_contents([row.prompt, "Another."]) for row in conversations]
    assert difficulty.known(store, entry.id, edited) == []
