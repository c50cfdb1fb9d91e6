"""Archives behind the page's own server: whole, of the length that they said, and only for who may see the page."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator

import httpx
import pytest

from studio.services.store import Store
from studio.ui import downloads
from tests.runs import finished_run

SERVER = """
import sys, threading
from studio.services.accounts import Accounts, given_account
from studio.services.store import Store
from studio.ui import app
threading.Timer(90, lambda: __import__('os')._exit(3)).start()
store = Store(sys.argv[1])
app.serve(store, port=int(sys.argv[2]), accounts=Accounts(store, given_account(store, "me", "a secret")))
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Store]]:
    """The page, with a login, served by a process of its own: (address, store)."""
    store = Store(tmp_path_factory.mktemp("home"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(store.home), port], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline().strip() == f"The studio is at http://127.0.0.1:{port}"
        yield f"http://127.0.0.1:{port}", store
        process.terminate()
        process.wait(10)


@pytest.fixture
def page(served: tuple[str, Store]) -> Iterator[httpx.Client]:
    """Somebody who is signed in."""
    with httpx.Client(base_url=served[0], trust_env=False) as client:
        assert client.post("/login", data={"username": "me", "password": "a secret"}).status_code == 303
        yield client


@pytest.fixture(scope="module")
def run(served: tuple[str, Store]) -> str:
    return with_export(served[1])


def with_export(store: Store) -> str:
    """A run with one small export; returns its id."""
    run = finished_run(store)
    files = run.exports / "merged-bfloat16" / "files"
    files.mkdir(parents=True)
    (files.parent / "export.json").write_text("{}")
    (files / "model.safetensors").write_bytes(b"weights" * 1000)
    return run.id


def test_an_export_comes_as_one_archive(page: httpx.Client, run: str) -> None:
    answer = page.get(downloads.export_address(run, "merged-bfloat16"))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="{run}-merged-bfloat16.zip"'
    assert "content-encoding" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.content)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.read(f"{run}-merged-bfloat16/model.safetensors") == b"weights" * 1000


def test_a_run_comes_without_its_exports(page: httpx.Client, run: str) -> None:
    with zipfile.ZipFile(io.BytesIO(page.get(downloads.run_address(run)).content)) as archive:
        names = archive.namelist()
    assert f"{run}/run.json" in names
    assert not any("exports" in name for name in names)


def test_what_is_not_there_is_said(page: httpx.Client, run: str) -> None:
    for address, sentence in (
        (downloads.export_address(run, "other"), "There is no export other of this run."),
        (downloads.run_address("20260101-x"), "There is no run 20260101-x."),
        (downloads.run_address(".."), "'..' is not the name of a run."),
    ):
        answer = page.get(address, headers={"accept-language": "en"})
        assert answer.status_code == 404
        assert sentence in answer.text


def test_where_a_login_is_demanded_nothing_is_sent_without_it(served: tuple[str, Store], run: str) -> None:
    for address in (downloads.run_address(run), downloads.export_address(run, "merged-bfloat16")):
        assert httpx.get(f"{served[0]}/{address}", trust_env=False).status_code == 401


def test_other_hosts_names_get_nothing(page: httpx.Client, run: str) -> None:
    assert page.get(downloads.run_address(run), headers={"host": "evil.example"}).status_code == 403
