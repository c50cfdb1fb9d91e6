from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from studio.domain.config import TemplateConfig, parse_config
from studio.domain.errors import StudioError
from studio.engine import dataset
from studio.services import self_writing, tasks
from studio.services.mixture import mixture_of, origin_of
from studio.services.plan import load_data
from studio.services.store import Store
from tests.engine.test_self_written import taught
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def taught_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return taught(tiny_model(tmp_path_factory.mktemp("model"), initializer_range=0.02))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, taught_model: Path) -> Store:
    """One for all, as a home looks at its machine once, and that takes its time."""
    store = Store(tmp_path_factory.mktemp("home"))
    shutil.copytree(taught_model, store.models_dir / "tiny")
    return store


def over(store: Store, task: str) -> tasks.TaskStatus:
    for _ in range(600):
        status = tasks.status(store, task)
        if status.state != "running":
            return status
        time.sleep(0.1)
    raise AssertionError("the task does not come to an end")


def test_a_model_writes_a_dataset_in_a_process_of_its_own_and_a_run_records_where_it_is_from(
    store: Store, tmp_path: Path
) -> None:
    status = over(store, self_writing.start(store, "tiny", 2, template=TemplateConfig()))
    assert status.error is None
    assert status.result is not None
    entry = store.dataset(status.result["dataset"])
    assert len(dataset.read(entry.path).conversations) == status.result["kept"] == 2
    origin = origin_of(entry.path)
    assert origin is not None
    assert origin["model"]["id"] == "tiny"
    assert set(origin["model"]["sha256"]) == {"model.safetensors"}
    assert (origin["sampling"]["seed"], origin["counts"]["asked"]) == (0, 2)

    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps({"prompt": f"{n}?", "response": f"{n}!"}) + "\n" for n in range(20)))
    config = parse_config({
        "data": {"path": str(own), "general_path": str(entry.path), "general_share": 0.1, "held_out_share": 0},
    })  # fmt: skip
    mixture = mixture_of(config, load_data(store, config).train)
    assert (mixture["own"], mixture["general"], mixture["share"]) == (20, 2, 0.1)
    assert (mixture["source"], mixture["origin"]) == (str(entry.path), origin)


def test_what_cannot_be_written_is_said_before_a_process_starts(store: Store) -> None:
    with pytest.raises(StudioError, match="0 rows cannot be written"):
        self_writing.start(store, "tiny", 0, template=TemplateConfig())
    bare = TemplateConfig(
        name="custom", source="{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    )
    with pytest.raises(StudioError, match="nothing opens a user's turn"):
        self_writing.start(store, "tiny", 5, template=bare)
    assert tasks.running(store, "write") is None


def test_a_task_that_is_cancelled_is_stopped_and_leaves_no_dataset(store: Store) -> None:
    before = store.datasets()
    task = self_writing.start(store, "tiny", 5000, template=TemplateConfig())
    assert tasks.running(store, "write") is not None
    scratch = store.home / "tasks" / task / "scratch"
    while not scratch.is_dir():
        time.sleep(0.05)
    tasks.cancel(store, task)
    assert tasks.status(store, task).state == "stopped"
    assert not scratch.exists()
    assert store.datasets() == before


def test_a_failure_in_the_process_is_told_in_its_words(store: Store) -> None:
    task = tasks.start(store, "write", {
        "model": "gone", "revision": None, "template": {}, "rows": 2, "seed": 0,
    })  # fmt: skip
    status = over(store, task)
    assert status.state == "failed"
    assert "gone" in str(status.error)
