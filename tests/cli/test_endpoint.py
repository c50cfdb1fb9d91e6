"""`studio endpoint` in the foreground until Ctrl-C, and left to itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from studio import cli
from studio.domain.config import ExportConfig
from studio.services import endpoints, proven
from studio.services.store import Store
from tests.other_servers import install_vllm
from tests.runs import finished_run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def run(store: Store) -> str:
    run = finished_run(store, "tickets")
    proven.made(store, run.id, ExportConfig(dtype="float32"))
    return run.id


@pytest.fixture(autouse=True)
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(install_vllm(tmp_path)), prepend=os.pathsep)


def test_in_the_foreground_it_serves_until_ctrl_c(store: Store, run: str) -> None:
    command = ["endpoint", run, "--with", "vllm", "--home", str(store.home)]
    with subprocess.Popen(
        [sys.executable, "-m", "studio", *command], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        (found,) = endpoints.list_endpoints(store)
        assert line == f"tickets is at {found.asked.url} (vllm, from the export merged-float32)\n"
        child.send_signal(signal.SIGINT)
        try:
            assert child.wait(timeout=60) == 0
        finally:
            child.terminate()  # where Ctrl-C is ignored, as in a background job, the test would never end
    assert endpoints.list_endpoints(store) == []


def test_left_to_itself_it_is_listed_and_stopped(
    store: Store, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def studio(*arguments: str) -> tuple[int, str]:
        status = cli.main(["endpoint", *arguments, "--home", str(store.home)])
        return status, capsys.readouterr().out

    status, out = studio(run, "--with", "vllm", "--detach", "--json")
    begun = json.loads(out)
    assert (status, begun["state"], begun["model"], begun["run"]) == (0, "serving", "tickets", run)
    assert json.loads(studio("--json")[1]) == [begun]
    assert studio(run, "--json") == (0, out)  # once more: the one that is there
    assert studio()[1] == f"{run}  serving  tickets at {begun['url']}\n"
    assert studio(run, "--stop") == (0, f"{run} is no longer served.\n")
    assert studio()[1].startswith("Nothing is served.")
    assert studio(run, "--stop")[0] == 1
    assert studio(run, "--host", "0.0.0.0")[0] == 1
