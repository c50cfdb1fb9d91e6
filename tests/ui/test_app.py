from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.domain.errors import StudioError
from studio.ui.app import check_address, is_loopback


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        yield int(other.getsockname()[1])


def test_a_port_in_use_is_named_with_the_next_free_one() -> None:
    with taken_port() as port, pytest.raises(StudioError) as raised:
        check_address("127.0.0.1", port, login=False)
    assert raised.value.message == f"Port {port} is in use."
    free = int(raised.value.text.values["free"])
    assert free > port
    assert f"--port {free}" in raised.value.remedy
    check_address("127.0.0.1", free, login=False)


def test_an_address_that_others_can_reach_demands_a_login() -> None:
    with pytest.raises(StudioError, match="no login is set"):
        check_address("0.0.0.0", 0, login=False)
    check_address("0.0.0.0", 0, login=True)


def test_an_address_that_this_machine_does_not_have_is_explained() -> None:
    with pytest.raises(StudioError, match=r"cannot be served at 192\.0\.2\.1:7860"):
        check_address("192.0.2.1", 7860, login=True)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *((host, True) for host in ("127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost")),
        *((host, False) for host in ("0.0.0.0", "::", "192.168.1.4", "studio.lan", "localhost.evil.com")),
    ],
)
def test_only_loopback_addresses_count_as_this_machine(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_the_page_and_the_command_line_come_up_without_torch_and_its_train() -> None:
    code = (
        "import sys, studio.ui.app, studio.cli;"
        "print([m for m in ('torch','transformers','trl','peft','datasets','bitsandbytes') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


SERVER = """
import sys, threading
from studio.services.store import Store
from studio.ui import app
threading.Timer(60, lambda: __import__('os')._exit(3)).start()
app.serve(Store(sys.argv[1]), port=int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The page served by a process of its own: (address, home)."""
    home = tmp_path_factory.mktemp("home")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(home), str(port)], stdout=subprocess.PIPE, text=True
    )
    watchdog = threading.Timer(45, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == f"The studio is at http://127.0.0.1:{port}"
        yield f"http://127.0.0.1:{port}", home
    finally:
        watchdog.cancel()
        process.terminate()
        process.wait(10)
        process.stdout.close()  # type: ignore[union-attr]


def fetch(address: str, **headers: str) -> tuple[int, str]:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def test_once_it_says_so_the_page_answers(served: tuple[str, Path]) -> None:
    status, text = fetch(served[0] + "/")
    assert status == 200
    assert "Fine-Tuning Studio" in text


def test_the_page_loads_nothing_from_elsewhere(served: tuple[str, Path]) -> None:
    _, text = fetch(served[0] + "/")
    _, style = fetch(served[0] + "/theme.css")
    for foreign in ("fonts.googleapis", "gstatic", "cdnjs", "cdn.jsdelivr", "raw.githubusercontent"):
        assert foreign not in text + style


def test_no_file_outside_of_what_the_page_offers_is_served(served: tuple[str, Path]) -> None:
    address, home = served
    secret = home / "secret.txt"
    secret.write_text("secret")
    inside = home / "tmp" / "page" / ".." / ".." / "secret.txt"
    for path in ("/etc/passwd", str(secret), str(inside), os.path.abspath("pyproject.toml")):
        status, text = fetch(f"{address}/gradio_api/file={path}")
        assert status == 403, path
        assert "secret" not in text.replace("secret.txt", "")


def test_a_foreign_host_header_is_refused_by_the_whole_server(served: tuple[str, Path]) -> None:
    for path in ("/", "/config", "/gradio_api/info", "/theme.css"):
        assert fetch(served[0] + path, host="evil.example")[0] == 403


def test_nothing_that_describes_the_server_is_left_open(served: tuple[str, Path]) -> None:
    for path in ("/docs", "/redoc", "/openapi.json", "/monitoring", "/gradio_api/runs"):
        assert fetch(served[0] + path)[0] in (403, 404), path
