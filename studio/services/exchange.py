"""The files of a run on S3-compatible storage, for clusters whose machines share no folder with the studio."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from studio.domain.errors import StudioError
from studio.services.run_files import RunFiles

_MARKERS = ("progress.json", "best.json", "sealed.json", "adapter_config.json", "config.json")
"""Written last into their folders: sent last, so that what is there is whole."""
_LOCAL = ("worker.log", "ray-job", ".reserve", "exports", "evaluations", "endpoint", "ratings", "benchmarks")
"""What the cluster has no use for."""
_SECONDS = 4


class Exchange:
    """A run's folder here and there. Each side sends what it writes, and fetches what the other wrote."""

    def __init__(self, storage: str, folder: Path | None = None) -> None:
        """`storage`: s3://bucket/folder?endpoint=http://…; keys come from the environment (AWS_ACCESS_KEY_ID …)."""
        parts = urlsplit(storage)
        if parts.scheme != "s3" or not parts.netloc:
            raise StudioError(
                "{storage} is no place that a run can be exchanged over.",
                "Write s3://bucket/folder, with ?endpoint=http://host:port for a server of your own.",
                storage=storage,
            )
        self._endpoint = parse_qs(parts.query).get("endpoint", [""])[0]
        self._root = f"{parts.netloc}{parts.path}".rstrip("/")
        self._storage = storage
        self._folder = folder
        self._seen: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._files: Any = None

    def check(self) -> None:
        """Raises StudioError where the storage does not answer, or has no such bucket."""
        from pyarrow import fs

        bucket = self._root.split("/")[0]
        try:
            found = self._system().get_file_info(bucket).type
        except OSError as error:
            raise StudioError(
                "The storage {storage} cannot be reached: {problem}.",
                "Check its address, and that AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set.",
                storage=self._storage,
                problem=str(error).splitlines()[0].rstrip("."),
            ) from error
        if found == fs.FileType.NotFound:
            raise StudioError(
                "The storage {storage} has no bucket {bucket}.",
                "Make it, or write the name of another.",
                storage=self._storage,
                bucket=bucket,
            )

    def send_all(self, files: RunFiles) -> None:
        """All that the cluster needs of a run: its folder, and a model that lies on this machine."""
        from studio.services.store import Store

        self.forget_there(files.id)
        self.send_new()
        config, store = files.config(), Store(files.folder.parent.parent)
        path = store.locate(config.model.id, revision=config.model.revision, download=False)
        for file in sorted(path.iterdir()):
            place = f"{self._root}/models/{path.name}/{file.name}"
            if file.is_file() and self._size(place) != file.stat().st_size:
                self._send(file, place)

    def forget_there(self, run: str) -> None:
        """Remove what an earlier life left: a request to stop, above all."""
        with contextlib.suppress(OSError):
            self._system().delete_dir_contents(f"{self._root}/runs/{run}", missing_dir_ok=True)
        self._seen.clear()

    def fetch_model(self, home: Path, name: str) -> None:
        """Into the models of a home on this machine, if it is there and not here yet."""
        self._fetch(f"{self._root}/models/{name}", home / "models" / name)

    def fetch_new(self) -> None:
        """What the other side wrote or removed since the last time; nothing while the storage does not answer."""
        assert self._folder is not None
        with self._lock, contextlib.suppress(OSError):
            there = self._list()
            for name, stamp in sorted(there.items(), key=lambda item: _order(item[0])):
                if self._seen.get(name) != stamp and not _stays(name):
                    self._fetch_file(f"{self._run}/{name}", self._folder / name)
                    self._seen[name] = stamp

    def send_new(self) -> None:
        """What was written here since the last time, and what is gone from checkpoints/; markers last."""
        assert self._folder is not None
        with self._lock:
            here: dict[str, tuple[int, int]] = {}
            for file in self._folder.rglob("*"):
                name = file.relative_to(self._folder).as_posix()
                if file.is_file() and not _stays(name) and ".partial" not in name:
                    with contextlib.suppress(FileNotFoundError):
                        status = file.stat()
                        here[name] = (status.st_size, status.st_mtime_ns)
            for name in sorted(here, key=_order):
                if self._seen.get(name) != here[name]:
                    with contextlib.suppress(FileNotFoundError):  # a checkpoint that was replaced meanwhile
                        self._send(self._folder / name, f"{self._run}/{name}")
                        self._seen[name] = here[name]
            for name in [name for name in self._seen if name not in here and name.startswith("checkpoints/")]:
                with contextlib.suppress(OSError):
                    self._system().delete_file(f"{self._run}/{name}")
                del self._seen[name]

    def send(self, name: str) -> None:
        """One file of the run."""
        assert self._folder is not None
        self._send(self._folder / name, f"{self._run}/{name}")

    def asks_to_stop(self) -> bool:
        with contextlib.suppress(OSError):
            return self._size(f"{self._run}/stop") is not None
        return False

    @property
    def _run(self) -> str:
        assert self._folder is not None
        return f"{self._root}/runs/{self._folder.name}"

    def _system(self) -> Any:
        from pyarrow import fs

        if self._files is None:
            scheme, _, host = self._endpoint.rpartition("://")
            own = {"endpoint_override": host, "scheme": scheme or "http"} if host else {}
            self._files = fs.S3FileSystem(
                region=os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
                connect_timeout=_SECONDS,
                request_timeout=60,
                retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
                **own,
            )
        return self._files

    def _list(self) -> dict[str, tuple[int, int]]:
        from pyarrow import fs

        found = self._system().get_file_info(fs.FileSelector(self._run, recursive=True, allow_not_found=True))
        prefix = len(self._run) + 1
        return {
            info.path[prefix:]: (info.size, info.mtime_ns) for info in found if info.type == fs.FileType.File
        }

    def _size(self, place: str) -> int | None:
        from pyarrow import fs

        info = self._system().get_file_info(place)
        return info.size if info.type == fs.FileType.File else None

    def _send(self, file: Path, place: str) -> None:
        with file.open("rb") as source, self._system().open_output_stream(place) as target:
            shutil.copyfileobj(source, target, 8 << 20)

    def _fetch(self, place: str, folder: Path) -> None:
        from pyarrow import fs

        for info in self._system().get_file_info(fs.FileSelector(place, allow_not_found=True)):
            target = folder / info.base_name
            if info.type == fs.FileType.File and not (
                target.is_file() and target.stat().st_size == info.size
            ):
                self._fetch_file(info.path, target)

    def _fetch_file(self, place: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
        with self._system().open_input_stream(place) as source, temporary.open("wb") as written:
            shutil.copyfileobj(source, written, 8 << 20)
        temporary.replace(target)


def _stays(name: str) -> bool:
    return name.split("/")[0] in _LOCAL


def _order(name: str) -> tuple[int, str]:
    """Weights before the markers that vouch for them, and the run's own words last."""
    last = name.rpartition("/")[2]
    return (2 if name in ("events.jsonl", "state.json") else 1 if last in _MARKERS else 0, name)
