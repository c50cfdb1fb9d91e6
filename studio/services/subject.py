"""What can be asked: a run's base and tuned model, or a base model alone; read here, loaded in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from studio.domain.config import DataConfig, ModelConfig, RunConfig
from studio.domain.errors import StudioError
from studio.engine import models
from studio.engine.defaults import recommend
from studio.engine.model_facts import facts
from studio.engine.starter import FOLDER
from studio.services.run_files import RunFiles
from studio.services.store import Store
from studio.services.trained import read_trained

if TYPE_CHECKING:
    from studio.engine.models import Dtype
    from studio.engine.tuned import Pair

Stamps = tuple[tuple[str, int, int], ...]
"""Path, size and time of change of each weight file: they change whenever the weights do."""


@dataclass(frozen=True)
class Subject:
    """A run's folder, or that of a base model with the number format that it is loaded in."""

    folder: Path
    dtype: Dtype | None = None
    """None for a run: it says itself how its models are loaded."""

    @property
    def run(self) -> RunFiles | None:
        return None if self.dtype else RunFiles(self.folder)

    def to_arguments(self) -> list[str]:
        """For the command line of another process."""
        return [str(self.folder), self.dtype] if self.dtype else [str(self.folder)]

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> Subject:
        folder, *dtype = arguments
        return cls(Path(folder).resolve(), cast("Dtype", dtype[0]) if dtype else None)

    def stamps(self) -> Stamps:
        """Of the weights as they are now. Raises StudioError where a run cannot be used."""
        if self.run is None:
            return _stamps(self.folder)
        trained = read_trained(self.run)
        return (*_stamps(trained.model_path), *_stamps(trained.weights))

    def load(self) -> Pair:
        """Both sides of a run, as it was trained; the base side alone of a base model."""
        from studio.engine.tuned import load_alone, load_pair

        if self.run is None:
            assert self.dtype is not None
            return load_alone(self.folder, self.dtype)
        return load_pair(read_trained(self.run))


def subject_of(
    store: Store, run_id: str | None, model_id: str | None = None, revision: str | None = None
) -> Subject:
    """The run, which must be one of this model if one is named; without a run the model itself, else the starter.

    Raises StudioError where the run has trained nothing yet, or the model is not on this machine.
    """
    if run_id is None:
        model_id = model_id or FOLDER
        path = models.locate(model_id, store.models_dir, revision=revision, download=False)
        return Subject(path, _dtype(store, path, model_id))
    files = RunFiles(store.run_dir(run_id))
    trained = read_trained(files)
    own = trained.config.model
    if model_id and (model_id, revision) != (own.id, own.revision):
        path = models.locate(model_id, store.models_dir, revision=revision, download=False)
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
