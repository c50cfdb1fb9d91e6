from __future__ import annotations

import json
from pathlib import Path

from studio.domain.text import Text
from studio.engine.records import Quarantined
from studio.services import mappings, uploads
from studio.services.quarantine import write_quarantined
from studio.services.store import Store
from studio.ui import reading_panel
from studio.ui.i18n import words
from studio.ui.page import Draft

SAY = words("en")


def offered(path: Path, **said: str) -> dict[str, list[str]]:
    found = uploads.glance(path, said).read_as
    choices = reading_panel.choices(SAY, found, said)
    return {name: [label for label, _ in given] for name, given in choices.items() if len(given) > 1}


def test_what_was_recognised_is_the_first_choice(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_bytes("prompt;response\n谢谢你的帮助;不客气，祝你愉快。\n".encode("gb18030"))
    choices = offered(table)
    assert choices.keys() == {"encoding", "delimiter", "header"}
    assert choices["encoding"][0] == "GBK / GB18030 (Chinese) (recognised)"
    assert choices["delimiter"][0] == "; (recognised)"
    assert offered(table, encoding="gb18030")["encoding"][0] == "Recognise by itself"


def test_only_what_applies_to_a_file_can_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One.\n\nTwo.\n", encoding="utf-8")
    assert offered(tmp_path / "a.txt").keys() == {"encoding", "delimiter", "texts"}
    for split in ("train", "test"):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / f"{split}.jsonl").write_text('{"prompt": "q", "response": "a"}', encoding="utf-8")
    assert offered(tmp_path / "set")["split"] == ["Recognise by itself", "All", "test", "train"]


def test_a_choice_goes_into_the_draft_and_out_of_it() -> None:
    draft = reading_panel.said(Draft("a"), ["gb18030", None, None, None, "", None])
    assert draft.values == {"data.read_as": {"encoding": "gb18030"}}
    assert reading_panel.said(draft, [""] * 6) == Draft("a")


def test_a_mapping_is_known_for_the_same_columns_only(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    mappings.remember(store, ["poem", "topic"], {"prompt": "topic", "response": "poem"})
    mappings.remember(store, ["topic", "poem"], {"prompt": "poem", "response": "topic"})
    assert mappings.remembered(store, ["topic", "poem"]) == {"prompt": "poem", "response": "topic"}
    assert mappings.remembered(store, ["topic", "poem", "year"]) is None


def test_quarantined_records_are_written_with_their_place_and_text(tmp_path: Path) -> None:
    record = Quarantined("a.jsonl", 2, 5, Text("Row {row} is odd.", {"row": 2}), '{"a": \n', 2)
    write_quarantined(tmp_path / "out.jsonl", [record])
    (line,) = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {
        "file": "a.jsonl",
        "line": 2,
        "column": 5,
        "reason": "Row 2 is odd.",
        "text": '{"a": \n',
    }
