"""Several processes train one model: the run is that of one process, and all stop, resume and fail alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from studio.domain.config import TrainConfig
from studio.domain.errors import StudioError
from studio.domain.events import Checkpoint, Metric, Warned
from studio.engine.ranks import check_sharding, shares
from tests.ranked import Case, Said, done, norms, run
from tests.tiny import tiny_model
from tests.trainings import losses, measured, result

FULL = {"method": "full", "learning_rate": 1e-3}
EWC = {"ewc": 10.0}
QLORA = {"method": "qlora"}
NOISE = {"neftune_alpha": 5.0}
BOTH = [
    Case("lora"),
    Case("full", FULL),
    Case("noise", NOISE),
    Case("known", EWC, known=True),
    Case("few", {"batch_size": 1, "max_steps": 3}),
    Case("qlora", QLORA),
    Case("gauged", {**FULL, "gradient_checkpointing": True}, known=True),
]
TWO = [
    *BOTH,
    Case("fsdp", FULL, sharded=True),
    Case("fsdp-gauged", {**FULL, "gradient_checkpointing": True}, sharded=True, known=True),
    Case("apart", EWC, known=True, apart=True, stop_after=3),
    Case("apart", EWC, known=True, apart=True),
    Case("halves", {"dropout": 0.3}, stop_after=3),
    Case("halves", {"dropout": 0.3}),
    Case("whole", {"dropout": 0.3}),
    Case("fsdp-lora", sharded=True),
    Case("fsdp-known", EWC, sharded=True, known=True),
    Case("fsdp-noise", {**NOISE, "gradient_checkpointing": True}, sharded=True),
    Case("fsdp-few", {"batch_size": 1, "max_steps": 3}, sharded=True),
    Case("fsdp-qlora", QLORA, sharded=True),
    Case("fsdp-halves", FULL, sharded=True, stop_after=3),
    Case("fsdp-halves", FULL, sharded=True),
    Case("short", no_room=2),
]
"""`Case.no_room` stays for the rest of the process: it comes last."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranked")


@pytest.fixture(scope="module")
def alone(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Said]:
    found = run(model, tmp_path_factory.mktemp("alone"), BOTH, 1)
    return {case.folder: said[0] for case, said in zip(BOTH, found, strict=True)}


@pytest.fixture(scope="module")
def two(model: Path, home: Path) -> list[list[Said]]:
    return run(model, home, TWO, 2)


def said(two: list[list[Said]], folder: str) -> list[list[Said]]:
    return [one for case, one in zip(TWO, two, strict=True) if case.folder == folder]


@pytest.mark.parametrize("folder", [case.folder for case in BOTH])
def test_two_processes_with_half_the_rows_each_are_one_with_all(
    alone: dict[str, Said], two: list[list[Said]], folder: str
) -> None:
    (leader, other), one = said(two, folder)[0], alone[folder]
    assert losses(leader.events) == pytest.approx(losses(one.events), rel=1e-5)
    assert norms(leader) == pytest.approx(norms(one), rel=1e-4)
    assert measured(leader.events) == pytest.approx(measured(one.events), rel=1e-5)
    assert leader.metrics["tokens"] == one.metrics["tokens"]
    assert other.events == []


@pytest.mark.parametrize("whole", ["lora", "known", "noise", "few", "qlora"])
def test_an_adapter_on_a_base_in_parts_is_that_on_a_whole_one(
    alone: dict[str, Said], two: list[list[Said]], home: Path, whole: str
) -> None:
    leader, one = said(two, f"fsdp-{whole}")[0][0], alone[whole]
    assert losses(leader.events) == pytest.approx(losses(one.events), rel=1e-5)
    assert norms(leader) == pytest.approx(norms(one), rel=1e-4)
    assert measured(leader.events) == pytest.approx(measured(one.events), rel=1e-5)
    assert leader.metrics["tokens"] == one.metrics["tokens"]
    assert result(home / f"fsdp-{whole}").keys() == result(home / whole).keys()


