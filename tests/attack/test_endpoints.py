"""Every address that the page's server has an answer for is in this table; a new one fails here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from studio.services.chat import ChatProcess
from studio.services.jobs import Jobs
from studio.services.store import Store
from studio.ui import downloads, gate, login
from studio.ui.rooms import Rooms

OPEN = {
    "/": "the page",
    "/config": "what the page is made of",
    "/theme.css": "its style",
    "/favicon.ico": "its sign",
    "/robots.txt": "nothing for robots",
    "/manifest.json": "off: it is no app",
    "/svelte/{path:path}": "Gradio's script",
    "/static/{path:path}": "Gradio's script",
    "/assets/{path:path}": "Gradio's script",
    "/runs/{run}.zip": "a run of one's own",
    "/exports/{run}/{name}.zip": "an export of one's own",
    f"{gate.API}/queue/join": "an event",
    f"{gate.API}/queue/data": "what comes of it, to the page that asked",
    f"{gate.API}/cancel": "give an event up",
    f"{gate.API}/reset": "does nothing",
    f"{gate.API}/component_server": "the functions of components",
    f"{gate.API}/heartbeat/{{session_hash}}": "the page is still open",
    f"{gate.API}/upload": "a file",
    f"{gate.API}/upload_progress": "how far it is",
    f"{gate.API}/file={{path_or_url:path}}": "uploads and downloads, by names that nobody can guess",
    f"{gate.API}/custom_component/{{id}}/{{environment}}/{{type}}/{{file_name}}": "none is there",
    f"{gate.API}/startup-events": "the server's question to itself",
    f"{gate.API}/info": "empty: no event has a public name",
    f"{gate.API}/theme.css": "its style",
    f"{gate.API}/app_id": "a number of this start",
}
"""What the gate lets through to whoever is signed in."""
SHUT = {
    "/login",  # Gradio's own: the door answers before it
    "/logout",
    "/gradio_api/deep_link",
    "/pwa_icon",
    "/pwa_icon/{size}",
    "/monitoring",
    "/monitoring/summary",
    "/monitoring/{key}",
    *(
        gate.API + path
        for path in (
            "/user",
            "/login_check",
            "/token",
            "/dev/reload",
            "/runs",
            "/openapi.json",
            "/proxy={url_path:path}",
            "/stream/{event_id}",
            "/stream/{event_id}/close",
            "/stream/{session_hash}/{run}/{component_id}/playlist.m3u8",
            "/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext}",
            "/stream/{session_hash}/{run}/{component_id}/playlist-file",
            "/file/{path:path}",
            "/run/{api_name}",
            "/api/{api_name}",
            "/call/v2/{api_name}",
            "/call/{api_name}",
            "/call/v2/{api_name}/{event_id}",
            "/call/{api_name}/{event_id}",
            "/queue/status",
            "/run-history/connect",
            "/run-history/buckets",
            "/run-history/records",
            "/run-history/records/{endpoint}/{record_id}/assets/{asset_id}",
            "/process_recording",
            "/vibe-edit",
            "/undo-vibe-edit",
            "/vibe-code",
            "/vibe-starter-queries",
        )
    ),
}
"""What Gradio has an answer for and the gate has not."""


LOOK = """
import json, sys
from gradio.routes import App
from studio.services.accounts import Accounts
from studio.services.chat import ChatProcess
from studio.services.jobs import Jobs
from studio.services.store import Store
from studio.ui import app
from studio.ui.rooms import Rooms

def addresses(route):
    inner = getattr(getattr(route, "original_router", None), "routes", None)
    if inner is None:
        return {route.path.rstrip("/") or "/"}
    return {address for each in inner for address in addresses(each)}

store = Store(sys.argv[1])
blocks = app.build(Rooms(store, Jobs(store), ChatProcess(store), Accounts(store)))
blocks.queue(api_open=False)
made = App.create_app(blocks, app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None})
print(json.dumps({
    "addresses": sorted({address for route in made.routes for address in addresses(route)}),
    "visibility": sorted({event.api_visibility for event in blocks.fns.values()}),
    "modules": sorted({event.fn.__module__ for event in blocks.fns.values() if event.fn}),
    "components": sorted({type(block).__name__ for block in blocks.blocks.values()}),
}))
"""
"""Run apart: Gradio's server leaves what it opened to the end of the process."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The addresses of the page's server, and of all events how they are called; the page is built without a user."""
    command = [sys.executable, "-c", LOOK, str(tmp_path_factory.mktemp("home"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name: set(values) for name, values in json.loads(done.stdout.splitlines()[-1]).items()}


def test_every_address_of_the_server_is_known_here(found: dict[str, set[str]]) -> None:
    assert len(found["addresses"]) > 30
    assert sorted(found["addresses"] - OPEN.keys() - SHUT) == []


def test_the_gate_lets_through_what_is_open_and_nothing_else() -> None:
    def example(address: str) -> str:
        parts = (part.partition("{")[0] + "x" if "{" in part else part for part in address.split("/"))
        return "/".join(parts).replace("x.zip", "x.zip")

    shut = {"/login", "/logout"}
    for address in OPEN:
        name = (
            example(address)
            if not address.endswith(".zip")
            else address.replace("{run}", "x").replace("{name}", "x")
        )
        assert gate._OPEN.fullmatch(name), name
    for address in SHUT - shut:
        assert not gate._OPEN.fullmatch(example(address)), address
    assert {login.PATH, login.OUT} == shut


def test_the_archives_are_in_the_table(tmp_path: Path) -> None:
    store = Store(tmp_path)
    routes = downloads.routes(Rooms(store, Jobs(store), ChatProcess(store)))
    assert {route.path for route in routes} <= OPEN.keys()


def test_no_event_has_a_public_name_and_every_one_goes_through_the_page(found: dict[str, set[str]]) -> None:
    """Else a call would not be told whose it is, or what went wrong in it would be shown by Gradio."""
    assert found["visibility"] == {"private"}
    own = {name for name in found["modules"] if name.startswith("studio.")}
    # In `app` the header, in `data_tab` an empty field, in `chat_acts` what follows an answer: each within its room.
    assert own == {"studio.ui.page", "studio.ui.app", "studio.ui.data_tab", "studio.ui.chat_acts"}


def test_no_component_reads_folders_of_the_machine(found: dict[str, set[str]]) -> None:
    assert len(found["components"]) > 10
    assert not found["components"] & {"FileExplorer", "LoginButton"}
