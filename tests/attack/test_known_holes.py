"""The published holes of this studio's peers, of Gradio, and the usual ones, each tried against the real server."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from studio.domain.errors import StudioError
from studio.engine import models
from studio.services import process, run_imports
from studio.services.receipts import import_run
from studio.services.run_files import RunFiles
from studio.services.store import Store, slug
from tests.attack.client import API, Caller, served
from tests.attack.fuzz import CANARY, PASSWORD, Ground, ground
from tests.services.test_receipts import here, run  # noqa: F401 (fixtures)
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return ground(tmp_path_factory.mktemp("ground"))


@pytest.fixture(scope="module")
def address(there: Ground) -> Iterator[str]:
    with served(there.store.shared, there.folder / "server.log") as (address, _):
        yield address


@pytest.fixture
def caller(address: str) -> Iterator[Caller]:
    made = Caller(address, "mallory", PASSWORD)
    try:
        yield made
    finally:
        made.close()


def outside(there: Ground) -> list[str]:
    """Paths of what nobody on the page may read, as they are and in disguise."""
    secret, home = there.outside / "secret.jsonl", there.store.shared
    served_folder = home / "tmp" / "page"
    return [
        "/etc/passwd",
        str(secret),
        str(home / "users.json"),
        str(home / "sessions.json"),
        f"{served_folder}/../../users.json",
        f"{served_folder}/%2e%2e/%2e%2e/users.json",
        f"{served_folder}/..%2f..%2fusers.json",
        str(home / "users.json").upper(),
        f"file://{secret}",
        f"{home}/users/root/../../users.json",
    ]


def test_gradio_cve_2023_51449_and_2025_23042_no_file_is_read_by_its_path(
    caller: Caller, there: Ground
) -> None:
    for path in outside(there):
        for address in (
            f"{API}/file={path}",
            f"{API}/file/{path}",
            f"/file={path}",
            f"/static/{path}",
            f"/assets/{path}",
        ):
            answer = caller.http.get(address)
            assert answer.status_code in (400, 403, 404), address
            assert CANARY not in answer.text
            assert "scrypt" not in answer.text


def test_gradio_cve_2024_1561_no_method_of_a_component_is_called_by_its_name(caller: Caller) -> None:
    for component in list(caller.components)[:40]:
        for name in ("move_resource_to_block_cache", "postprocess", "__init__", "get_config", "__class__"):
            answer = caller.ask(component, name, "/etc/passwd")
            assert answer.status_code == 404, (component, name)


def test_gradio_cve_2024_4325_and_47167_no_address_is_fetched_for_a_file(caller: Caller) -> None:
    """A server that would be asked listens here; nobody comes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        listener.settimeout(0.2)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x.jsonl"
        for event in caller.events:
            kinds = caller.kinds(event)
            if "file" not in kinds:
                continue
            for file in ({"path": url, "url": url, "meta": {"_type": "gradio.FileData"}}, url):
                data = [
                    "{}" if kind == "browserstate" else [file] if kind == "file" else None for kind in kinds
                ]
                caller.call(event, data)
        for path in (f"{API}/file={url}", f"{API}/proxy={url}", f"{API}/file%3D{url}"):
            assert caller.http.get(path).status_code in (403, 404)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_gradio_cve_2024_1727_and_47084_a_page_elsewhere_can_neither_send_nor_read(caller: Caller) -> None:
    for origin in (
        "http://evil.example",
        "null",
        "http://localhost:1",
        "http://127.0.0.1.evil.example",
        "file://",
    ):
        headers = {"origin": origin}
        assert (
            caller.http.post(f"{API}/upload", files={"files": ("a", b"b")}, headers=headers).status_code
            == 403
        )
        assert caller.http.get("/config", headers=headers).status_code == 403
        assert caller.http.post("/logout", headers=headers).status_code == 403


def test_gradio_cve_2024_8966_and_oversized_bodies_cost_nothing(caller: Caller) -> None:
    boundary = "x" * 500_000
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    with contextlib.suppress(httpx.RemoteProtocolError):  # refused before it was read
        answer = caller.http.post(f"{API}/upload", content=b"--" + boundary.encode(), headers=headers)
        assert answer.status_code >= 400
    large = b'{"session_hash": "x", "data": ["' + b"a" * (33 << 20) + b'"]}'
    assert caller.http.post(f"{API}/queue/join", content=large).status_code == 413
    deep = b"[" * 200_000 + b"]" * 200_000
    assert caller.http.post(f"{API}/queue/join", content=deep).status_code in (400, 422)
    assert caller.http.get("/config").status_code == 200


