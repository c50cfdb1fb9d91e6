"""Two users of one server: nothing of the one's is found, shown or changed by the other, whatever ids are guessed."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from studio.domain.talk import Talk
from studio.services import process, talks
from studio.services.accounts import Accounts
from studio.services.run_files import State
from studio.services.store import Store
from tests.attack.client import API, Caller, served, succeeded
from tests.runs import finished_run

SECRET = "Zebra Quartz"
"""Stands in everything of Ana's, and nowhere else; ids are in lower case, with hyphens."""
PASSWORDS = {"root": "the first account", "ana": "a secret of ana", "ben": "a secret of ben"}


class Ana:
    """Whose things are guessed at: ids as anybody could read them off a screen."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        file = folder / f"{SECRET}.jsonl"
        file.write_text(
            "".join(f'{{"prompt": "{SECRET} {n}", "response": "{SECRET}"}}\n' for n in range(20)), "utf-8"
        )
        self.dataset = store.save_dataset(file).id
        self.run = finished_run(store).id
        run = store.run_dir(self.run)
        for data in (run / "data").glob("*.jsonl"):
            data.write_text(data.read_text().replace('"content": "', f'"content": "{SECRET} '), "utf-8")
        export = run / "exports" / "merged-bfloat16" / "files"
        export.mkdir(parents=True)
        (export.parent / "export.json").write_text("{}")
        (export / "model.safetensors").write_bytes(SECRET.encode())
        self.talk = talks.save(store, Talk(self.run, title=SECRET)).id

    def ids(self) -> list[str]:
        home = str(self.store.home)
        return [self.dataset, self.run, self.talk, home, str(self.store.dataset(self.dataset).path)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("home"))
    accounts = Accounts(store)
    for name, password in PASSWORDS.items():
        accounts.add(name, password)
    return store


@pytest.fixture(scope="module")
def ana(home: Store, tmp_path_factory: pytest.TempPathFactory) -> Ana:
    return Ana(home.of_user("ana"), tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def address(home: Store, ana: Ana, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(home.home, tmp_path_factory.mktemp("log") / "server.log") as (address, _):
        yield address


@pytest.fixture
def ben(address: str) -> Iterator[Caller]:
    caller = Caller(address, "ben", PASSWORDS["ben"])
    try:
        yield caller
    finally:
        caller.close()


def everything_in(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def draft(ana: Ana) -> str:
    ids = {"dataset": ana.dataset, "run": ana.run, "talk": ana.talk, "held_out": ana.dataset}
    return json.dumps({**ids, "general": ana.dataset, "values": {"model.adapter": ana.run}, "row": 1})


def guessed(ana: Ana, which: str, kind: str) -> Any:
    """A value of one of Ana's ids for an input of a kind."""
    if kind == "browserstate":
        return draft(ana)
    if kind in ("number", "slider"):
        return 1
    if kind in ("checkbox", "json"):
        return {"tab": True, "window": True} if kind == "json" else True
    if kind in ("file", "downloadbutton", "uploadbutton"):
        return {"path": which, "meta": {"_type": "gradio.FileData"}}
    return which


def said(ana: Ana, which: str) -> dict[str, Any]:
    """What a click says: every word that any of them looks for."""
    names = (
        "user",
        "run",
        "dataset",
        "desk",
        "talk",
        "export",
        "name",
        "id",
        "open",
        "delete",
        "rename",
        "sample",
        "show",
    )
    acts = {"do": "delete-yes", "act": "delete", "undo": "all", "row": 1, "by": "loss", "which": which}
    return {**dict.fromkeys(names, which), **acts}


def test_the_first_one_to_ask_without_a_session_gets_the_login_and_nothing_else(address: str) -> None:
    with httpx.Client(base_url=address, trust_env=False) as nobody:
        assert nobody.get("/").headers["location"] == "login"
        for path in (
            "/config",
            f"{API}/info",
            "/theme.css",
            "/runs/x.zip",
            "/studio-start",
            f"{API}/file=/etc/passwd",
        ):
            assert nobody.get(path).status_code == 401, path
        assert nobody.post(f"{API}/queue/join", json={}).status_code == 401
        assert nobody.post(f"{API}/upload", files={"files": ("a", b"b")}).status_code == 401


