"""What stands before Gradio's server: only known Host headers come in; the page knows its reader's language, and which
start of the server made it.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.services.addresses import host_name
from studio.ui import connection, loading
from studio.ui.headers import guarded
from studio.ui.i18n import FRONTEND_LOCALES, language_of, words

# Gradio can fetch addresses for a page; this studio asks no other host for anything.
_FETCHES = re.compile(r"/(file=https?:|proxy=)", re.IGNORECASE)


class Gate:
    """Refuses foreign Host headers (a page elsewhere could rebind its name to this machine), what pages of other hosts
    send (a form needs no permission to send a file here), and fetches for others.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self.app = app
        self.hosts = hosts
        self.start = secrets.token_hex(8)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        send = guarded(send)
        headers = Headers(scope=scope)
        host, origin = host_name(headers.get("host", "")), urlsplit(headers.get("origin", "")).netloc
        if self.hosts and host not in self.hosts:
            await _refuse("This studio answers only to the name it was started with.", scope, receive, send)
        elif "origin" in headers and not _reads(scope) and host_name(origin) not in {host, *self.hosts}:
            await _refuse("This studio does nothing for pages of other hosts.", scope, receive, send)
        elif _FETCHES.search(scope["path"]):
            await _refuse("This studio fetches nothing from other hosts.", scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == connection.PATH:
            fresh = {"cache-control": "no-store"}
            await PlainTextResponse(self.start, headers=fresh)(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == "/" and scope["method"] == "GET":
            await self.app(scope, receive, _Spoken(scope, send, self.start))
        elif scope["type"] == "http" and scope["path"].endswith("/queue/data"):
            stream = _Ending(receive, send)
            await self.app(scope, stream.receive, stream.send)
        else:
            await self.app(scope, receive, send)


def _reads(scope: Scope) -> bool:
    """Whether a request can change nothing."""
    return scope["type"] == "http" and scope["method"] in ("GET", "HEAD", "OPTIONS")


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


async def _refuse(sentence: str, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await PlainTextResponse(sentence + "\n", status_code=403)(scope, receive, send)
