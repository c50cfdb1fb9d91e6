from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.domain.config import RunConfig, parse_config
from studio.domain.errors import StudioError
from studio.domain.events import Metric
from studio.engine import adapters
from studio.services.continual import fitting
from studio.services.jobs import Jobs
from studio.services.plan import plan
from studio.services.store import Store
from tests.services.test_jobs import wait
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("home"))
    tiny_model(store.models_dir / "tiny")
    tiny_model(store.models_dir / "other", seed=3)
    return store


def config(file: Path, **values: object) -> RunConfig:
    rows = [{"prompt": f"Question {n}?", "completion": "The answer is always the same."} for n in range(16)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = {
        "model": {"id": "tiny"},
        "data": {"path": str(file), "held_out_share": 0.25},
        "train": {"method": "lora", "rank": 4, "alpha": 8, "epochs": 12, "learning_rate": 5e-3},
    }
    return parse_config(given).with_values({key.replace("__", "."): value for key, value in values.items()})


@pytest.mark.slow
def test_a_run_goes_on_with_the_adapter_of_an_earlier_one(store: Store, tmp_path: Path) -> None:
    jobs, file = Jobs(store), tmp_path / "rows.jsonl"
    first = jobs.submit(config(file))
    wait(jobs, first)
    ended = jobs.get(first).metrics["eval_loss"]
    assert ended < 0.7 * jobs.get(first).metrics["eval_loss_before"]

    again = config(file, model__adapter=first, train__rank=16, train__epochs=1)
    planned = plan(store, again)
    assert (planned.config.train.rank, planned.config.train.alpha) == (4, 8.0)
    assert "continued" in {found.check for found in planned.findings}
    second = jobs.submit(again)
    jobs.delete(first)  # the second run keeps its own copy
    wait(jobs, second)
    assert jobs.get(second).state == "finished", jobs.files(second).worker_log.read_text()
    measured = [event for event in jobs.events(second)[0] if isinstance(event, Metric) and event.eval_loss]
    assert measured[0].step == 0
    assert measured[0].eval_loss == pytest.approx(ended, abs=1e-4)
    assert jobs.config(second).train.rank == 4


@pytest.mark.parametrize("dora", [True, False])
def test_the_shape_and_scale_of_the_earlier_adapter_are_kept(tmp_path: Path, dora: bool) -> None:
    asked = config(tmp_path / "rows.jsonl", train__adapter_start="pissa", train__rank=4)
    adapters.lora_config(
        asked.train.model_copy(update={"rank": 8, "alpha": 6.0, "dora": dora, "rank_stabilized": True}),
        ["q_proj"],
    ).save_pretrained(str(tmp_path))
    fitted = fitting(asked, tmp_path, "lora").train
    assert (fitted.rank, fitted.alpha, fitted.target_modules) == (8, 6.0, ["q_proj"])
    assert (fitted.rank_stabilized, fitted.dora, fitted.adapter_start) == (True, dora, "zero")


def test_what_cannot_be_continued_from_is_refused(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    with pytest.raises(StudioError, match="no run"):
        plan(store, config(file, model__adapter="20990101-000000-none"))
