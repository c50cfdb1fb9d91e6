"""Receipts of runs, and runs of another machine's folder: taken over whole, checked by their hashes."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from studio.domain.errors import StudioError
from studio.engine.integrity import sha256
from studio.services.receipts import import_run, receipt
from studio.services.run_files import RunFiles, State
from studio.services.store import Store
from studio.services.trained import read_trained, result_sums
from tests.runs import finished_run


@pytest.fixture
def run(tmp_path: Path) -> RunFiles:
    return run_of_elsewhere(tmp_path / "there")


@pytest.fixture
def here(tmp_path: Path, run: RunFiles) -> Store:
    return second_machine(tmp_path / "here", run)


def run_of_elsewhere(home: Path) -> RunFiles:
    """On the first machine, finished, its base model inside of its own folder."""
    files = finished_run(Store(home))
    files.write_env(
        {
            **files.env(),
            "hardware": {"device": "cpu", "cores": 2},
            "rows": {"data": 8},
            "sha256": {
                "train_rows": sha256(files.folder / "data" / "train.jsonl"),
                "held_out_rows": sha256(files.folder / "data" / "held_out.jsonl"),
                "encoded": "ab12",
                "base_model": {"model.safetensors": sha256(files.folder / "base" / "model.safetensors")},
                "template": hashlib.sha256(files.template.read_bytes()).hexdigest(),
            },
        }
    )
    return files


def second_machine(home: Path, run: RunFiles) -> Store:
    """The second machine, which has the same base model elsewhere."""
    store = Store(home)
    shutil.copytree(run.folder / "base", store.models_dir / "tiny")
    return store


def test_a_receipt_names_all_that_a_run_was_made_from(run: RunFiles) -> None:
    found = receipt(run)
    assert (found["run"], found["name"], found["seed"], found["rows"]) == (run.id, "tuned", 42, {"data": 8})
    assert set(found["sha256"]) == {
        "train_rows",
        "held_out_rows",
        "encoded",
        "base_model",
        "template",
        "result",
    }
    adapter = run.adapter / "adapter_model.safetensors"
    assert found["sha256"]["result"] == {"adapter_model.safetensors": sha256(adapter)}
    assert found["config"]["train"]["rank"] == 4


def test_a_run_of_another_machine_is_taken_over_with_this_machine_s_base(run: RunFiles, here: Store) -> None:
    (run.exports / "merged").mkdir(parents=True)
    run.endpoint.folder.mkdir()
    assert import_run(here, run.folder) == run.id
    taken = RunFiles(here.run_dir(run.id))
    assert read_trained(taken).model_path == here.models_dir / "tiny"
    assert receipt(taken) == receipt(run)
    assert not taken.exports.exists()
    assert not taken.endpoint.folder.exists()
    assert [*here.tmp_dir.iterdir()] == []


def test_one_that_is_there_already_is_left_alone(run: RunFiles, here: Store) -> None:
    import_run(here, run.folder)
    with pytest.raises(StudioError) as error:
        import_run(here, run.folder)
    assert error.value.message == f"There is a run {run.id} already."


def test_changed_rows_are_refused(run: RunFiles, here: Store) -> None:
    with (run.folder / "data" / "train.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(StudioError, match=r"The rows in .* are not those that the run was trained with"):
        import_run(here, run.folder)
    assert here.run_ids() == []


def test_changed_weights_are_refused(run: RunFiles, here: Store) -> None:
    env = run.env()
    run.write_env({**env, "sha256": {**env["sha256"], "result": result_sums(run)}})
    import_run(here, run.folder)
    here.delete_run(run.id)
    weights = run.adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(StudioError, match=r"The trained weights in .* are not those that the run wrote"):
        import_run(here, run.folder)
    assert here.run_ids() == []


def test_one_that_was_unpacked_in_the_store_s_own_scratch_is_moved(run: RunFiles, here: Store) -> None:
    (run.exports / "merged").mkdir(parents=True)
    folder = here.tmp_dir / "unpacked" / run.id
    shutil.copytree(run.folder, folder)
    assert import_run(here, folder) == run.id
    assert not folder.exists()
    assert receipt(RunFiles(here.run_dir(run.id))) == receipt(run)
    assert not RunFiles(here.run_dir(run.id)).exports.exists()


def test_another_base_is_refused(run: RunFiles, here: Store) -> None:
    with (here.models_dir / "tiny" / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(StudioError, match="is not the one that the run tuned was trained on"):
        import_run(here, run.folder)
    import_run(here, run.folder, run.folder / "base")
    assert here.run_ids() == [run.id]


def test_a_run_that_was_at_work_is_refused(run: RunFiles, here: Store) -> None:
    (run.folder / "state.json").unlink()
    run.write_state(State("running", 1, 1.0))
    with pytest.raises(StudioError, match="The run tuned was still at work when its folder was copied"):
        import_run(here, run.folder)
