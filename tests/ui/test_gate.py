from __future__ import annotations

import asyncio
import json
import re

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from studio.services.addresses import host_name, hosts_for
from studio.ui import connection
from studio.ui.gate import Gate, localised
from studio.ui.i18n import words

PAGE = """<html
	lang="en"><head><meta property="og:image" content="https://elsewhere/x.jpg" /></head><body>
<script>window.gradio_config = {"title":"Fine-Tuning Studio"};</script></body></html>"""


async def page(request: Request) -> Response:
    return HTMLResponse(PAGE)


async def anything(request: Request) -> Response:
    return PlainTextResponse("done")


def client(bound: str = "127.0.0.1") -> TestClient:
    routes = [Route("/", page), Route("/{path:path}", anything, methods=["GET", "POST"])]
    app = Starlette(routes=routes, middleware=[Middleware(Gate, hosts=hosts_for(bound))])
    return TestClient(app, base_url="http://127.0.0.1:7860")


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "LOCALHOST:7860", "[::1]:7860"])
def test_loopback_names_come_in(host: str) -> None:
    assert client().get("/theme.css", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:7860", "localhost.evil.example", "10.0.0.5", ""]
)
def test_a_name_that_was_rebound_to_this_machine_is_refused_in_a_sentence(host: str) -> None:
    answer = client().get("/", headers={"host": host})
    assert answer.status_code == 403
    assert answer.text == "This studio answers only to the name it was started with.\n"


def test_the_address_that_is_listened_on_comes_in_too() -> None:
    assert client("10.0.0.5").get("/theme.css", headers={"host": "10.0.0.5:7860"}).status_code == 200
    assert client("10.0.0.5").get("/theme.css", headers={"host": "10.0.0.6:7860"}).status_code == 403


def test_listening_everywhere_any_name_comes_in_as_a_login_is_demanded_there() -> None:
    assert client("0.0.0.0").get("/theme.css", headers={"host": "workstation.lan"}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/gradio_api/file=https://example.com/a", "/gradio_api/FILE=http:/x", "/gradio_api/proxy=x"]
)
def test_nothing_is_fetched_from_other_hosts(path: str) -> None:
    assert client().get(path).status_code == 403


def test_a_page_of_another_host_can_send_nothing() -> None:
    foreign = {"origin": "http://evil.example"}
    assert client().post("/gradio_api/upload", headers=foreign).status_code == 403
    assert client().post("/gradio_api/upload", headers={"origin": "null"}).status_code == 403
    assert client().post("/gradio_api/upload", headers={"origin": "http://localhost:7860"}).status_code == 200
    assert client().post("/gradio_api/upload", headers={"origin": "http://localhost:3000"}).status_code == 403
    assert client().get("/config", headers={"origin": "null"}).status_code == 403
    assert client().post("/gradio_api/upload").status_code == 200
    own = {"host": "workstation.lan:7860", "origin": "http://workstation.lan:7860"}
    assert client("0.0.0.0").post("/theme.css", headers=own).status_code == 200
    assert client("0.0.0.0").post("/theme.css", headers={**own, **foreign}).status_code == 403


def test_the_page_says_which_language_it_is_in_to_gradio_and_to_the_browser() -> None:
    answer = client().get("/", headers={"accept-language": "zh-HK,zh;q=0.9"})
    assert 'lang="zh-CN"' in answer.text
    assert '"title":"微调工作室"' in answer.text
    assert 'navigator, "language", {get: () => "zh-CN"}' in answer.text
    assert answer.headers["content-length"] == str(len(answer.content))
    assert 'lang="en"' in client().get("/", headers={"accept-language": "de"}).text


def test_the_language_chosen_on_the_page_goes_before_the_browsers() -> None:
    asked = {"accept-language": "zh-CN", "cookie": "studio_language=en"}
    assert 'lang="en"' in client().get("/", headers=asked).text


def test_the_page_names_no_other_host() -> None:
    assert b"elsewhere" not in localised(PAGE.encode(), "en", "0123456789abcdef")


def test_a_page_knows_which_start_of_the_server_made_it() -> None:
    first, second = client(), client()
    start = first.get(connection.PATH)
    assert re.fullmatch(r"[0-9a-f]{16}", start.text)
    assert start.headers["cache-control"] == "no-store"
    assert first.get(connection.PATH).text == start.text != second.get(connection.PATH).text
    assert f'const start = "{start.text}"' in first.get("/").text
    assert first.get(connection.PATH, headers={"host": "evil.example"}).status_code == 403


def test_a_page_says_in_its_own_language_that_its_server_is_gone() -> None:
    for language in ("en", "zh"):
        sentence = json.dumps(words(language)("page.unreachable"))
        assert f"sentence = {sentence}" in localised(PAGE.encode(), language, "0" * 16).decode()


def test_a_host_header_without_a_port_is_a_name() -> None:
    assert host_name("studio.lan") == "studio.lan"


@pytest.mark.parametrize(
    ("path", "host"), [("/", "localhost"), ("/theme.css", "localhost"), ("/theme.css", "evil.example")]
)
def test_every_answer_forbids_other_hosts_and_frames(path: str, host: str) -> None:
    headers = client().get(path, headers={"host": host}).headers
    assert headers["content-security-policy"].startswith("default-src 'self'; ")
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("said", "heard"), [(b'data: {"msg":"close_stream"}', False), (b'data: {"msg":"heartbeat"}', True)]
)
def test_a_stream_that_was_ended_is_not_broken_off_by_the_page(said: bytes, heard: bool) -> None:
    told: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": said, "more_body": True})
        try:
            told.append((await asyncio.wait_for(receive(), 0.1))["type"] == "http.disconnect")
        except asyncio.TimeoutError:
            told.append(False)

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def taken(message: Message) -> None: ...

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/gradio_api/queue/data",
        "headers": [(b"host", b"localhost")],
    }
    asyncio.run(Gate(app, hosts_for("127.0.0.1"))(scope, gone, taken))
    assert told == [heard]
