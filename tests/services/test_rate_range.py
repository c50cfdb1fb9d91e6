"""The range test from a configuration to a suggested rate: in this process, as a task, and in the terminal."""

from __future__ import annotations

import json
import time

import pytest
from filelock import FileLock

from studio import cli
from studio.domain.config import RunConfig, parse_config
from studio.domain.errors import StudioError
from studio.services import rate_range, tasks
from studio.services.store import Store
from tests.tiny import tiny_model


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("home"))
    tiny_model(store.models_dir / "tiny")
    return store


@pytest.fixture
def config(store: Store) -> RunConfig:
    rows = [{"prompt": f"Question {n}?", "completion": f"Answer {n}."} for n in range(12)]
    file = store.home / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    train = {"method": "lora", "batch_size": 4, "rank": 4, "dtype": "float32", "max_length": 512}
    return parse_config({"model": {"id": "tiny"}, "data": {"path": str(file)}, "train": train})


def test_the_terminal_and_a_task_suggest_the_same_rate(
    store: Store, config: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    task = rate_range.start(store, config, "rows")
    deadline = time.monotonic() + 240
    while (found := tasks.status(store, task)).state == "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert found.state == "finished", found.error
    assert found.result
    assert found.result["suggested"]

    file = store.home / "run.json"
    file.write_text(json.dumps(config.model_dump(mode="json")), encoding="utf-8")
    options = ["lr-range", str(file), "--home", str(store.home)]
    assert cli.main([*options, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    # Two processes: the last digits of a sum depend on how its parts lie in memory.
    assert (again["rates"], again["suggested"]) == (found.result["rates"], found.result["suggested"])
    assert again["losses"] == pytest.approx(found.result["losses"], rel=0.01)
    assert cli.main(options) == 0
    assert f"--set train.learning_rate={found.result['suggested']:g}" in capsys.readouterr().out
    assert [*store.home.glob("runs/*")] == []


def test_it_does_not_begin_beside_a_run(store: Store, config: RunConfig) -> None:
    with FileLock(store.device_lock), pytest.raises(StudioError, match="A run is at work"):
        rate_range.range_of(store, config, progress=lambda phase, done, total: None)
