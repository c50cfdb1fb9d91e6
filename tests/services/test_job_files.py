"""Job files are what they say: bash and SkyPilot read them, and the Slurm file, run by bash, trains the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio.domain.config import RunConfig, parse_config
from studio.domain.errors import StudioError
from studio.services.job_files import Room, job_file
from studio.services.jobs import Jobs
from studio.services.store import Store
from tests.tiny import tiny_model


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    rows = [{"prompt": f"Question {n}?", "completion": f"Answer {n}."} for n in range(12)]
    file = tmp_path / "my rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tiny_model(tmp_path / "tiny")
    return parse_config(
        {
            "name": 'it\'s "mine" $(touch no)',
            "model": {"id": str(tmp_path / "tiny")},
            "data": {"path": str(file)},
            "train": {"method": "lora", "max_steps": 2, "batch_size": 4},
            "evaluate": {"sample_prompts": "END_OF_CONFIGURATION\nand more"},
        }
    )


def directives(text: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]


def test_the_slurm_file_asks_for_what_was_said(config: RunConfig) -> None:
    text = job_file(config, "slurm", Room(gpus=4, gpu="a100", cores=16, hours=6))
    assert directives(text) == [
        "--job-name=studio-it-s-mine-touch-no",
        "--nodes=1",
        "--ntasks=1",
        "--cpus-per-task=16",
        "--gpus-per-node=a100:4",
        "--time=6:00:00",
        "--requeue",
        "--output=studio-%j.log",
    ]
    assert '"where": "torchrun"' in text
    assert '"processes": 4' in text


def test_without_gpus_none_are_asked_for_and_one_process_trains(config: RunConfig) -> None:
    text = job_file(config, "slurm", Room(gpus=0))
    assert not any("gpus" in line for line in directives(text))
    assert "torchrun" not in text


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the file is one for bash")
def test_the_slurm_file_trains_the_run(config: RunConfig, tmp_path: Path) -> None:
    script = tmp_path / "job.sbatch"
    script.write_text(job_file(config, "slurm", Room(gpus=0)), encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "7"}
    done = subprocess.run(["bash", str(script)], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (run,) = Jobs(Store(tmp_path / "studio-7")).list()
    assert (run.state, run.step, run.name) == ("finished", 2, config.name)
    assert not (tmp_path / "no").exists()


def test_the_skypilot_file_brings_the_data_and_the_installation(config: RunConfig) -> None:
    text = job_file(config, "skypilot", Room(gpus=2, gpu="H100"))
    task: dict[str, Any] = yaml.safe_load(text)
    assert task["resources"] == {"accelerators": "H100:2", "cpus": "8+"}
    assert list(task["file_mounts"]) == ["/data/my rows.jsonl"]
    assert (Path(task["workdir"]) / "pyproject.toml").is_file()
    subprocess.run(["bash", "-n"], input=task["run"] + task["setup"], text=True, check=True)


def test_skypilot_reads_it_as_a_task(config: RunConfig, tmp_path: Path) -> None:
    sky = pytest.importorskip("sky", reason="SkyPilot is not installed: pip install skypilot")
    file = tmp_path / "studio.sky.yaml"
    file.write_text(job_file(config, "skypilot", Room(gpus=2, gpu="H100")), encoding="utf-8")
    task = sky.Task.from_yaml(str(file))
    (resources,) = task.resources
    assert resources.accelerators == {"H100": 2}


def test_what_cannot_be_handed_on_is_said(config: RunConfig) -> None:
    with pytest.raises(StudioError, match="which kind of GPU"):
        job_file(config, "skypilot", Room())
    with pytest.raises(StudioError, match="continues another one"):
        job_file(config.with_values({"model.adapter": "run-1"}), "slurm", Room())
