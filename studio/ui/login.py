"""Signing in and out: the studio's own page before all others, where it has accounts."""

from __future__ import annotations

import asyncio
import hashlib
import math
from html import escape
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from studio.services.accounts import Account, Accounts
from studio.services.sessions import LIFE, Attempts, Sessions
from studio.ui.i18n import COOKIE, LANGUAGES, Words, language_of, words

PATH, OUT = "/login", "/logout"
LARGEST = 16_384
"""Bytes of a form."""
_FRESH = {"cache-control": "no-store"}


class Door:
    """Lets in who has an account, and knows them by a cookie from then on."""

    def __init__(self, accounts: Accounts) -> None:
        self.sessions = Sessions(accounts)
        self.accounts = accounts
        self.attempts = Attempts()
        # A browser sends a cookie to all ports of a host: two studios must not take each other's.
        home = hashlib.sha256(str(accounts.store.home).encode()).hexdigest()[:8]
        self._cookie = f"studio_session_{home}"

    def who(self, request: Request) -> Account | None:
        """Whose request it is; None where it has no session that lasts."""
        return self.sessions.of(request.cookies.get(self._cookie, ""))

    async def login(self, request: Request) -> Response:
        """The page to sign in on, and what its form sends."""
        say = words(language_of(request))
        if request.method != "POST":
            if self.who(request):
                return RedirectResponse("./", 303, _FRESH)
            return _page(say)
        sent = await _form(request)
        if sent is None:
            return _page(say, problem=say("login.wrong"), status=413)
        name, password = sent.get("username", "").strip().lower(), sent.get("password", "")
        address = request.client.host if request.client else ""
        wait = self.attempts.wait(name, address)
        if wait > 0:
            return _page(say, name, _later(say, wait), 429)
        account = await asyncio.to_thread(self.accounts.signing_in, name, password)
        if account is None:
            self.attempts.failed(name, address)
            return _page(say, name, say("login.wrong"), 401)
        self.attempts.succeeded(name)
        answer = RedirectResponse("./", 303, _FRESH)
        answer.set_cookie(
            self._cookie,
            self.sessions.begin(account),
            max_age=LIFE,
            httponly=True,
            samesite="lax",
            secure=_is_secure(request),
        )
        return answer

    async def logout(self, request: Request) -> Response:
        """Ends the session, by POST alone: a link must not sign anybody out."""
        if request.method != "POST":
            return PlainTextResponse("Method Not Allowed\n", 405)
        self.sessions.end(request.cookies.get(self._cookie, ""))
        # What the page keeps in the browser is this person's.
        answer = RedirectResponse("login", 303, {**_FRESH, "clear-site-data": '"storage"'})
        answer.delete_cookie(self._cookie, httponly=True, samesite="lax", secure=_is_secure(request))
        return answer


def _is_secure(request: Request) -> bool:
    """Whether the browser speaks TLS, with this server or with a proxy before it."""
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"


