"""A dataset's id at the hub is read like its files; why it cannot be is one sentence."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from huggingface_hub import constants

from studio.domain.errors import StudioError
from studio.engine.hub_data import dataset_id
from studio.engine.readers import read_source

ROWS = [{"prompt": f"q{number}", "response": f"a{number}"} for number in range(4)]
FILE_ADDRESS = "/{repo_id}/resolve/{revision}/{filename}"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def parquet(rows: list[dict[str, str]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


class Hub(ThreadingHTTPServer):
    """A hub with one dataset, `owner/set`; `branches` holds the files of each, `status` and `code` make it refuse."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.branches: dict[str, dict[str, bytes]] = {}
        self.status = 200
        self.code = ""
        self.fetched: list[str] = []


class HubHandler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path.split("?")[0])
        _, found, branch = path.partition("/api/datasets/owner/set/revision/")
        files = self.server.branches.get(branch if found else "main")
        if self.server.status != 200:
            self.answer(self.server.status, b"{}", {"X-Error-Code": self.server.code})
        elif path == "/api/datasets/owner/set" or (found and files is not None):
            siblings = [{"rfilename": name, "size": len(data)} for name, data in (files or {}).items()]
            body = json.dumps({"id": "owner/set", "sha": COMMIT, "siblings": siblings})
            self.answer(200, body.encode(), {"Content-Type": "application/json"})
        elif found:
            self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif path.startswith(prefix := f"/datasets/owner/set/resolve/{COMMIT}/"):
            name = path.removeprefix(prefix)
            if self.command == "GET":
                self.server.fetched.append(name)
            data = {
                **self.server.branches.get("main", {}),
                **self.server.branches.get("refs/convert/parquet", {}),
            }[name]
            self.answer(200, data, {"ETag": f'"{len(data)}-{name}"', "X-Repo-Commit": COMMIT})
        else:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + FILE_ADDRESS)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


CONVERTED = {
    "default/train/0000.parquet": parquet(ROWS[:2]),
    "default/train/0001.parquet": parquet(ROWS[2:]),
    "default/test/0000.parquet": parquet([{"prompt": "t", "response": "t"}]),
}


def test_what_the_hub_made_parquet_of_is_read(hub: Hub) -> None:
    hub.branches = {"refs/convert/parquet": CONVERTED, "main": {"data.bin": b""}}
    told: list[tuple[str, float, float]] = []
    records = read_source("owner/set", progress=lambda *step: told.append(step))
    assert (records.rows, records.files[-1]) == (ROWS, "default/train/0001.parquet")
    assert [found.message for found in records.findings] == [
        "Of owner/set, the split train was read. It also has test."
    ]
    total = float(sum(len(data) for name, data in CONVERTED.items() if "/train/" in name))
    assert [step for step in told if step[0] == "download"][-1] == ("download", total, total)
    assert told[-1][0] == "read"

    hub.fetched.clear()
    address = "https://huggingface.co/datasets/owner/set/viewer"
    assert [row["prompt"] for row in read_source(address, split="test").rows] == ["t"]
    assert hub.fetched == ["default/test/0000.parquet"]  # each split is fetched once it is asked for


def test_a_dataset_that_was_not_converted_is_read_from_its_own_files(hub: Hub) -> None:
    lines = "\n".join(map(json.dumps, ROWS)).encode()
    hub.branches = {"main": {"README.md": b"# Card", "rows.jsonl": lines, "load.py": b"raise SystemExit"}}
    assert read_source("owner/set").rows == ROWS
    assert hub.fetched == ["rows.jsonl"]
    hub.branches = {"main": {"README.md": b"# Card", "load.py": b""}}
    with pytest.raises(StudioError, match="The hub dataset owner/set has no file that can be read"):
        read_source("owner/set")


def test_one_of_several_configurations(hub: Hub) -> None:
    hub.branches = {
        "refs/convert/parquet": {
            "de/train/0000.parquet": parquet(ROWS[:1]),
            "en/train/0000.parquet": parquet(ROWS[1:]),
        }
    }
    with pytest.raises(StudioError, match="The hub dataset owner/set has several configurations: de, en"):
        read_source("owner/set")
    assert read_source("owner/set", config="en").rows == ROWS[1:]


@pytest.mark.parametrize(
    ("status", "code", "message", "remedy"),
    [
        (403, "GatedRepo", "The hub dataset owner/set is gated: ", "set HF_TOKEN"),
        (404, "RepoNotFound", "The hub has no dataset owner/set, or it is private", "Check the spelling"),
        (403, "", "The hub refuses access to the dataset owner/set (status 403).", "Set HF_TOKEN"),
        (400, "", "The hub dataset owner/set could not be fetched: ", "Check the connection"),
    ],
)
def test_a_hub_that_refuses(hub: Hub, status: int, code: str, message: str, remedy: str) -> None:
    hub.status, hub.code = status, code
    with pytest.raises(StudioError) as error:
        read_source("owner/set")
    assert error.value.message.startswith(message)
    assert remedy in error.value.remedy


def test_a_revision_that_is_not_there(hub: Hub) -> None:
    hub.branches = {"main": {}}
    with pytest.raises(StudioError, match="The hub dataset owner/set has no revision v2"):
        read_source("owner/set", revision="v2")


def test_a_hub_out_of_reach(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        StudioError, match="The hub dataset owner/set could not be fetched: Connection refused"
    ):
        read_source("owner/set")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(StudioError, match="There is no file owner/set, and HF_HUB_OFFLINE forbids"):
        read_source("owner/set")


def test_a_file_that_is_not_there_is_not_looked_for_at_the_hub(tmp_path: Path) -> None:
    assert dataset_id("data/rows.jsonl") is None
    assert dataset_id("data/rows.csv.gz") is None
    assert dataset_id("rows") is None
    assert dataset_id("hf://datasets/owner/set") == "owner/set"
    with pytest.raises(StudioError, match=r"There is no file data/rows\.jsonl\."):
        read_source("data/rows.jsonl")


def test_a_misspelt_file_in_a_folder_is_not_asked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(StudioError, match=r"There is no file data/rows\."):
        read_source("data/rows")
