from __future__ import annotations

import json
from datetime import date, datetime, timezone
from pathlib import Path

from studio.domain.chat import Conversation, Message
from studio.domain.config import parse_config
from studio.services.run_files import RunFiles


def test_the_rows_of_a_run_come_back_with_their_numbers_and_what_is_not_trained(tmp_path: Path) -> None:
    rows = [
        Conversation((Message("user", "q"), Message("assistant", "a", trained=False)), 3),
        Conversation((Message("user", "q"), Message("assistant", "a")), 7),
    ]
    files = RunFiles(tmp_path)
    files.write_data(rows, rows[1:])
    assert (files.train_rows(), files.held_out_rows()) == (rows, rows[1:])


def test_a_run_knows_the_day_on_which_it_was_submitted(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    files.write_run(parse_config({"data": {"path": "rows.jsonl"}}), "run")
    written = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    at_noon = datetime(2024, 7, 26, 12).astimezone()
    written["created"] = at_noon.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    (tmp_path / "run.json").write_text(json.dumps(written), encoding="utf-8")
    assert files.submitted_on() == date(2024, 7, 26)
