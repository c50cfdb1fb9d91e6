"""Where everything is kept: the only module that knows the paths inside the studio's home."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.domain.config import RunConfig
from studio.domain.errors import StudioError
from studio.domain.machine import Machine
from studio.engine.assets import ASSETS
from studio.engine.sources import PACKED
from studio.services import probe
from studio.services.files import explained, now, read_json, write_json, write_text

if TYPE_CHECKING:
    from studio.engine.wheel import Progress

SCHEMA = 1
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_OURS = ("dataset.json", "cleaned.jsonl", "difficulty.json", "provenance.json", "repair")
"""What lies beside an upload in its folder, now or in homes of before."""
_USER = "user.json"
"""Tells a user's home within the studio's."""
_IN_USE = re.compile(r"(?:(?P<repair>repair(?:-\d+)?)/)?(?P<file>[^/]+)")


def default_home() -> Path:
    """$STUDIO_HOME, or ~/.studio."""
    return Path(os.environ.get("STUDIO_HOME") or Path.home() / ".studio").expanduser().resolve()


@dataclass(frozen=True)
class DatasetEntry:
    """A file that was uploaded, with what became of it."""

    id: str
    name: str
    path: Path
    """The rows in use: the original upload, or its repaired copy."""
    original: Path
    created: str
    read_as: Mapping[str, str] = field(default_factory=dict)
    """How the original is read, where it is not to be recognised."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """Where rows come from that nobody uploaded."""

    @property
    def cleaned(self) -> bool:
        return self.path != self.original


class Store:
    """The studio's home folder, or within it the home of one of its users: the same, but for what all users share.

    Names that come from outside are validated against a pattern and never joined to a path as they are.
    """

    def __init__(self, home: Path | str | None = None, *, confined: bool = False) -> None:
        """`confined`: who uses it reaches the page from elsewhere, and may name no folder of this machine."""
        self.home = Path(home).expanduser().resolve() if home else default_home()
        self.is_users = (self.home / _USER).is_file()
        self.shared = self.home.parent.parent if self.is_users else self.home
        """Where the models, the machine's figures and the locks are, which are one for all users."""
        self.confined = confined or self.is_users
        self.models_dir = self.shared / "models"
        self.datasets_dir = self.home / "datasets"
        self.runs_dir = self.home / "runs"
        self.talks_dir = self.home / "talks"
        self.tmp_dir = self.home / "tmp"
        with explained(self.home):
            for folder in (self.models_dir, self.datasets_dir, self.runs_dir, self.talks_dir, self.tmp_dir):
                folder.mkdir(parents=True, exist_ok=True)
            self.home.chmod(0o700)

    # Users

    @property
    def users_file(self) -> Path:
        """The accounts, where there are any."""
        return self.shared / "users.json"

    @property
    def sessions_file(self) -> Path:
        """Who is signed in on the page, by hashes alone."""
        return self.shared / "sessions.json"

    def users_home(self, name: str) -> Path:
        """Where a user's things are, or would be."""
        return self.shared / "users" / _checked(name, "user")

    def of_user(self, name: str) -> Store:
        """A user's own store; made where there is none yet."""
        home = self.users_home(name)
        with explained(home):
            home.mkdir(parents=True, exist_ok=True)
        if not (home / _USER).is_file():
            write_json(home / _USER, {"schema": SCHEMA, "user": name})
        return Store(home)

    def everybodys(self) -> dict[str, Store]:
        """The stores of the home by their users' names; the home itself, the administrator's, by an empty one."""
        users = sorted(marker.parent for marker in (self.shared / "users").glob(f"*/{_USER}"))
        return {
            "": Store(self.shared, confined=self.confined) if self.is_users else self,
            **{home.name: Store(home) for home in users if _NAME.fullmatch(home.name)},
        }

    def set_aside(self, name: str) -> Path:
        """Take a user's things out of use, so that another one of that name starts anew; returns where they are."""
        home = self.users_home(name)
        stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
        target = self._fresh(self.shared / "removed", f"{stamp}-{name}")
        with explained(target):
            home.rename(target)
        return target

    def check_reach(self, config: RunConfig) -> None:
        """StudioError where a configuration names a file or folder that whoever uses this store may not read.

        Forms and imported runs come from elsewhere: those whose pages only this machine reaches may name any, all
        others the shared models and what is below their home.
        """
        if not self.confined:
            return
        for file in (config.data.path, config.data.held_out_path, config.data.general_path):
            if file and not self._is_own(file) and not Path(file).resolve().is_relative_to(ASSETS):
                raise _out_of_reach(file)
        self.check_model(config.model.id)
        if config.launch.where == "ray":  # its addresses would be asked, and what lies there read and written
            raise StudioError(
                "This page starts runs on this machine alone.",
                "Runs on a cluster are the administrator's to start, on the machine's own command line.",
            )

    def check_model(self, model_id: str) -> None:
        """As `check_reach`, for a model alone."""
        if not self.confined or self._is_own(model_id):
            return
        from studio.engine.hub import ID

        is_name = Path(model_id).name == model_id and model_id not in ("", ".", "..", "~")
        # A relative path is a hub id only where no such folder is at hand.
        here = Path(model_id).expanduser().exists() and not (self.models_dir / model_id).is_dir()
        if here or not (is_name or ID.fullmatch(model_id)):
            raise _out_of_reach(model_id)

    def locate(
        self,
        model_id: str,
        *,
        revision: str | None = None,
        download: bool = True,
        progress: Progress | None = None,
    ) -> Path:
        """`models.locate` among the models that this store's user may read."""
        from studio.engine import models

        self.check_model(model_id)
        return models.locate(
            model_id, self.models_dir, revision=revision, download=download, progress=progress
        )

    def _is_own(self, path: str) -> bool:
        return Path(path).is_absolute() and Path(path).resolve().is_relative_to(self.home)

    @property
    def errors_file(self) -> Path:
        """What failed inside the studio while the page was answered."""
        return self.shared / "errors.log"

    @property
    def endpoints_lock(self) -> Path:
        """Held while a port is chosen to serve a model at."""
        return self.shared / "endpoints.lock"

    @property
    def machine_file(self) -> Path:
        return self.shared / "machine.json"

    @property
    def encoded_dir(self) -> Path:
        """Encoded datasets by content; can be deleted at any time."""
        return self.home / "cache" / "encoded"

    @property
    def device_lock(self) -> Path:
        """Held by the one worker that trains, whoever's it is; others wait in state `queued`."""
        return self.shared / "device.lock"

    @property
    def surveys_lock(self) -> Path:
        """Held by the process that checks a large file, whoever's it is."""
        return self.shared / "surveys.lock"

    @property
    def jobs_lock(self) -> Path:
        """Held while runs are started, resumed or moved, so that two who do so do not do it twice."""
        return self.shared / "jobs.lock"

    def machine(self) -> Machine:
        """What this machine can do; probed once, in a process of its own, and kept in machine.json."""
        return probe.cached(self.machine_file)

    @property
    def speeds_file(self) -> Path:
        """Tokens a second that finished runs reached, by kind of run: what later estimates are made from."""
        return self.shared / "speeds.json"

    @property
    def mappings_file(self) -> Path:
        """Which column is which, by the columns of files that were mapped by hand."""
        return self.home / "mappings.json"

    # Runs

    def run_dir(self, run_id: str) -> Path:
        """The folder of an existing run. StudioError where there is none."""
        folder = self.runs_dir / _checked(run_id, "run")
        if not (folder / "run.json").is_file():
            raise StudioError("There is no run {run}.", "`studio runs` lists them.", run=run_id)
        return folder

    def new_run_dir(self, name: str) -> Path:
        """A fresh, empty folder <utc>-<slug>."""
        stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
        return self._fresh(self.runs_dir, f"{stamp}-{slug(name)}")

    def free_run_dir(self, run_id: str) -> Path:
        """Where a run of this id would lie. StudioError where there is one already."""
        folder = self.runs_dir / _checked(run_id, "run")
        if folder.exists():
            raise StudioError(
                "There is a run {run} already.",
                "It is left as it is: delete it first to import it again.",
                run=run_id,
            )
        return folder

    def run_ids(self) -> list[str]:
        """Every run on disk, the newest first."""
        return sorted((path.parent.name for path in self.runs_dir.glob("*/run.json")), reverse=True)

    def delete_run(self, run_id: str) -> None:
        """Remove a run's folder; renamed first, so that a half-deleted run is never listed."""
        _remove(self.run_dir(run_id), self.tmp_dir)

    # Talks

    def talk_file(self, talk_id: str) -> Path:
        """Where a conversation with a run's models is kept, or would be."""
        return self.talks_dir / f"{_checked(talk_id, 'conversation')}.json"

    def talk_ids(self) -> list[str]:
        """Every conversation on disk, the newest first."""
        return sorted((path.stem for path in self.talks_dir.glob("[!.]*.json")), reverse=True)

    # Datasets

    def save_dataset(
        self,
        source: Path,
        name: str | None = None,
        origin: Mapping[str, Any] | None = None,
        read_as: Mapping[str, str] | None = None,
    ) -> DatasetEntry:
        """Copy a file into the home as a new dataset; the original is never changed afterwards.

        `origin` says where rows come from that nobody uploaded, and `read_as` how the file is read, where that is not
        to be recognised. The copy has the name for a person, with the file's own ending.
        """
        name = name or source.name
        folder = self._fresh(self.datasets_dir, slug(Path(name).stem))
        try:
            with explained(folder):
                original = folder / (slug(Path(name).stem) + _ending(source.name))
                if original.name in _OURS:
                    original = folder / f"upload-{original.name}"
                shutil.copyfile(source, original)
                write_json(
                    folder / "dataset.json",
                    {
                        "schema": SCHEMA,
                        "name": name,
                        "original": original.name,
                        "in_use": original.name,
                        "created": now(),
                        **({"origin": dict(origin)} if origin else {}),
                        **({"read_as": dict(read_as)} if read_as else {}),
                    },
                )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return self.dataset(folder.name)

    def append_row(self, entry: DatasetEntry, line: str) -> None:
        """A row more at the end of a JSONL file that nobody uploaded: its rows are collected one by one."""
        assert entry.origin, "an upload is never changed"
        write_text(entry.original, entry.original.read_text(encoding="utf-8") + line + "\n")

    def put_rows(self, dataset_id: str, write: Callable[[Path], None], rows: str) -> DatasetEntry:
        """Let `write` fill a fresh folder beside a dataset's original, and use its file `rows` from now on.

        All that is written comes into use together, or not at all.
        """
        entry = self.dataset(dataset_id)
        folder = entry.original.parent
        # Counted on, so that a path never stands for other rows than those that somebody saw there.
        last = max((int(old.name.partition("-")[2] or 1) for old in folder.glob("repair*")), default=0)
        repair = self._fresh(folder, f"repair-{last + 1}")
        try:
            with explained(folder):
                write(repair)
        except BaseException:
            shutil.rmtree(repair, ignore_errors=True)
            raise
        self._use(folder, f"{repair.name}/{rows}")
        # The rows in use until now stay for whoever is reading them; what a crash left behind goes.
        for old in folder.glob("repair*"):
            if old.is_dir() and old not in (repair, entry.path.parent):
                shutil.rmtree(old, ignore_errors=True)
        return self.dataset(dataset_id)

    def revert_dataset(self, dataset_id: str) -> DatasetEntry:
        """Use the original upload again."""
        entry = self.dataset(dataset_id)
        self._use(entry.original.parent, entry.original.name)
        return self.dataset(dataset_id)

    def dataset(self, dataset_id: str) -> DatasetEntry:
        """A dataset by its id. StudioError where there is none, or where its files are damaged."""
        folder = self._dataset_dir(dataset_id)
        try:
            return _entry(folder)
        except (StudioError, KeyError, TypeError) as error:
            raise StudioError(
                "The dataset {dataset} is damaged.",
                "Delete it, and upload the file again.",
                dataset=dataset_id,
            ) from error

    def datasets(self) -> list[DatasetEntry]:
        """All datasets that can be read, the newest first."""
        entries = [entry for _, entry in self._dataset_entries() if entry]
        return sorted(entries, key=lambda entry: entry.created, reverse=True)

    def damaged_datasets(self) -> list[str]:
        """The ids of the datasets that cannot be read; they can still be deleted."""
        return sorted(name for name, entry in self._dataset_entries() if entry is None)

    def delete_dataset(self, dataset_id: str) -> None:
        """Remove a dataset's folder, renamed first. Runs that were trained on it keep their own copy of the rows."""
        _remove(self._dataset_dir(dataset_id), self.tmp_dir)

    def _dataset_dir(self, dataset_id: str) -> Path:
        folder = self.datasets_dir / _checked(dataset_id, "dataset")
        if not (folder / "dataset.json").is_file():
            raise StudioError("There is no dataset {dataset}.", "Upload the file again.", dataset=dataset_id)
        return folder

    def _dataset_entries(self) -> list[tuple[str, DatasetEntry | None]]:
        found: list[tuple[str, DatasetEntry | None]] = []
        for file in self.datasets_dir.glob("*/dataset.json"):
            try:
                found.append((file.parent.name, self.dataset(file.parent.name)))
            except StudioError:
                found.append((file.parent.name, None))
        return found

    def _use(self, folder: Path, name: str) -> None:
        data = read_json(folder / "dataset.json") or {}
        write_json(folder / "dataset.json", {**data, "in_use": name})

    def _fresh(self, parent: Path, name: str) -> Path:
        with explained(parent):
            parent.mkdir(parents=True, exist_ok=True)
            for attempt in range(1, 1000):
                folder = parent / (name if attempt == 1 else f"{name}-{attempt}")
                try:
                    folder.mkdir()
                except FileExistsError:
                    continue
                return folder
        raise StudioError("No free name is left for {name}.", "Delete some of the old ones.", name=name)


