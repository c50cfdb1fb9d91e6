from typing import Any

from studio.domain.config import RunConfig
from studio.domain.events import Failed, Metric, Started
from studio.services.progress import Progress, after
from studio.services.remedies import remedy, troubles

STARTED = Started(run="r", steps=40, rows=8, held_out_rows=2, tokens=9, trained_tokens=5, encoded_sha256="0")


def config(**train: Any) -> RunConfig:
    resolved = {"learning_rate": 3e-4, "epochs": 4, "max_length": 512, "gradient_checkpointing": False}
    return RunConfig.model_validate({"data": {"path": "rows.jsonl"}, "train": {**resolved, **train}})


def test_out_of_memory_is_met_by_what_leaves_the_result_alone_and_then_by_shorter_rows():
    assert remedy("memory", Progress(), config()) == {
        "train.micro_batch_size": 1,
        "train.gradient_checkpointing": True,
    }
    small = config(micro_batch_size=1, gradient_checkpointing=True)
    assert remedy("memory", Progress(), small) == {"train.max_length": 256}


def test_divergence_is_met_by_a_third_of_the_rate_and_a_rate_that_moves_nothing_by_ten_times_it():
    assert remedy("diverged", Progress(), config()) == {"train.learning_rate": 1e-4}
    assert remedy("too_slow", Progress(), config()) == {"train.learning_rate": 3e-3}


def test_overfitting_is_met_by_as_many_epochs_as_were_good():
    measured = [Metric(step=step, epoch=0, eval_loss=loss) for step, loss in ((0, 3.0), (10, 1.0), (20, 2.0))]
    assert remedy("overfitting", after(Progress(), [STARTED, *measured]), config()) == {"train.epochs": 1.0}


def test_a_full_disk_is_not_met_by_a_setting():
    assert remedy("disk", Progress(), config()) == {}


def test_the_trouble_of_a_failed_run_is_its_failure():
    assert troubles(after(Progress(), [STARTED, Failed(template="x", kind="memory")])) == ["memory"]
