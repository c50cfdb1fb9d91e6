"""A run on an OpenAI-compatible endpoint: the official client gets the chat's own answers, and nothing stays behind."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from openai import BadRequestError, OpenAI

from studio.domain.answer import ChatSettings
from studio.domain.chat import Message
from studio.domain.config import ExportConfig
from studio.domain.errors import StudioError
from studio.services import endpoint_servers, endpoints, exports, proven
from studio.services.chat import ChatProcess
from studio.services.endpoint_files import EndpointFiles
from studio.services.endpoint_worker import _reason
from studio.services.endpoints import EndpointStatus
from studio.services.files import read_json
from studio.services.jobs import Jobs
from studio.services.process import is_alive
from studio.services.run_files import RunFiles
from studio.services.store import Store
from tests.other_servers import install_vllm
from tests.runs import finished_run

QUESTION = [{"role": "user", "content": "Question 9?"}]


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def run(store: Store) -> RunFiles:
    """A run with a proven export in the number format of its chat."""
    run = finished_run(store, "Support tickets")
    proven.made(store, run.id, ExportConfig(dtype="float32"))
    return run


@pytest.fixture(scope="module")
def served(store: Store, run: RunFiles) -> Iterator[EndpointStatus]:
    endpoints.start(store, run.id)
    yield endpoints.wait(store, run.id)
    assert run.endpoint.hub.is_dir()
    endpoints.stop(store, run.id)
    assert not run.endpoint.hub.exists()


@pytest.fixture
def other(store: Store, run: RunFiles) -> Iterator[RunFiles]:
    """The same run once more."""
    folder = store.new_run_dir("other")
    shutil.copytree(run.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("endpoint"))
    yield RunFiles(folder)
    if folder.exists():
        Jobs(store).delete(folder.name)


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(install_vllm(tmp_path)), prepend=os.pathsep)


@pytest.fixture
def client(served: EndpointStatus) -> Iterator[OpenAI]:
    with OpenAI(base_url=served.asked.url, api_key="none") as client:
        yield client


def test_the_client_is_told_of_this_model_alone_by_a_name(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["support-tickets"]
    with pytest.raises(BadRequestError):
        client.chat.completions.create(model="tiny", messages=QUESTION)


def test_it_answers_as_the_chat_does(store: Store, served: EndpointStatus, client: OpenAI) -> None:
    chat = ChatProcess(store)
    try:
        settings = ChatSettings(temperature=0.0, max_new_tokens=24)
        expected = chat.complete(served.asked.run, [Message(**QUESTION[0])], settings, ["tuned"])["tuned"]
    finally:
        chat.close()
    asked = {"model": "support-tickets", "messages": QUESTION, "temperature": 0, "max_tokens": 24}
    answer = client.chat.completions.create(**asked)
    assert answer.usage.prompt_tokens == expected.prompt_tokens
    assert answer.choices[0].message.content == expected.text
    pieces = [
        piece.choices[0].delta.content or "" for piece in client.chat.completions.create(**asked, stream=True)
    ]
    assert "".join(pieces) == expected.text
    assert len(pieces) > 5


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/health", "127.0.0.1", 200),
        ("GET", "/health", "elsewhere.example", 403),
        ("POST", "/load_model", "127.0.0.1", 404),
        ("POST", "/reset", "127.0.0.1", 404),
    ],
)
def test_a_page_elsewhere_reaches_nothing(
    served: EndpointStatus, method: str, path: str, host: str, status: int
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.asked.port)
    connection.request(method, path, headers={"Host": host})
    assert connection.getresponse().status == status
    connection.close()


def test_it_is_started_once_and_its_export_stays(store: Store, served: EndpointStatus) -> None:
    run_id = served.asked.run
    assert endpoints.start(store, run_id, dtype="float32", port=served.asked.port) == served
    with pytest.raises(StudioError, match="is served already, in another way, at http://127") as refused:
        endpoints.start(store, run_id, port=1)
    assert refused.value.remedy == "Stop it first."
    assert [one.asked.run for one in endpoints.list_endpoints(store)] == [run_id]
    assert (served.export, len(exports.list_exports(store, run_id))) == ("merged-float32", 1)
    with pytest.raises(StudioError, match="is being served"):
        exports.delete(store, run_id, served.export)


@pytest.mark.usefixtures("vllm")
def test_vllm_gets_the_export_and_the_name(store: Store, other: RunFiles) -> None:
    endpoints.start(store, other.id, server="vllm")
    found = endpoints.wait(store, other.id)
    model = other.exports / "merged-float32" / "files"
    assert json.loads(found.log.read_text().splitlines()[0]) == [
        *("serve", str(model), "--served-model-name", "support-tickets"),
        *("--host", "127.0.0.1", "--port", str(found.asked.port), "--allowed-origins", "[]"),
    ]
    assert found.command[1:] == tuple(json.loads(found.log.read_text().splitlines()[0]))
    endpoints.stop(store, other.id)
    stopped = endpoints.status(store, other.id)
    assert stopped is not None
    assert (stopped.state, stopped.error) == ("stopped", None)
    with pytest.raises(StudioError, match="is not being served"):
        endpoints.stop(store, other.id)


@pytest.mark.usefixtures("vllm")
def test_vllm_gets_an_address_without_brackets(tmp_path: Path) -> None:
    command = endpoint_servers.launch("vllm", EndpointFiles(tmp_path), tmp_path, "x", "[::1]", 8000).command
    assert command[command.index("--host") + 1] == "::1"


@pytest.mark.usefixtures("vllm")
def test_a_server_that_ends_by_itself_says_why(
    store: Store, other: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_TEST_ENDS", "1")
    endpoints.start(store, other.id, server="vllm")
    with pytest.raises(StudioError) as failed:
        endpoints.wait(store, other.id)
    assert failed.value.message == "The server ended (exit status 1): ValueError: no memory for the cache"
    assert str(other.endpoint.log) in failed.value.remedy


@pytest.mark.usefixtures("vllm")
def test_a_killed_watcher_leaves_no_server_that_nobody_can_end(store: Store, other: RunFiles) -> None:
    endpoints.start(store, other.id, server="vllm")
    endpoints.wait(store, other.id)
    watcher, server = (read_json(file) for file in (other.endpoint.process, other.endpoint.server))
    assert watcher is not None
    assert server is not None
    os.kill(watcher["pid"], 9)
    until(lambda: not is_alive(watcher["pid"], watcher["started"]))
    assert [one.state for one in endpoints.list_endpoints(store) if one.asked.run == other.id] == ["serving"]
    os.kill(server["pid"], 9)
    until(lambda: not is_alive(server["pid"], server["started"]))
    found = endpoints.status(store, other.id)
    assert found is not None
    assert found.state == "failed"
    assert "ended without a word" in str(found.error)


@pytest.mark.usefixtures("vllm")
def test_a_watcher_killed_while_the_model_loads_is_the_end_and_its_port_is_promised_until_then(
    store: Store, other: RunFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = tmp_path / "loads"
    loads.touch()
    monkeypatch.setenv("VLLM_TEST_LOADS", str(loads))
    asked = endpoints.start(store, other.id, server="vllm").asked
    until(other.endpoint.server.exists)
    until(lambda: _answers(asked.port))  # but names another model
    with pytest.raises(StudioError, match=f"Port {asked.port} is in use"):
        endpoints._port(store, "127.0.0.1", asked.port, without_login=False)
    found = endpoints.status(store, other.id)
    assert found is not None
    assert found.state == "starting"
    other.endpoint.hub.mkdir()  # as transformers' server has it
    watcher, server = (read_json(file) for file in (other.endpoint.process, other.endpoint.server))
    assert watcher is not None
    assert server is not None
    os.kill(watcher["pid"], 9)
    with pytest.raises(StudioError, match="ended without a word"):
        endpoints.wait(store, other.id)
    assert not is_alive(server["pid"], server["started"])
    assert not other.endpoint.hub.exists()


@pytest.mark.usefixtures("vllm")
def test_one_that_does_not_listen_yet_keeps_its_port(store: Store, other: RunFiles) -> None:
    promised = endpoints.start(store, other.id, server="vllm").asked.port
    assert endpoints._port(store, "127.0.0.1", None, without_login=False) != promised


def test_the_reason_is_looked_for_at_the_log_s_end(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("error: long ago\n" + "all is well\n" * 10_000)
    assert _reason(log) == "all is well"


@pytest.mark.usefixtures("vllm")
def test_a_deleted_run_is_no_longer_served(store: Store, other: RunFiles) -> None:
    endpoints.start(store, other.id, server="vllm")
    found = endpoints.wait(store, other.id)
    Jobs(store).delete(other.id)
    until(lambda: not _answers(found.asked.port))


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_what_cannot_be_served_is_said_before_anything_is_started(
    store: Store, other: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StudioError, match=r"Anyone who can reach 0\.0\.0\.0"):
        endpoints.start(store, other.id, host="0.0.0.0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StudioError, match=f"Port {taken.getsockname()[1]} is in use"):
            endpoints.start(store, other.id, port=taken.getsockname()[1])
    env = other.env()
    other.write_env(
        {**env, "sha256": {**env["sha256"], "result": {"adapter_model.safetensors": "of another"}}}
    )
    assert proven.find(store, other.id) == []  # though nothing is newer than the export
    other.write_env(env)
    assert [status.name for status in proven.find(store, other.id)] == ["merged-float32"]
    os.utime(other.adapter / "adapter_model.safetensors")  # trained on since
    with pytest.raises(StudioError, match="no proven copy"):
        endpoints.start(store, other.id, export="merged-float32")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StudioError, match="vLLM is not installed"):
        endpoints.start(store, other.id, server="vllm")
    assert endpoints.status(store, other.id) is None


def test_the_export_that_is_served_answers_as_the_chat_does_where_there_is_a_choice(
    store: Store, other: RunFiles
) -> None:
    def dtype(**asked: str) -> str:
        return endpoints.export_config(store, endpoints.Asked(other.id, "x", **asked)).dtype

    assert (dtype(), dtype(dtype="float16")) == ("float32", "float16")
    kept = other.exports / "merged-float32" / "export.json"
    kept.write_text(kept.read_text().replace('"float32"', '"bfloat16"'))
    assert dtype() == "bfloat16"  # as it is there already
    shutil.rmtree(other.exports)
    assert dtype() == "float32"


def test_the_server_sees_links_to_the_export_and_no_other_model(store: Store, run: RunFiles) -> None:
    model = run.exports / "merged-float32" / "files"
    endpoint_servers._write_hub(run.endpoint.hub, model, "tickets")
    (repository,) = run.endpoint.hub.iterdir()
    assert repository.name == "models--tickets"
    (snapshot,) = (repository / "snapshots").iterdir()
    assert {file.name for file in snapshot.iterdir()} == {file.name for file in model.iterdir()}
    assert all(file.samefile(model / file.name) for file in snapshot.iterdir())
