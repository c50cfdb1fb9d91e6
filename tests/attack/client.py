"""Gradio's protocol as the page's own script speaks it, for whoever means no good: any event with any values."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

API = "/gradio_api"
_JSON = {"content-type": "application/json"}
_SERVER = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()  # whoever started it is gone
from studio.services.accounts import Accounts
from studio.services.store import Store
from studio.ui import app
store = Store(sys.argv[1])
app.serve(store, sys.argv[3], int(sys.argv[2]), accounts=Accounts(store))
"""


@contextmanager
def served(home: Path, log: Path, host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """The page of a home in a process of its own: (address, process id)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(home), str(port), host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
    assert process.stdout is not None
    try:
        said = process.stdout.readline().decode()
        assert said.startswith("The studio is at "), log.read_text()
        yield said.removeprefix("The studio is at ").strip(), process.pid
    finally:
        process.kill()
        process.communicate(timeout=20)


class Caller:
    """One open page."""

    def __init__(self, address: str, name: str = "", password: str = "") -> None:
        self.http = httpx.Client(base_url=address, trust_env=False, timeout=60, follow_redirects=False)
        self.session = secrets.token_hex(6)
        if name:
            answer = self.http.post("/login", data={"username": name, "password": password})
            assert answer.status_code == 303, answer.text
        self.config: dict[str, Any] = self.http.get("/config").json()
        self.events = [event for event in self.config["dependencies"] if event["backend_fn"]]
        self.components = {part["id"]: part for part in self.config["components"]}

    def close(self) -> None:
        self.http.close()

    def server_functions(self) -> list[tuple[int, str]]:
        """The functions that a component's script calls: (component, function)."""
        return [
            (part["id"], name)
            for part in self.config["components"]
            for name in part["props"].get("server_fns", [])
        ]

    def kinds(self, event: Mapping[str, Any]) -> list[str]:
        """The types of an event's inputs."""
        return [self.components[part]["type"] for part in event["inputs"]]

    def call(self, event: Mapping[str, Any], data: list[Any], said: Any = None, trigger: Any = None) -> str:
        """All that comes back of an event, as text."""
        body = {
            "data": data,
            "fn_index": event["id"],
            "session_hash": self.session,
            "event_data": said,
            "trigger_id": trigger,
        }
        joined = self.http.post(f"{API}/queue/join", content=json.dumps(body), headers=_JSON)
        if joined.status_code != 200:
            return f"{joined.status_code} {joined.text}"
        heard: list[str] = []
        with self.http.stream("GET", f"{API}/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                heard.append(line)
                if '"close_stream"' in line:
                    break
        return "\n".join(heard)

    def ask(self, component: int, name: str, data: Any) -> httpx.Response:
        """A component's function."""
        body = {"data": data, "fn_name": name, "component_id": component, "session_hash": self.session}
        return self.http.post(f"{API}/component_server", content=json.dumps(body), headers=_JSON)

    def upload(self, name: str, content: bytes) -> str:
        """Where the server has put a file."""
        answer = self.http.post(f"{API}/upload", files={"files": (name, content)})
        return str(answer.json()[0])


def succeeded(heard: str) -> bool:
    return '"success":true' in heard