def test_sharded_weights_give_the_same_run_and_model(
    alone: dict[str, Said], two: list[list[Said]], home: Path
) -> None:
    leader, one = said(two, "fsdp")[0][0], alone["full"]
    assert losses(leader.events) == pytest.approx(losses(one.events), rel=1e-5)
    assert measured(leader.events) == pytest.approx(measured(one.events), rel=1e-5)
    parts, whole = (load_file(home / name / "model" / "model.safetensors") for name in ("fsdp", "full"))
    assert parts.keys() == whole.keys()
    for name, tensor in whole.items():
        assert parts[name].shape == tensor.shape
        assert float((parts[name] - tensor).abs().max()) < 2e-3, name


@pytest.mark.parametrize(
    ("folder", "whole", "figures"),
    [
        ("known", "known", 12),
        ("fsdp-known", "known", 12),
        ("gauged", "gauged", 6),
        ("fsdp-gauged", "gauged", 6),
    ],
)
def test_what_is_forgotten_and_held_on_to_is_that_of_one_process(
    alone: dict[str, Said], two: list[list[Said]], folder: str, whole: str, figures: int
) -> None:
    def told(said: Said) -> list[float]:
        found = [event for event in said.events if isinstance(event, Metric)]
        kinds = ("penalty", "general_loss", "divergence")
        return [value for event in found for kind in kinds if (value := getattr(event, kind)) is not None]

    leader = said(two, folder)[0][0]
    assert len(told(leader)) == figures
    assert told(leader) == pytest.approx(told(alone[whole]), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(("folder", "whole"), [("halves", "whole"), ("fsdp-halves", "fsdp")])
def test_when_one_is_told_to_stop_all_stop_and_go_on_bit_for_bit(
    two: list[list[Said]], folder: str, whole: str
) -> None:
    before, after = said(two, folder)
    uninterrupted = said(two, whole)[0][0]
    assert [one.error for one in before] == ["stopped", "stopped"]
    assert done(before[0]) + done(after[0]) == done(uninterrupted)
    assert losses(before[0].events) + losses(after[0].events) == losses(uninterrupted.events)


def test_processes_without_a_common_folder_go_on_from_what_the_leader_hands_them(
    alone: dict[str, Said], two: list[list[Said]], home: Path
) -> None:
    before, after = said(two, "apart")
    found = losses(before[0].events) + losses(after[0].events)
    assert found == pytest.approx(losses(alone["known"].events), rel=1e-5)
    assert not (home / "apart-1" / "adapter").exists()


def test_memory_that_runs_out_on_one_halves_the_rows_on_all(
    alone: dict[str, Said], two: list[list[Said]]
) -> None:
    leader, _ = said(two, "short")[0]
    warned = [event for event in leader.events if isinstance(event, Warned)]
    assert [event.values for event in warned] == [{"step": 1, "rows": 1}]
    assert losses(leader.events) == pytest.approx(losses(alone["lora"].events), rel=1e-5)


def test_memory_that_runs_out_under_fsdp_ends_the_run_for_all(model: Path, tmp_path: Path) -> None:
    ((leader, other),) = run(model, tmp_path, [Case("fsdp-short", sharded=True, no_room=2)], 2)
    assert other.error.startswith("Memory ran out at step 1")
    assert leader.error == "peer lost"
    assert not (tmp_path / "fsdp-short" / "adapter").exists()


def test_only_the_leader_writes(two: list[list[Said]], home: Path) -> None:
    leader = said(two, "lora")[0][0]
    saved = [event.path for event in leader.events if isinstance(event, Checkpoint)]
    assert saved == ["checkpoints/step-000002", "checkpoints/step-000004", "checkpoints/step-000006"]
    assert result(home / "lora").keys()


def test_shares_are_of_about_as_many_tokens(model: Path) -> None:
    class Row:
        def __init__(self, total: int) -> None:
            self.total = total

    rows = [Row(total) for total in (100, 10, 20, 30, 40)]
    assert shares(rows, 2) == [[0], [1, 2, 3, 4]]
    assert shares(rows[:1], 3) == [[0], [], []]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "full", "plain": True}, "train.plain"),
        ({"method": "full", "optimizer": "paged_adamw_8bit"}, "paged_adamw_8bit"),
    ],
)
def test_what_cannot_be_sharded_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(StudioError, match=message):
        check_sharding(TrainConfig.model_validate(settings))
