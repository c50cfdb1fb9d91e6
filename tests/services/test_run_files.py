from __future__ import annotations

from pathlib import Path

from studio.domain.chat import Conversation, Message
from studio.services.run_files import RunFiles


def test_the_rows_of_a_run_come_back_with_their_numbers_and_what_is_not_trained(tmp_path: Path) -> None:
    rows = [
        Conversation((Message("user", "q"), Message("assistant", "a", trained=False)), 3),
        Conversation((Message("user", "q"), Message("assistant", "a")), 7),
    ]
    files = RunFiles(tmp_path)
    files.write_data(rows, rows[1:])
    assert (files.train_rows(), files.held_out_rows()) == (rows, rows[1:])
