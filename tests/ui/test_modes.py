from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from studio.domain.config import parse_config
from studio.services.store import Store
from studio.ui import modes
from studio.ui.i18n import words
from studio.ui.page import SELF, Draft

EN = words("en")
SHARE, ADAPTER = modes.SHARE, modes.ADAPTER


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def saved(store: Store, folder: Path, name: str, count: int) -> str:
    file = folder / name
    lines = [json.dumps({"prompt": f"{name} {n}?", "response": f"answer {n}"}) for n in range(count)]
    file.write_text("\n".join(lines), encoding="utf-8")
    return store.save_dataset(file).id


@pytest.mark.parametrize("mode", ["domain", "general", "mixed"])
def test_a_mode_that_is_chosen_is_the_mode_of_its_settings(mode: str) -> None:
    before = Draft("rows", {SHARE: 0.2, ADAPTER: "run", "train.epochs": 2})
    after = modes.with_mode(before, mode)
    assert modes.mode_of(after) == mode
    assert after.values.get(ADAPTER) is None
    assert after.values["train.epochs"] == 2


def test_mixed_begins_at_the_recommended_share_and_keeps_one_that_was_chosen() -> None:
    assert modes.with_mode(Draft("rows", {SHARE: 0.0}), "mixed").values == {SHARE: 0.1}
    assert modes.with_mode(Draft("rows", {SHARE: 0.3}), "mixed").values == {SHARE: 0.3}
    assert modes.with_mode(Draft("rows", {SHARE: 0.3}), "domain").values == {SHARE: 0.0}


def test_rows_that_teach_one_field_are_mixed_unless_something_else_is_chosen() -> None:
    assert Draft("rows").general_share == 0.1
    assert Draft("rows", broad=True).general_share == 0
    assert Draft("rows", {ADAPTER: "run"}).general_share == 0.1
    assert Draft("rows", {ADAPTER: "run", SHARE: 0.05}).general_share == 0.05


def test_continual_keeps_the_general_rows_of_the_default() -> None:
    assert modes.with_mode(Draft("rows"), "continual").general_share == 0.1
    assert modes.with_mode(Draft("rows", {SHARE: 0.0}), "continual").general_share == 0


def test_continual_takes_the_base_model_of_the_run_and_keeps_the_general_rows() -> None:
    config = parse_config({"data": {"path": "x"}, "model": {"id": "other/model", "revision": "abc"}})
    draft = modes.continuing(Draft("rows", {SHARE: 0.05}, broad=True), "20260101-x", config)
    assert draft.values == {
        SHARE: 0.05, ADAPTER: "20260101-x", "model.id": "other/model", "model.revision": "abc",
    }  # fmt: skip
    assert modes.mode_of(draft) == "continual"
    starter = modes.continuing(draft, "20260102-y", parse_config({"data": {"path": "x"}}))
    assert starter.values == {SHARE: 0.05, ADAPTER: "20260102-y"}


def test_what_a_mixture_comes_to_is_said_with_its_counts(store: Store, tmp_path: Path) -> None:
    own, other = saved(store, tmp_path, "own.jsonl", 30), saved(store, tmp_path, "other.jsonl", 2)
    draft = Draft(own, {SHARE: 0.1}, general=other)
    said = modes.consequences(EN, store, draft)
    assert "2 rows of other.jsonl beside your 27: 6.9 % of what is learnt" in said
    assert "other.jsonl has 2 general rows" in said.replace(store.dataset(other).path.name, "other.jsonl")
    assert modes.consequences(EN, store, Draft(own, {SHARE: 0.0})) == ""


def test_what_stands_in_the_way_of_a_mode_is_said(store: Store, tmp_path: Path) -> None:
    own = saved(store, tmp_path, "own.jsonl", 30)
    gone = Draft(own, {ADAPTER: "20260101-gone"})
    assert "There is no run 20260101-gone" in modes.consequences(EN, store, gone)
    by_itself = replace(gone.with_value(SHARE, 0.1), general=SELF)
    assert "There is no run 20260101-gone" in modes.consequences(EN, store, by_itself)
