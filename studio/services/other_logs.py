"""The figures of a run in the logs of other programs, where that is asked for: TensorBoard, trackio, Weights & Biases.

They follow a run's events and never hold it up: a program whose log fails is let go, with a warning. Of a run that goes
on, no step stands there twice. Numbers and settings are reported, never rows, prompts, answers or paths.
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from studio.domain.config import LogTo, RunConfig, TrainConfig
from studio.domain.errors import StudioError
from studio.domain.events import Emit, Event, Metric, Started, Warned
from studio.services.log import tail
from studio.services.run_files import RunFiles

FIGURES = {
    "loss": "train/loss",
    "penalty": "train/penalty",
    "learning_rate": "train/learning_rate",
    "grad_norm": "train/grad_norm",
    "tokens": "train/tokens",
    "tokens_per_second": "train/tokens_per_second",
    "memory_bytes": "train/memory_bytes",
    "eval_loss": "held_out/loss",
    "general_loss": "general/loss",
    "divergence": "general/divergence",
}
"""What is reported of a metric, and under which name."""
PROJECT = "finetuning-studio"
_NAMES = {"tensorboard": "TensorBoard", "trackio": "trackio", "wandb": "Weights & Biases"}


def check(config: TrainConfig) -> None:
    """Raises StudioError where a program that is to be logged to is not installed."""
    for name in config.report_to:
        if find_spec(name) is None:
            raise StudioError(
                "The run is to be logged to {name}, which is not installed.",
                "Install it with `pip install {package}`, or take it off the list of logs.",
                name=_NAMES[name],
                package=name,
            )


class Log(Protocol):
    """One program's log of one run."""

    def write(self, step: int, figures: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


class OtherLogs:
    """The logs of a run in its worker: opened once it begins or goes on, closed with it."""

    def __init__(self, files: RunFiles, home: Path, config: RunConfig, emit: Emit) -> None:
        self._files, self._home, self._config, self._emit = files, home, config, emit
        self._logs: dict[LogTo, Log] = {}
        self._reported = reported(files.events)

    def take(self, event: Event) -> None:
        if isinstance(event, Started):
            for name in self._config.train.report_to:
                self._guarded(name, lambda name=name: self._open(name, event.step))  # type: ignore[misc]
        elif isinstance(event, Metric):
            figures = {
                name: float(value)
                for field, name in FIGURES.items()
                if (value := getattr(event, field)) is not None
            }
            for name, log in list(self._logs.items()):
                self._guarded(name, lambda log=log: log.write(event.step, figures))  # type: ignore[misc]

    def close(self) -> None:
        for name, log in list(self._logs.items()):
            self._guarded(name, log.close)
        self._logs = {}

    def _open(self, name: LogTo, step: int) -> None:
        settings = described(self._config)
        if name == "tensorboard":
            # Where nothing was saved, a run begins again, and what was told of it does not count.
            anew = (step + 1 if step else 0) if self._reported else None
            self._logs[name] = TensorBoard(self._files.folder / name, anew)
        elif name == "trackio":
            self._logs[name] = Trackio(self._home / name, self._files.id, settings, self._reported)
        else:
            offline = _is_offline()
            if offline:
                self._emit(_OFFLINE)
            self._logs[name] = WeightsAndBiases(
                self._files.folder, self._files.id, settings, self._reported, offline
            )

    def _guarded(self, name: LogTo, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # of another program: whatever it is, the run goes on
            self._logs.pop(name, None)
            self._emit(
                Warned(
                    template="The run is no longer logged to {name}: {problem}.",
                    remedy="The run itself goes on, and its curves are all here.",
                    values={"name": _NAMES[name], "problem": f"{type(error).__name__}: {error}".rstrip(".")},
                )
            )


class TensorBoard:
    """Event files in the run's own folder; from `step` on, those of an earlier life of the run do not count."""

    def __init__(self, folder: Path, step: int | None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step, flush_secs=10)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Onward:
    """A log that nothing can be taken back from: of each figure, only what comes after what it has is written."""

    def __init__(self, reported: Mapping[str, int]) -> None:
        self._reported = dict(reported)

    def new(self, step: int, figures: Mapping[str, float]) -> dict[str, float]:
        found = {name: value for name, value in figures.items() if step > self._reported.get(name, -1)}
        self._reported.update(dict.fromkeys(found, step))
        return found


class Trackio:
    """A project of the studio's home on this machine; `TRACKIO_DIR=<home>/trackio trackio show` opens it."""

    def __init__(
        self, folder: Path, run: str, settings: Mapping[str, Any], reported: Mapping[str, int]
    ) -> None:
        os.environ["TRACKIO_DIR"] = str(folder)
        import trackio

        self._onward = _Onward(reported)
        self._run = trackio.init(
            project=PROJECT,
            name=run,
            config=dict(settings),
            resume="allow",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        new = self._onward.new(step, figures)
        if new:
            self._run.log(new, step=step)

    def close(self) -> None:
        self._run.finish()


class WeightsAndBiases:
    """A run on the service, or offline in the run's own folder. The key stays with wandb, the studio never reads it."""

    def __init__(
        self, folder: Path, run: str, settings: Mapping[str, Any], reported: Mapping[str, int], offline: bool
    ) -> None:
        import wandb

        self._onward = _Onward(reported)
        self._run = wandb.init(
            project=PROJECT,
            id=run,
            name=run,
            dir=str(folder),
            config=dict(settings),
            resume=None if offline else "allow",
            mode="offline" if offline else None,
            settings=wandb.Settings(
                console="off",
                silent=True,
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
            ),
        )

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        new = self._onward.new(step, figures)
        if new:
            self._run.log(new, step=step)

    def close(self) -> None:
        self._run.finish()


def reported(events: Path) -> dict[str, int]:
    """By figure, the last step that an earlier life of the run has told of."""
    found: dict[str, int] = {}
    for event in tail(events)[0]:
        if isinstance(event, Metric):
            for field, name in FIGURES.items():
                if getattr(event, field) is not None:
                    found[name] = max(event.step, found.get(name, -1))
    return found


def described(config: RunConfig) -> dict[str, Any]:
    """The settings of a run without those that name files or hold a person's words."""
    train, model = config.train.model_dump(mode="json"), config.model.id
    return {"model": Path(model).name if Path(model).is_absolute() else model, "train": train}


_OFFLINE = Warned(
    severity="info",
    template="Weights & Biases has no key here, so the run is logged into its own folder.",
    remedy="`wandb sync` sends it later. With a key in WANDB_API_KEY, or after `wandb login`, it is sent as it goes.",
)


def _is_offline() -> bool:
    """Whether wandb is told to be, or has no key to be anything else."""
    if os.environ.get("WANDB_MODE"):
        return os.environ["WANDB_MODE"] != "online"
    if os.environ.get("WANDB_API_KEY"):
        return False
    with suppress(OSError, netrc.NetrcParseError):
        return netrc.netrc().authenticators("api.wandb.ai") is None
    return True