async def _form(request: Request) -> dict[str, str] | None:
    """None where it is larger than any that the page sends."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            return None
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=None)
    return {name: values[-1] for name, values in fields.items()}


def _later(say: Words, wait: float) -> str:
    minutes = math.ceil(wait / 60)
    return say("login.later.one") if minutes == 1 else say("login.later", minutes=minutes)


def _page(say: Words, name: str = "", problem: str = "", status: int = 200) -> Response:
    other = next(language for language in LANGUAGES if language != say.language)
    told = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    focus = {"username": "" if name else " autofocus", "password": " autofocus" if name else ""}
    html = _HTML.format(
        language="zh-CN" if say.language == "zh" else "en",
        title=escape(say("login.title")),
        app=escape(say("app.name")),
        about=escape(say("login.about")),
        style=_STYLE,
        told=told,
        name_label=escape(say("login.name")),
        name=escape(name, quote=True),
        password_label=escape(say("login.password")),
        enter=escape(say("login.enter")),
        show=escape(say("login.show")),
        focus=focus,
        other=other,
        other_name=LANGUAGES[other],
        cookie=COOKIE,
    )
    return HTMLResponse(html, status, {**_FRESH, "vary": "Accept-Language, Cookie"})


# Complete in itself: nothing of the page is sent to who is not signed in.
_STYLE = """
:root { color-scheme: light dark; --page: #f8f9fa; --surface: #fff; --line: #cdd2d9; --ink: #22272f; --soft: #5b6472;
  --accent: #255bab; --on-accent: #fff; --bad: #b3261e; --bad-soft: #fdf0ef; }
@media (prefers-color-scheme: dark) { :root { --page: #101317; --surface: #181c22; --line: #4c5562; --ink: #e3e6ea;
  --soft: #a3acb8; --accent: #8ab4ec; --on-accent: #101317; --bad: #f2a09a; --bad-soft: #331a1b; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; min-height: 100dvh; display: grid; place-items: center; padding: 24px 16px;
  background: var(--page); color: var(--ink);
  font: 16px/24px "IBM Plex Sans", system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; }
main { width: 100%; max-width: 376px; }
.card { background: var(--surface); border: 1px solid var(--line); border-radius: 12px; padding: 32px; }
h1 { margin: 0; font-size: 20px; line-height: 28px; letter-spacing: -0.01em; }
.about { margin: 4px 0 24px; color: var(--soft); font-size: 14px; line-height: 20px; }
label { display: block; margin: 16px 0 4px; font-size: 14px; line-height: 20px; font-weight: 600; }
input[type=text], input[type=password] { width: 100%; height: 44px; padding: 0 12px; font: inherit; color: inherit;
  background: var(--page); border: 1px solid var(--line); border-radius: 8px; }
.show { display: flex; align-items: center; gap: 8px; margin: 12px 0 0; font-weight: 400; color: var(--soft); }
.show input { width: 16px; height: 16px; margin: 0; accent-color: var(--accent); }
button { font: inherit; cursor: pointer; }
.enter { width: 100%; height: 44px; margin-top: 24px; border: 0; border-radius: 8px; font-weight: 600;
  background: var(--accent); color: var(--on-accent); }
.enter:hover { filter: brightness(1.08); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.problem { margin: 0; padding: 12px 16px; border: 1px solid var(--bad); border-radius: 8px; font-size: 14px;
  line-height: 20px; background: var(--bad-soft); color: var(--bad); }
.language { display: block; margin: 16px auto 0; padding: 8px 12px; border: 0; border-radius: 8px; font-size: 14px;
  line-height: 20px; background: none; color: var(--soft); }
.language:hover { color: var(--ink); }
@media (max-width: 480px) { .card { padding: 24px 20px; } }
"""

_HTML = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title} · {app}</title>
<link rel="icon" href="favicon.ico">
<style>{style}</style>
</head>
<body>
<main>
<form class="card" method="post" action="login">
<h1>{app}</h1>
<p class="about">{about}</p>
{told}
<label for="username">{name_label}</label>
<input type="text" id="username" name="username" value="{name}" required maxlength="64" autocomplete="username"
  autocapitalize="none" autocorrect="off" spellcheck="false"{focus[username]}>
<label for="password">{password_label}</label>
<input type="password" id="password" name="password" required maxlength="1024"
  autocomplete="current-password"{focus[password]}>
<label class="show"><input type="checkbox" id="show">{show}</label>
<button class="enter" type="submit">{enter}</button>
</form>
<button class="language" type="button" lang="{other}" data-language="{other}">{other_name}</button>
</main>
<script>
document.querySelector('.language').onclick = (event) => {{
  document.cookie = '{cookie}=' + event.target.dataset.language + ';path=/;max-age=31536000;samesite=lax';
  location.replace('login');
}};
document.getElementById('show').onchange = (event) => {{
  document.getElementById('password').type = event.target.checked ? 'text' : 'password';
}};
</script>
</body>
</html>
"""