def _entry(folder: Path) -> DatasetEntry:
    """What dataset.json says. KeyError or TypeError where it says something else, StudioError where it is no JSON."""
    data = read_json(folder / "dataset.json")
    if data is None or not all(isinstance(data[key], str) for key in ("name", "created")):
        raise TypeError
    original, used = folder / Path(data["original"]).name, _IN_USE.fullmatch(data["in_use"])
    if not used:
        raise KeyError
    in_use = folder / (used["repair"] or "") / used["file"]
    if not (in_use.is_file() and original.is_file()):
        raise KeyError
    return DatasetEntry(
        folder.name,
        data["name"],
        in_use,
        original,
        data["created"],
        data.get("read_as", {}),
        data.get("origin", {}),
    )


def _out_of_reach(path: str) -> StudioError:
    return StudioError(
        "{path} is outside of what this page may read.",
        "Choose something from the lists. Files and folders of the machine are named on its own command line.",
        path=repr(path),
    )


def _remove(folder: Path, tmp_dir: Path) -> None:
    doomed = tmp_dir / f"deleted-{folder.name}-{os.getpid()}"
    with explained(folder):
        folder.rename(doomed)
        shutil.rmtree(doomed)


def slug(text: str) -> str:
    """A file name's safe core: lower-case letters, digits and single hyphens, 40 characters at most.

    >>> slug("My Data (v2)")
    'my-data-v2'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-") or "untitled"


def _ending(name: str) -> str:
    """A file's short extension, with the one inside of its packing.

    >>> _ending("Rows.TXT.gz"), _ending("rows"), _ending("v1.0 of rows")
    ('.txt.gz', '', '')
    """
    *_, inner, outer = (
        ("", *(suffix.lower() for suffix in Path(name).suffixes)) if Path(name).suffix else ("", "")
    )
    if not re.fullmatch(r"\.[a-z0-9]{1,8}", outer):
        return ""
    return inner + outer if outer in PACKED and re.fullmatch(r"\.[a-z0-9]{1,8}", inner) else outer


def _checked(name: str, kind: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise StudioError(
            "{name} is not the name of a {kind}.", "Choose one from the list.", name=repr(name), kind=kind
        )
    return name
