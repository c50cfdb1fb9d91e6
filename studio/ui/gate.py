"""What stands before Gradio's server: only known Host headers come in, and where there are accounts only who is signed
in; the page knows its reader's language, and which start of the server made it.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import threading
from collections import OrderedDict
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.services.addresses import host_name
from studio.ui import connection, loading, login
from studio.ui.headers import guarded
from studio.ui.i18n import FRONTEND_LOCALES, language_of, words
from studio.ui.rooms import STATE

# Gradio can fetch addresses for a page; this studio asks no other host for anything.
_FETCHES = re.compile(r"/(file=https?:|proxy=)", re.IGNORECASE)
API = "/gradio_api"
# All that the page and Gradio's script ask for. Gradio answers to more (its own API for programs, tools of its
# developers, streams of media): none of it is needed here, so that none of it has to be trusted.
_OPEN = re.compile(
    r"/(|config/?|theme\.css|favicon\.ico|robots\.txt|manifest\.json|studio-start"
    r"|(assets|svelte|static)/.+|exports/[^/]+/[^/]+\.zip|runs/[^/]+\.zip"
    rf"|{API[1:]}/(queue/join|queue/data|cancel|reset/?|component_server/?|upload|upload_progress"
    r"|startup-events|info/?|theme\.css|app_id/?|heartbeat/[^/]+|file=.+|custom_component/.+))",
    re.DOTALL,
)
_WITHOUT_LOGIN = frozenset({"/favicon.ico", "/robots.txt", f"{API}/startup-events"})
_UPLOAD = f"{API}/upload"
_HEARTBEAT = f"{API}/heartbeat/"
LARGEST = 32 << 20
"""Bytes of what an event sends; files are uploaded apart, within a bound of their own."""


class Gate:
    """Refuses foreign Host headers (a page elsewhere could rebind its name to this machine), what pages of other hosts
    send (a form needs no permission to send a file here), fetches for others, and whoever is not signed in.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], door: login.Door | None = None) -> None:
        """`door`: where there are accounts."""
        self.app = app
        self.hosts = hosts
        self.door = door
        self.pages = _Pages()
        self.start = secrets.token_hex(8)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._http(scope, receive, guarded(send))

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        refused = self._refused(scope, request.headers)
        if refused:
            await refused(scope, receive, send)
            return
        user = ""
        if self.door:
            at_door = await self._at_door(request, self.door)
            if isinstance(at_door, Response):
                await at_door(scope, receive, send)
                return
            user = at_door
        scope.setdefault("state", {})[STATE] = user
        if scope["method"] == "POST" and scope["path"].rstrip("/") != _UPLOAD:
            receive, body = await _whole(request)
            if body is None:
                await _refusal("This is larger than anything that the page sends.", 413)(scope, receive, send)
                return
        else:
            body = b""
        if not self.pages.is_own(user, _page_of(scope, body)):
            await _refusal("There is no such page.", 404)(scope, receive, send)
            return
        await self._answer(scope, receive, send)

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        host = host_name(headers.get("host", ""))
        if self.hosts and host not in self.hosts:
            return _refusal("This studio answers only to the name it was started with.")
        if "origin" in headers and not self._is_own(headers["origin"], headers.get("host", "")):
            return _refusal("This studio does nothing for pages of other hosts.")
        if _FETCHES.search(scope["path"]):
            return _refusal("This studio fetches nothing from other hosts.")
        own = (login.PATH, login.OUT) if self.door else ()
        if scope["path"] not in own and not _OPEN.fullmatch(scope["path"]):
            return _refusal("There is nothing here.", 404)
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether a page of the origin is this studio's. Another program's page on this machine has another port."""
        try:
            sent, here = urlsplit(origin), urlsplit(f"//{host}")
            usual = {"http": 80, "https": 443}.get(sent.scheme)
            same_port = (sent.port or usual) == (here.port or usual)
        except ValueError:
            return False
        named = host_name(sent.netloc)
        return usual is not None and same_port and named in {host_name(host), *self.hosts}

    async def _at_door(self, request: Request, door: login.Door) -> Response | str:
        """The name of who is signed in, or what to answer."""
        path = request.scope["path"]
        if path == login.PATH:
            return await door.login(request)
        if path == login.OUT:
            return await door.logout(request)
        if path in _WITHOUT_LOGIN:
            return ""
        account = door.who(request)
        if account:
            return account.name
        if path == "/" and request.method in ("GET", "HEAD"):
            return RedirectResponse("login", 303, {"cache-control": "no-store"})
        return _refusal("Nobody is signed in.", 401)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == connection.PATH:
            fresh = {"cache-control": "no-store"}
            await PlainTextResponse(self.start, headers=fresh)(scope, receive, send)
        elif scope["path"] == "/" and scope["method"] == "GET":
            await self.app(scope, receive, _Spoken(scope, send, self.start))
        elif scope["path"].endswith("/queue/data"):
            stream = _Ending(receive, send)
            await self.app(scope, stream.receive, stream.send)
        else:
            await self.app(scope, receive, send)


class _Pages:
    """Which open page is whose: Gradio knows a page by a number that its script makes up, and asks nobody for it."""

    _KEPT = 100_000

    def __init__(self) -> None:
        self._owners: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def is_own(self, user: str, page: str | None) -> bool:
        """Whether the page is nobody else's; from now on it is this user's."""
        if page is None or not user:
            return True
        with self._lock:
            owner = self._owners.setdefault(page, user)
            self._owners.move_to_end(page)
            if len(self._owners) > self._KEPT:
                self._owners.popitem(last=False)
        return owner == user


def _page_of(scope: Scope, body: bytes) -> str | None:
    """The open page that a request is about; None where it is about none."""
    if scope["path"].startswith(_HEARTBEAT):
        return str(scope["path"][len(_HEARTBEAT) :])
    asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash")
    if asked:
        return asked[-1]
    try:
        said: Any = json.loads(body) if body else None
    except (ValueError, RecursionError):
        return None
    page = said.get("session_hash") if isinstance(said, dict) else None
    return page if isinstance(page, str) else None


async def _whole(request: Request) -> tuple[Receive, bytes | None]:
    """What a request sends, to be received once more; None where it is too large."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST:
            return request.receive, None
        parts.append(part)
    body, given = b"".join(parts), False

    async def again() -> Message:
        nonlocal given
        if given:
            return await request.receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again, body


