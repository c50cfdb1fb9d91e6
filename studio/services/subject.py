"""What can be asked: a run's base and tuned model with others beside them, or a base model alone.

Read here, loaded in a process of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from studio.domain.answer import BASE, TUNED, Side
from studio.domain.beside import MOST_SIDES, Beside
from studio.domain.config import DataConfig, ModelConfig, RunConfig
from studio.domain.errors import StudioError
from studio.domain.loading import Step, overall
from studio.engine import models
from studio.engine.defaults import recommend
from studio.engine.model_facts import facts
from studio.engine.starter import FOLDER
from studio.engine.tuned import TunedRun, check_beside
from studio.services.run_files import RunFiles
from studio.services.store import Store
from studio.services.trained import check_result, read_trained

if TYPE_CHECKING:
    from studio.engine.models import Dtype
    from studio.engine.tuned import Pair

_LIBRARIES = ("torch", "transformers", "transformers.modeling_utils", "peft")
"""Imported one by one before a model is read, as that takes longer than a small model's weights do."""
Stamps = tuple[tuple[str, int, int], ...]
"""Path, size and time of change of each weight file: they change whenever the weights do."""


@dataclass(frozen=True)
class Subject:
    """A run's folder, or that of a base model with the number format that it is loaded in."""

    folder: Path
    dtype: Dtype | None = None
    """None for a run: it says itself how its models are loaded."""
    beside: tuple[Side, ...] = ()
    """Other runs and checkpoints on the same copy of the weights, by names that `beside_run` has checked."""

    @property
    def run(self) -> RunFiles | None:
        return None if self.dtype else RunFiles(self.folder)

    def to_arguments(self) -> list[str]:
        """For the command line of another process."""
        return [str(self.folder), self.dtype or "", *self.beside]

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> Subject:
        folder, dtype, *beside = arguments
        return cls(Path(folder).resolve(), cast("Dtype", dtype) if dtype else None, tuple(beside))

    def trained(self) -> dict[Side, TunedRun]:
        """What answers on each side of a run, the base by the template of the run itself.

        Raises StudioError where a run cannot be used, or cannot stand beside the first.
        """
        assert self.run is not None, "a base model alone is not talked to"
        main = read_trained(self.run)
        found = {BASE: main, TUNED: main}
        for name in self.beside:
            other = Beside.parse(name)
            found[name] = read_trained(RunFiles(self.folder.parent / other.run), other.checkpoint)
            check_beside(main, found[name])
        return found

    def covers(self, asked: Subject) -> bool:
        """Whether what is loaded for this one can answer for `asked`."""
        alone = (self.folder, self.dtype) == (asked.folder, asked.dtype)
        return alone and set(asked.beside) <= set(self.beside)

    def stamps(self) -> Stamps:
        """Of the weights as they are now. Raises StudioError where a run cannot be used."""
        if self.run is None:
            return _stamps(self.folder)
        trained = self.trained()
        folders = [trained[TUNED].model_path, *(one.weights for side, one in trained.items() if side != BASE)]
        return tuple(stamp for folder in folders for stamp in _stamps(folder))

    def load(self, step: Step = lambda share: None) -> Pair:
        """All sides of a run, as it was trained; the base side alone of a base model.

        `step` is told how far it is (`domain/loading.py`).
        """
        from studio.engine.tuned import load_alone, load_pair

        for done, library in enumerate(_LIBRARIES):
            step(overall("programs", done / len(_LIBRARIES)))
            import_module(library)
        if self.run is None:
            assert self.dtype is not None
            pair = load_alone(self.folder, self.dtype, step=step)
        else:
            for used in {self.run.id, *(Beside.parse(name).run for name in self.beside)}:
                check_result(RunFiles(self.folder.parent / used))
            trained = self.trained()
            beside = {side: trained[side] for side in self.beside}
            pair = load_pair(trained[TUNED], beside=beside, step=step)
        step(1.0)
        return pair


def beside_run(store: Store, run_id: str, beside: Sequence[str] = ()) -> Subject:
    """A run with others beside it, by names as a person writes them.

    Raises StudioError where one is not there, cannot share the weights, or there are too many.
    """
    named = [Beside.parse(name) for name in beside]
    for other in named:
        store.run_dir(other.run)
        if other == Beside(run_id):
            raise StudioError(
                "The run {run} is on the tuned side already.",
                "Name another run, or one of its checkpoints as {run}@STEP.",
                run=run_id,
            )
    subject = Subject(store.run_dir(run_id), beside=tuple(dict.fromkeys(other.side for other in named)))
    subject.trained()
    return subject


def check_number(sides: Sequence[Side]) -> None:
    """StudioError where more are asked than can answer together."""
    if len(sides) > MOST_SIDES:
        raise StudioError(
            "{count} sides were asked to answer together.",
            "At most {most} can, base and tuned model among them.",
            count=len(sides),
            most=MOST_SIDES,
        )


def subject_of(
    store: Store, run_id: str | None, model_id: str | None = None, revision: str | None = None
) -> Subject:
    """The run, which must be one of this model if one is named; without a run the model itself, else the starter.

    Raises StudioError where the run has trained nothing yet, or the model is not on this machine.
    """
    if run_id is None:
        model_id = model_id or FOLDER
        path = store.locate(model_id, revision=revision, download=False)
        return Subject(path, _dtype(store, path, model_id))
    files = RunFiles(store.run_dir(run_id))
    trained = read_trained(files)
    own = trained.config.model
    if model_id and (model_id, revision) != (own.id, own.revision):
        path = store.locate(model_id, revision=revision, download=False)
        if path.resolve() != trained.model_path.resolve():
            raise StudioError(
                "The run {run} was trained on the model {own}, not on {other}.",
                "Choose a run of this model, or look at the base model alone.",
                run=trained.name,
                own=own.id,
                other=model_id,
            )
    return Subject(files.folder)


def _dtype(store: Store, path: Path, model_id: str) -> Dtype:
    """What a run of this model would be recommended here, so that its base has the same losses."""
    info = models.inspect(path, model_id)
    config = RunConfig(model=ModelConfig(id=model_id), data=DataConfig(path=""))
    found = recommend(config, store.machine(), facts(info.config, info.parameters), [1], [])
    return cast("Dtype", found.config.train.dtype)


def _stamps(folder: Path) -> Stamps:
    found = [(str(file), file.stat()) for file in sorted(folder.glob("*.safetensors"))]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in found)
