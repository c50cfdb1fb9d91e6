"""Writes a home as this version of the studio keeps it: python -m tests.homes FILE.zip

Run at a release whose files have another schema than those of the one before, and keep what it writes in
tests/older_homes/: later versions have to open it (`tests/services/test_older_homes.py`).
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from studio.domain.answer import Answer
from studio.domain.talk import Talk, Turn
from studio.engine.dataset import read
from studio.engine.row_changes import repairs
from studio.services import history, talks
from studio.services.accounts import Accounts
from studio.services.store import Store
from tests.runs import finished_run, with_checkpoint

ROWS = [("Which way is north?", "Up, on most maps. "), ("And south?", "Down."), ("East?", "")]


def write(home: Path) -> None:
    """A repaired dataset, a finished run with a checkpoint, a conversation, and a user beside the administrator."""
    store = Store(home)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "rows.jsonl"
        lines = [json.dumps({"prompt": prompt, "response": response}) for prompt, response in ROWS]
        file.write_text("\n".join(lines), encoding="utf-8")
        entry = store.save_dataset(file)
    found = read(entry.path)
    made = repairs(found.conversations, ["whitespace"])
    history.take(
        store, entry, "repair", made, found.conversations, findings=found.findings, checks=["whitespace"]
    )
    run = with_checkpoint(finished_run(store), 2)
    shutil.rmtree(run.folder / "base")  # of no use elsewhere, and large
    answers = {"base": Answer("Left.", stop_reason="end"), "tuned": Answer("Up.", stop_reason="end")}
    talks.save(store, Talk(run.id).with_turn(Turn("Which way is north?", answers=answers)))
    accounts = Accounts(store)
    accounts.add("ada", "a password of ada's")
    accounts.add("ben", "a password of ben's")
    accounts.store_of(accounts.named("ben"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "home")
        shutil.make_archive(sys.argv[1].removesuffix(".zip"), "zip", Path(folder) / "home")
