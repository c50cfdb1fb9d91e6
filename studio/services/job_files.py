"""A run as a job file for another scheduler, Slurm or SkyPilot: submitted by hand, it trains as it would here."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

import studio
from studio.domain.config import RunConfig
from studio.domain.errors import StudioError
from studio.services.store import slug

For = Literal["slurm", "skypilot"]
NAMES = {"slurm": "studio.sbatch", "skypilot": "studio.sky.yaml"}


@dataclass(frozen=True)
class Room:
    """What a job asks the scheduler for."""

    gpus: int = 1
    """Each has a process of its own; 0: the machine's cores alone."""
    gpu: str = ""
    """Their kind, as the scheduler calls it, such as `a100` or `H100`; empty: any that it has."""
    cores: int = 8
    hours: int = 24


def job_file(config: RunConfig, scheduler: For, room: Room) -> str:
    """The text of the file. StudioError where the run cannot be handed on so."""
    if config.model.adapter:
        raise StudioError(
            "A run that continues another one cannot be written as a job file: it needs that run's adapter.",
            "Start it here, or on a Ray cluster.",
        )
    if scheduler == "skypilot" and not room.gpu and room.gpus:
        raise StudioError(
            "SkyPilot has to know which kind of GPU to look for.",
            "Name one, such as H100: --gpu H100 on the command line.",
        )
    return {"slurm": _slurm, "skypilot": _skypilot}[scheduler](config, room)


def _slurm(config: RunConfig, room: Room) -> str:
    paths = {"data.path": config.data.path, "data.held_out_path": config.data.held_out_path}
    here = config.with_values({key: str(Path(path).resolve()) for key, path in paths.items() if path})
    gpus = f"#SBATCH --gpus-per-node={f'{room.gpu}:' if room.gpu else ''}{room.gpus}\n" if room.gpus else ""
    return f"""#!/bin/bash
# Submit with: sbatch {NAMES["slurm"]}
# All machines see this folder and the studio's installation; a job that is requeued goes on from its last checkpoint.
#SBATCH --job-name={_name(config)}
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={room.cores}
{gpus}#SBATCH --time={room.hours}:00:00
#SBATCH --requeue
#SBATCH --output=studio-%j.log
set -euo pipefail
export STUDIO_HOME="${{SLURM_SUBMIT_DIR:-$PWD}}/studio-${{SLURM_JOB_ID:-0}}"
{_training(_changed(here, room), here.data.path)}"""


def _skypilot(config: RunConfig, room: Room) -> str:
    data, held_out = Path(config.data.path), config.data.held_out_path
    there = config.with_values(
        {
            "data.path": f"/data/{data.name}",
            **({"data.held_out_path": f"/data/{Path(held_out).name}"} if held_out else {}),
        }
    )
    files = [data, *([Path(held_out)] if held_out else [])]
    root = Path(studio.__file__).parent.parent
    task: dict[str, Any] = {
        "name": _name(config),
        "resources": {
            **({"accelerators": f"{room.gpu}:{room.gpus}"} if room.gpus else {}),
            "cpus": f"{room.cores}+",
        },
        "num_nodes": 1,
        "workdir": str(root),
        "file_mounts": {f"/data/{file.name}": str(file.resolve()) for file in files},
        "envs": {"STUDIO_HOME": "~/studio-home"},
        "setup": "python3 -m venv ~/studio-env\n~/studio-env/bin/pip install -c constraints.txt -e .\n",
        "run": 'export STUDIO_HOME="${STUDIO_HOME/#\\~/$HOME}" PATH="$HOME/studio-env/bin:$PATH"\n'
        + "set -euo pipefail\n"
        + _training(_changed(there, room), there.data.path),
    }
    head = f"# Submit with: sky launch {NAMES['skypilot']}   (or sky jobs launch, which survives a lost machine)\n"
    return head + yaml.safe_dump(task, sort_keys=False, allow_unicode=True, width=110)


def _changed(config: RunConfig, room: Room) -> RunConfig:
    """With as many processes as there are GPUs, on one machine."""
    if room.gpus > 1:
        return config.with_values({"launch.where": "torchrun", "launch.processes": room.gpus})
    return config.with_values({"launch.where": "local"})


def _training(config: RunConfig, data: str) -> str:
    """Commands that train, or go on with the run of this home: it is the only one."""
    model = config.model.id
    get = f"studio models get {shlex.quote(model)}\n" if model == "starter" else ""
    given = json.dumps(config.model_dump(mode="json", exclude_defaults=True), ensure_ascii=True, indent=2)
    return f"""mkdir -p "$STUDIO_HOME/runs"
test -r {shlex.quote(data)} || {{ echo {shlex.quote(f"{data} cannot be read here")} >&2; exit 1; }}
cat > "$STUDIO_HOME/run.yaml" <<'END_OF_CONFIGURATION'
{given}
END_OF_CONFIGURATION
{get}run=$(ls -1 "$STUDIO_HOME/runs" | tail -n 1)
if [ -n "$run" ]; then
  studio runs resume "$run"
else
  studio train "$STUDIO_HOME/run.yaml"
fi
"""


def _name(config: RunConfig) -> str:
    return f"studio-{slug(config.name or Path(config.data.path).stem)}"