def test_every_event_finds_nothing_under_another_ones_ids_and_changes_nothing(ben: Caller, ana: Ana) -> None:
    before = everything_in(ana.store.home)
    assert len(ben.events) > 100
    for event in ben.events:
        kinds = ben.kinds(event)
        for which in ana.ids()[:3] if len(kinds) > 1 else ana.ids()[:1]:
            heard = ben.call(event, [guessed(ana, which, kind) for kind in kinds], said(ana, which))
            assert SECRET not in heard, (event["api_name"], which, heard[:2000])
            assert "Traceback" not in heard, (event["api_name"], which, heard[-3000:])
    assert everything_in(ana.store.home) == before


def test_no_file_of_another_one_is_sent_by_its_path(ben: Caller, ana: Ana) -> None:
    for event in ben.events:
        kinds = ben.kinds(event)
        if "file" in kinds:
            heard = ben.call(event, [guessed(ana, ana.ids()[4], kind) for kind in kinds])
            assert SECRET not in heard, event["api_name"]
    for path in (ana.ids()[4], f"{ana.store.home}/datasets/{ana.dataset}/dataset.json", "/etc/passwd"):
        assert ben.http.get(f"{API}/file={path}").status_code == 403


def test_the_functions_of_components_find_nothing_either(ben: Caller, ana: Ana) -> None:
    asked = {
        "draft": json.loads(draft(ana)),
        "places": [0, 1, 2],
        "run": ana.run,
        "desk": "1",
        "rater": "ben",
        "place": 0,
        "other": "",
    }
    functions = ben.server_functions()
    assert {name for _, name in functions} == {"rows", "turn"}
    for component, name in functions:
        assert SECRET not in ben.ask(component, name, asked).text


def test_archives_are_only_of_ones_own_runs(ben: Caller, ana: Ana, address: str) -> None:
    paths = (f"/runs/{ana.run}.zip", f"/exports/{ana.run}/merged-bfloat16.zip")
    for path in paths:
        assert ben.http.get(path).status_code == 404
    own = Caller(address, "ana", PASSWORDS["ana"])
    assert [own.http.get(path).status_code for path in paths] == [200, 200]
    own.close()


def test_an_open_page_of_another_one_cannot_be_listened_to_or_acted_in(ben: Caller, address: str) -> None:
    own = Caller(address, "ana", PASSWORDS["ana"])
    assert succeeded(own.call(own.events[0], [None] * len(own.events[0]["inputs"])))
    ben.session = own.session
    assert ben.http.get(f"{API}/queue/data", params={"session_hash": own.session}).status_code == 404
    assert ben.call(ben.events[0], [None] * len(ben.events[0]["inputs"])).startswith("404")
    for path in (f"{API}/cancel", f"{API}/reset", f"{API}/component_server"):
        body = {"session_hash": own.session, "fn_index": 0, "event_id": "x"}
        assert ben.http.post(path, json=body).status_code == 404
    assert ben.http.get(f"{API}/heartbeat/{own.session}").status_code == 404
    own.close()


def test_downloads_lie_where_nobody_can_guess(address: str, ana: Ana, home: Store) -> None:
    own = Caller(address, "ana", PASSWORDS["ana"])
    entered = [event for event in own.events if event["api_name"].startswith("enter")]
    heard = "".join(
        own.call(
            event,
            [guessed(ana, ana.run, kind) if kind == "browserstate" else None for kind in own.kinds(event)],
        )
        for event in entered
    )
    offered = set(re.findall(r"downloads/([^/\"]+)/", heard))
    assert offered
    assert all(re.fullmatch(r"[0-9a-f]{32}", name) for name in offered)
    own.close()


def test_the_administrator_sees_and_stops_the_runs_of_others_and_nobody_else_does(
    ben: Caller, ana: Ana, address: str
) -> None:
    files = finished_run(ana.store, "waits")
    (files.folder / "state.json").unlink()
    files.write_state(State("queued", os.getpid(), process.start_time(os.getpid())))
    root = Caller(address, "root", PASSWORDS["root"])
    stop = next(event for event in root.events if is_of(root, event, "others-runs"))
    asked = {"user": "ana", "run": files.id}
    assert "Only the administrator stops the runs of others." in ben.call(stop, ["{}"], asked)
    assert not files.stop_request.exists()
    entered = [event for event in root.events if event["api_name"].startswith("shown")]
    assert any(files.id in root.call(event, ["{}"]) for event in entered)
    assert not any(files.id in ben.call(event, ["{}"]) for event in entered)
    assert succeeded(root.call(stop, ["{}"], asked))
    assert files.stop_request.exists()
    root.close()


def is_of(caller: Caller, event: dict[str, Any], element: str) -> bool:
    """Whether an event is a click on the element of a name."""
    return any(
        part is not None and caller.components[part]["props"].get("elem_id") == element
        for part, _ in event["targets"]
    )
