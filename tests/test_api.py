"""The public names of the package, as a notebook uses them."""

from __future__ import annotations

from pathlib import Path

import pytest

import studio
from tests.tiny import tiny_model

ROWS = "".join(f'{{"prompt": "Hi {number}", "completion": "Hello."}}\n' for number in range(10))


def test_every_public_name_is_there() -> None:
    assert [name for name in studio.__all__ if getattr(studio, name, None) is None] == []
    assert dir(studio) == sorted(studio.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = studio.trian


def test_a_file_is_read_checked_previewed_and_planned_without_a_page(tmp_path: Path) -> None:
    store = studio.Store(tmp_path / "home")
    tiny_model(store.models_dir / "tiny")
    file = tmp_path / "rows.jsonl"
    file.write_text(ROWS, encoding="utf-8")
    rows = studio.read(str(file)).conversations
    assert [message.content for message in rows[0].messages] == ["Hi 0", "Hello."]
    assert studio.run_checks(rows).scores["accuracy"] == 100
    shown = studio.preview_row(store, str(file), 1, model="tiny")
    assert "".join(text for _, text, trained in shown.tokens if trained) == "Hello.<|im_end|>"
    config = studio.parse_config({"model": {"id": "tiny"}, "data": {"path": str(file)}})
    assert studio.plan(store, config).rows == 9  # one in ten is held out
    with pytest.raises(studio.StudioError, match="There is no run nothing"):
        studio.Jobs(store).get("nothing")