@pytest.mark.parametrize("name", ["evil.html", "evil.svg", "evil.js", "evil.xhtml"])
def test_gradio_cve_2024_47872_an_uploaded_page_is_not_shown_as_one(caller: Caller, name: str) -> None:
    path = caller.upload(
        name, b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/><script>alert(1)</script>"
    )
    answer = caller.http.get(f"{API}/file={path}")
    assert "attachment" in answer.headers.get("content-disposition", "") or answer.status_code == 403
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "name", ["../../../evil.jsonl", "/etc/cron.d/evil", "..\\evil", "a\x01b", "." * 300, "CON", "~"]
)
def test_an_uploads_name_leads_nowhere(caller: Caller, there: Ground, name: str) -> None:
    answer = caller.http.post(f"{API}/upload", files={"files": (name, b'{"prompt": "a", "response": "b"}\n')})
    if answer.status_code == 200:
        path = Path(answer.json()[0])
        assert path.resolve().is_relative_to(there.store.shared / "tmp" / "page")
        assert ".." not in path.parts


def test_cve_2024_52803_what_is_typed_reaches_no_shell(caller: Caller, there: Ground) -> None:
    made = there.outside / "owned"
    draft = {
        "dataset": there.dataset,
        "values": {
            "name": f"$(touch {made})",
            "model.id": f"; touch {made} #",
            "train.report_to": [f"`touch {made}`"],
        },
    }
    for event in caller.events:
        data = [json.dumps(draft) if kind == "browserstate" else None for kind in caller.kinds(event)]
        caller.call(event, data, {"do": "open"})
    assert not made.exists()


def test_cve_2025_53002_pickled_weights_are_never_opened(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "evil"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    for name in ("pytorch_model.bin", "model.pt", "model.pth"):
        (folder / name).write_bytes(b"\x80\x04cos\nsystem\n(S'touch owned'\ntR.")
        with pytest.raises(StudioError):
            models.locate("evil", tmp_path / "models")
        (folder / name).unlink()


def test_cve_2026_4372_a_model_folder_that_names_code_is_refused_or_its_code_left_alone(
    tmp_path: Path,
) -> None:
    folder, made = tiny_model(tmp_path / "models" / "evil"), tmp_path / "owned"
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = dict.fromkeys(("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer"), "evil.Model")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(made)!r}, 'w')\n")
    with contextlib.suppress(StudioError):
        found = models.locate("evil", tmp_path / "models")
        models.load_base(found, dtype="float32", device="cpu", quantize=False)
    assert not made.exists()


def test_a_name_that_only_begins_like_the_home_is_not_in_it(tmp_path: Path) -> None:
    """Peers compared paths by `startswith`, without a separator."""
    store = Store(tmp_path / "home", confined=True)
    evil = tmp_path / "home-evil"
    evil.mkdir()
    (store.home / "link").symlink_to(tmp_path)
    for path in (
        str(evil),
        f"{store.home}-evil",
        f"{store.home}/../home-evil",
        f"{store.home}/link/home-evil",
    ):
        with pytest.raises(StudioError, match="outside of what this page may read"):
            store.check_model(path)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../../x", "\x00", "", "é", "con", "a" * 500, "<b>", "-rf", "..."]
)
def test_a_name_becomes_a_folder_only_by_letters_that_are_safe_everywhere(name: str) -> None:
    made = slug(name)
    assert 0 < len(made) <= 40
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not made.startswith("-")


def archive(**members: Any) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return out.getvalue()


def test_an_imported_run_leaves_its_folder_by_no_name_link_or_size(tmp_path: Path) -> None:
    store = Store(tmp_path / "home", confined=True)
    link = zipfile.ZipInfo("run/data")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    for name, content in (
        ("slip", archive(**{"../../../evil": b"x", "/evil": b"x", "run/run.json": b"{}"})),
        ("link", archive(**{"run/run.json": b"{}"})),
        ("bomb", archive(**{"run/run.json": b"{}", "run/zeros": bytes(300 << 20)})),
    ):
        file = tmp_path / f"{name}.zip"
        file.write_bytes(content)
        if name == "link":
            with zipfile.ZipFile(file, "a") as packed:
                packed.writestr(link, "/etc")
        with pytest.raises(StudioError):
            run_imports.take_over(store, file, None, lambda *_: None)
    assert store.run_ids() == []
    assert not list(tmp_path.rglob("evil"))
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]


def test_an_imported_run_names_no_process_of_this_machine(
    run: RunFiles,  # noqa: F811
    here: Store,  # noqa: F811
) -> None:
    """Deleting a run ends its process: one that came with a number of this machine's would end another."""
    data = json.loads((run.folder / "state.json").read_text())
    data |= {"pid": os.getpid(), "started": process.start_time(os.getpid())}
    (run.folder / "state.json").write_text(json.dumps(data))
    taken = RunFiles(here.run_dir(import_run(here, run.folder))).state()
    assert (taken.pid, taken.started) == (None, None)