class _Ending:
    """A page's stream of answers, which is not taken for broken off when it ends.

    The page closes it as soon as it reads that no answer is due. Where Gradio hears of that before it has let go of the
    stream itself, it takes the page for gone and throws away what the page has asked for since.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._ended = False

    async def send(self, message: Message) -> None:
        self._ended = self._ended or b'"close_stream"' in message.get("body", b"")
        await self._send(message)

    async def receive(self) -> Message:
        message = await self._receive()
        if self._ended and message["type"] == "http.disconnect":
            await asyncio.Event().wait()  # until the response is over, which ends this
        return message


class _Spoken:
    """Sends the page's HTML on with the language that Python's texts are in, so that all of it is in one.

    Gradio takes the browser's language only where it has its exact name, and knows no plain `zh`.
    """

    def __init__(self, scope: Scope, send: Send, start: str) -> None:
        self.language = language_of(Request(scope))
        self.send = send
        self.start = start
        self.opening: Message | None = None
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.opening = message
            return
        self.body += message.get("body", b"")
        if message.get("more_body") or self.opening is None:
            return
        body = localised(self.body, self.language, self.start)
        headers = MutableHeaders(raw=list(self.opening["headers"]))
        headers["content-length"] = str(len(body))
        headers["vary"] = "Accept-Language, Cookie"
        await self.send({**self.opening, "headers": headers.raw})
        await self.send({"type": "http.response.body", "body": body})


def localised(html: bytes, language: str, start: str) -> bytes:
    """The page with its language named and its server's start known, without the card for other sites' previews."""
    locale = FRONTEND_LOCALES[language]
    script = (
        f'<script>Object.defineProperty(navigator, "language", {{get: () => "{locale}"}});'
        f"window.studioTab = location.hash.slice(1);</script>{loading.HEAD}"
        f"{connection.head(language, start)}"
    )
    title, own = (('"title":"' + words(name)("app.name") + '"').encode() for name in ("en", language))
    html = html.replace(title, own, 1)
    html = re.sub(rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>', b"", html)
    html = html.replace(b'lang="en"', f'lang="{locale}"'.encode(), 1)
    return html.replace(b"<head>", b"<head>" + script.encode(), 1)


def _refusal(sentence: str, status: int = 403) -> Response:
    return PlainTextResponse(sentence + "\n", status)
