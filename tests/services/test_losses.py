"""Losses in this process, and those that are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.domain.encoded import IGNORED, Encoded
from studio.domain.errors import StudioError
from studio.engine.token_losses import TokenLosses, token_losses
from studio.engine.tuned import load_alone
from studio.services.losses import KeptLosses, preview_losses
from studio.services.store import Store
from tests.tiny import tiny_model

ROW = Encoded(tuple(range(10, 50)), (*[IGNORED] * 20, *range(30, 50)), (), "")


def losses(count: int) -> TokenLosses:
    return {"base": [0.5] * count, "tuned": [0.25] * count}


def test_a_base_model_is_measured_in_the_number_format_recommended_here(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = tiny_model(store.models_dir / "tiny")
    flops = store.machine().flops
    dtype = "bfloat16" if flops["bfloat16"] > flops["float32"] else "float32"
    measured = preview_losses(store, ROW, model="tiny")
    alone = load_alone(folder, dtype)
    assert measured == token_losses(alone, ROW.input_ids, ROW.labels)


def test_progress_names_its_phases_and_ends_at_100_percent(tmp_path: Path) -> None:
    store = Store(tmp_path)
    tiny_model(store.models_dir / "tiny")
    said: list[tuple[str, float, float]] = []
    preview_losses(store, ROW, model="tiny", progress=lambda *now: said.append(now))
    assert said[0] == ("loading", 0, 0)
    assert said[1:] == [("measuring", done, 100) for done in (0, 45, 90, 100)]


def test_without_a_model_it_is_the_starter(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="The starter model is not prepared yet"):
        preview_losses(Store(tmp_path), ROW)


def test_what_was_looked_at_longest_ago_makes_room() -> None:
    kept = KeptLosses(room=40)
    kept.put(b"first", losses(10))
    kept.put(b"second", losses(10))
    assert kept.get(b"first") == losses(10)
    kept.put(b"third", losses(5))
    assert kept.get(b"second") is None
    assert kept.get(b"first") == losses(10)
    kept.put(b"third", losses(10))
    assert kept.get(b"first") == losses(10)


def test_a_row_larger_than_the_room_is_not_kept() -> None:
    kept = KeptLosses(room=40)
    kept.put(b"huge", losses(100))
    assert kept.get(b"huge") is None
    kept.put(b"small", losses(20))
    assert kept.get(b"small") == losses(20)
