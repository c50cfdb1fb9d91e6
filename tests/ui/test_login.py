"""Signing in and out, through the gate as it stands before the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from studio.services.accounts import Accounts
from studio.services.addresses import hosts_for
from studio.services.sessions import BY_ACCOUNT
from studio.services.store import Store
from studio.ui.gate import LARGEST, Gate
from studio.ui.login import Door
from studio.ui.rooms import sender

HTTP = "http://127.0.0.1:7860"


async def who(request: Request) -> Response:
    return PlainTextResponse(f"{sender(request)} {len(await request.body())}")


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Accounts:
    found = Accounts(Store(tmp_path_factory.mktemp("home")))
    found.add("ana", "a secret of ana")
    found.add("ben", "a secret of ben")
    return found


@pytest.fixture
def app(accounts: Accounts) -> Starlette:
    door = Door(accounts)
    routes = [Route("/{path:path}", who, methods=["GET", "POST"])]
    return Starlette(routes=routes, middleware=[Middleware(Gate, hosts=hosts_for("127.0.0.1"), door=door)])


def client(app: Starlette, base: str = HTTP) -> TestClient:
    return TestClient(app, base_url=base, follow_redirects=False)


def sign_in(browser: TestClient, name: str = "ana", password: str = "a secret of ana") -> Response:
    return browser.post("/login", data={"username": name, "password": password})  # type: ignore[return-value]


def test_who_signs_in_is_known_from_then_on_and_after_signing_out_no_more(app: Starlette) -> None:
    browser = client(app)
    assert browser.get("/").headers["location"] == "login"
    assert browser.get("/config").status_code == 401
    assert sign_in(browser).status_code == 303
    assert browser.get("/config").text == "ana 0"
    assert browser.get("/login").headers["location"] == "./"
    kept = dict(browser.cookies)
    out = browser.post("/logout")
    assert (out.status_code, out.headers["location"]) == (303, "login")
    assert out.headers["clear-site-data"] == '"storage"'
    browser.cookies.update(kept)
    assert browser.get("/config").status_code == 401  # the secret is worth nothing any more


def test_the_cookie_is_kept_from_scripts_and_other_sites_and_by_tls_from_the_wire(app: Starlette) -> None:
    plain = sign_in(client(app)).headers["set-cookie"].lower()
    assert "httponly" in plain
    assert "samesite=lax" in plain
    assert "path=/" in plain
    assert "secure" not in plain.replace("a secret", "")
    assert "; secure" in sign_in(client(app, "https://127.0.0.1:7860")).headers["set-cookie"].lower()
    behind = client(app).post(
        "/login",
        data={"username": "ana", "password": "a secret of ana"},
        headers={"x-forwarded-proto": "https"},
    )
    assert "; secure" in behind.headers["set-cookie"].lower()


def test_a_wrong_password_and_an_unknown_name_are_answered_alike(app: Starlette) -> None:
    wrong, unknown = (
        sign_in(client(app), "ana", "not it at all"),
        sign_in(client(app), "eve", "not it at all"),
    )
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert wrong.text == unknown.text.replace('value="eve"', 'value="ana"')  # type: ignore[attr-defined]
    assert "Name or password are not right." in wrong.text  # type: ignore[attr-defined]


def test_many_failed_attempts_have_to_wait_in_a_sentence_and_sessions_go_on(app: Starlette) -> None:
    inside = client(app)
    sign_in(inside, "ben", "a secret of ben")
    for _ in range(BY_ACCOUNT):
        assert sign_in(client(app), "ben", "a guess at it").status_code == 401
    late = sign_in(client(app), "ben", "a secret of ben")
    assert late.status_code == 429
    assert "There were too many failed attempts. Try again in 15 minutes." in late.text  # type: ignore[attr-defined]
    assert inside.get("/config").text == "ben 0"
    assert sign_in(client(app)).status_code == 303


def test_a_form_of_another_site_signs_nobody_in_or_out(app: Starlette) -> None:
    browser = client(app)
    sign_in(browser)
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9000"):
        assert browser.post("/logout", headers={"origin": origin}).status_code == 403
        assert browser.post("/login", headers={"origin": origin}).status_code == 403
    assert browser.get("/logout").status_code == 405
    assert browser.get("/config").text == "ana 0"


def test_what_is_typed_comes_back_as_text_alone(app: Starlette) -> None:
    page = sign_in(client(app), '"><script>alert(1)</script>', "x" * 2000).text  # type: ignore[attr-defined]
    assert "<script>alert(1)" not in page
    assert client(app).post("/login", content=b"username=" + b"a" * 20_000).status_code == 413
    for odd in (b"", b"\xff\xfe=1", b"username[]=1&password[]=2", b"&" * 10_000):
        assert client(app).post("/login", content=odd).status_code in (401, 413)


def test_the_login_speaks_the_readers_language(app: Starlette) -> None:
    assert "用户名" in client(app).get("/login", headers={"accept-language": "zh-CN"}).text
    chosen = (
        client(app).get("/login", headers={"accept-language": "zh-CN", "cookie": "studio_language=en"}).text
    )
    assert '<html lang="en">' in chosen


def test_a_forged_user_in_a_header_or_in_the_page_is_nobody(app: Starlette) -> None:
    browser = client(app)
    for headers in ({"x-forwarded-user": "ana"}, {"remote-user": "ana"}, {"authorization": "Basic YW5hOmE="}):
        assert browser.get("/config", headers=headers).status_code == 401
    for secret in ("", "ana", "0" * 43, "../../users.json"):
        assert browser.get("/config", headers={"cookie": f"{cookie_of(app)}={secret}"}).status_code == 401


def test_what_a_page_sends_has_a_bound(app: Starlette) -> None:
    browser = client(app)
    sign_in(browser)
    body = json.dumps({"session_hash": "mine", "data": ["x" * 1000]}).encode()
    assert browser.post("/gradio_api/queue/join", content=body).text == f"ana {len(body)}"
    assert browser.post("/gradio_api/queue/join", content=b"[" * LARGEST + b"[").status_code == 413
    assert browser.post("/gradio_api/queue/join", content=b"[" * 100_000).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/run/predict",
        "/gradio_api/api/predict",
        "/gradio_api/call/enter",
        "/gradio_api/call/enter/abc",
        "/gradio_api/vibe-edit/",
        "/gradio_api/dev/reload",
        "/gradio_api/process_recording",
        "/gradio_api/openapi.json",
        "/gradio_api/deep_link",
        "/gradio_api/queue/status",
        "/gradio_api/stream/x",
        "/gradio_api/mcp/",
        "/gradio_api/file/etc/passwd",
        "/monitoring",
        "/docs",
        "/token",
        "/pwa_icon/1",
        "//config",
        "/CONFIG",
    ],
)
def test_what_the_page_does_not_need_is_not_there(app: Starlette, path: str) -> None:
    browser = client(app)
    sign_in(browser)
    assert browser.get(HTTP + path).status_code == 404
    assert browser.post(HTTP + path).status_code == 404


def cookie_of(app: Starlette) -> str:
    return sign_in(client(app)).headers["set-cookie"].partition("=")[0]


def test_two_studios_on_one_host_do_not_take_each_others_cookies(app: Starlette, tmp_path: Path) -> None:
    other = Accounts(Store(tmp_path / "home"))
    other.add("ana", "a secret of ana")
    routes = [Route("/{path:path}", who, methods=["GET", "POST"])]
    gate = Middleware(Gate, hosts=hosts_for("127.0.0.1"), door=Door(other))
    assert cookie_of(app) != cookie_of(Starlette(routes=routes, middleware=[gate]))
