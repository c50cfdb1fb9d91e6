from __future__ import annotations

import json
from pathlib import Path

from studio import cli
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

    request = {"file": str(file), "model": "tiny", "revision": None, "template": {}, "reading": {}}
    found = difficulty.run(store, request, lambda phase, done, total: None)
    true, shuffled = list(found["ratios"].values())[:4], list(found["ratios"].values())[4:]
    assert max(true) < min(shuffled)
    assert {row for item in found["findings"] for row in item["rows"]} <= {5, 6, 7, 8}

    options = ["data", "check", str(file), "--difficulty", "--model", "tiny", "--json", "--home"]
    assert cli.main([*options, str(store.home)]) == 0
    said = json.loads(capsys.readouterr().out)  # type: ignore[attr-defined]
    assert said["difficulty"] == {str(row): ratio for row, ratio in found["ratios"].items()}
