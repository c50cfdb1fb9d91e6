from __future__ import annotations

from pathlib import Path

from studio.engine.reference import reference

PAGE = Path(__file__).parent.parent.parent / "docs" / "settings.md"


def test_the_settings_page_is_what_the_classes_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference()
