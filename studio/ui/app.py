"""The page as a whole, and the small server that serves it."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import shutil
import time
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from starlette.middleware import Middleware

from studio.domain.errors import StudioError
from studio.engine.assets import ASSETS
from studio.services import probe
from studio.services.addresses import (
    LOOPBACK_NAMES,
    cannot_bind,
    free_port,
    hosts_for,
    is_loopback,
    shown,
)
from studio.services.store import Store
from studio.ui import (
    chat_tab,
    data_tab,
    downloads,
    evaluate_tab,
    export_tab,
    form,
    gate,
    gradio_sessions,
    hyperparameters_tab,
    login,
    runs_tab,
    template_tab,
    training_tab,
    views,
)
from studio.ui.i18n import COOKIE, frontend, language_of, words
from studio.ui.page import DOWNLOADS, Draft, Page
from studio.ui.rooms import Rooms
from studio.ui.theme import STYLESHEET, theme

if TYPE_CHECKING:
    from studio.services.accounts import Accounts

MAX_UPLOAD = "4gb"
KEYBOARD = ASSETS / "keyboard.js"
_DAY = 86_400
_TAB_BUILDERS = (
    data_tab,
    template_tab,
    hyperparameters_tab,
    training_tab,
    chat_tab,
    evaluate_tab,
    runs_tab,
    export_tab,
)
# The open tab stands in the address, so that a reload stays where it was. The gate's script notes it before Gradio's
# first tab comes up and writes its own name there.
_OPEN_TAB = "() => ({__type__: 'update', selected: window.studioTab || 'data'})"
_NAME_TAB = """() => {
  const open = document.querySelector('#tabs [role=tab][aria-selected=true]');
  if (!open) return;
  history.replaceState(null, '', '#' + open.dataset.tabId);
  const bar = open.parentElement;  // on a phone it is wider than the screen
  bar.scrollTo({left: open.offsetLeft - (bar.clientWidth - open.offsetWidth) / 2, behavior: 'smooth'});
}"""


def build(rooms: Rooms, local: bool = False) -> gr.Blocks:
    """The page, ready to launch; `local`: only this machine will reach it."""
    store = rooms.main.store
    served = store.tmp_dir / "page"
    served.mkdir(parents=True, exist_ok=True)
    _drop_old_downloads(served)
    # Gradio reads the folder of uploads and downloads from here when a component is made.
    os.environ["GRADIO_TEMP_DIR"] = str(served)
    gradio_sessions.keep_numbers()
    with gr.Blocks(
        title=words("en")("app.name"), analytics_enabled=False, fill_width=True, delete_cache=(3600, _DAY)
    ) as blocks:
        # The key only has to be the same after a restart: the draft holds no secret, and never leaves its browser.
        draft = gr.BrowserState(Draft().to_text(), storage_key="studio-draft", secret="studio-draft")
        header = gr.HTML(
            _header(rooms, None, None),
            elem_id="header",
            js_on_load=views.LANGUAGE_SWITCH % COOKIE,
        )
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
            page = Page(rooms, blocks, draft, tabs, served, local)
            for module in _TAB_BUILDERS:
                module.build(page)
        _keep_open_tab(page)
        _keep_header(page, header)
    return blocks


def _drop_old_downloads(served: Path) -> None:
    """Remove the links of yesterday's downloads: they would keep the space of what was deleted since."""
    for folder in (served / DOWNLOADS).glob("*"):
        if time.time() - folder.stat().st_mtime > _DAY:
            shutil.rmtree(folder, ignore_errors=True)


def _keep_open_tab(page: Page) -> None:
    page.blocks.load(None, None, page.tabs, js=_OPEN_TAB, api_visibility="private", show_progress="hidden")
    for tab in page.entered.values():
        tab.select(None, None, None, js=_NAME_TAB, api_visibility="private", show_progress="hidden")


def _keep_header(page: Page, header: gr.HTML) -> None:
    def quick(data: object, request: gr.Request) -> str:
        with page.rooms.entered_by(request):
            return _header(page.rooms, data, request)

    def probed() -> None:
        # Where it fails, an estimate fails too, and says there why.
        with contextlib.suppress(StudioError):
            page.rooms.main.store.machine()

    options: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    page.draft.change(quick, page.draft, header, trigger_mode="multiple", **options)  # as `Page.on(shared=…)`
    page.blocks.load(quick, page.draft, header, **options)
    # The draft is read only after the probe, so that what was chosen meanwhile is shown.
    page.blocks.load(probed, None, None, **options).then(quick, page.draft, header, **options)


def _header(rooms: Rooms, data: object, request: gr.Request | None) -> str:
    draft, store = Draft.from_json(data), rooms.main.store
    machine = store.machine() if request and probe.is_known(store.machine_file) else None
    try:
        name = rooms.here.store.dataset(draft.dataset).name if draft.dataset else ""
    except StudioError:  # deleted since; the Data tab says so
        name = ""
    say = words(language_of(request))
    model = str(draft.values.get("model.id") or "starter")
    return views.header(say, model=model, data=name, machine=machine, user=rooms.who)


def serve(
    store: Store,
    host: str = "127.0.0.1",
    port: int = 7860,
    accounts: Accounts | None = None,
    tls: tuple[Path, Path] | None = None,
    open_browser: bool = False,
) -> None:
    """Serve the page until the process is told to end; says where once it answers.

    With `accounts` that somebody can sign in to, a login is demanded. `tls`: the files of a certificate and its key.
    Raises StudioError for an address that needs a login and has none, and for a port in use.
    """
    accounts = accounts if accounts and accounts.needed else None
    check_address(host, port, login=accounts is not None)
    from studio.services.chat import ChatProcess
    from studio.services.jobs import Jobs

    store = Store(store.home, confined=not _is_local(host, accounts))
    rooms = Rooms(store, Jobs(store), ChatProcess(store), accounts)
    for each in store.everybodys().values():
        Jobs(each).reconcile()
    blocks = launch(rooms, host, port, tls)
    # What is there now stays; `studio serve` pauses the collector while it loads all this.
    gc.freeze()
    gc.enable()
    address = f"{'https' if tls else 'http'}://{shown(host)}:{port}"
    print(f"The studio is at {address}", flush=True)
    if open_browser:
        webbrowser.open(address)
    try:
        blocks.block_thread()
    finally:
        rooms.main.chat.close()


def _is_local(host: str, accounts: Accounts | None) -> bool:
    """Whether whoever reaches the page may do what anybody at this machine can."""
    return accounts is None and host.strip("[]").lower() in LOOPBACK_NAMES


def launch(rooms: Rooms, host: str, port: int, tls: tuple[Path, Path] | None = None) -> gr.Blocks:
    """Build the page and start its server in a thread; returns when it answers."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # Else it sums up all events so far, ten thousand at most, after each of them: with pandas, in the page's process.
    os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(10**9)
    _keep_loopback_from_proxies(os.environ)
    blocks = build(rooms, local=_is_local(host, rooms.accounts))
    door = login.Door(rooms.accounts) if rooms.accounts else None
    blocks.queue(default_concurrency_limit=8, api_open=False)
    blocks.launch(
        server_name=host,
        server_port=port,
        ssl_certfile=str(tls[0]) if tls else None,
        ssl_keyfile=str(tls[1]) if tls else None,
        ssl_verify=False,  # it asks itself whether it is up, by a name that need not be the certificate's
        app_kwargs={
            "routes": downloads.routes(rooms),
            "middleware": [Middleware(gate.Gate, hosts=hosts_for(host), door=door)],
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
        },
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        inline=False,
        show_error=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        favicon_path=ASSETS / "favicon.png",
        mcp_server=False,
        max_file_size=MAX_UPLOAD,
        allowed_paths=[],
        theme=theme(),
        css_paths=[STYLESHEET],
        head=f"<script>{KEYBOARD.read_text(encoding='utf-8')}</script>",
        i18n=frontend(form.composed_texts()),
    )
    return blocks


def check_address(host: str, port: int, *, login: bool) -> None:
    """StudioError where the page may not, or cannot, be served at this address."""
    if not is_loopback(host) and not login:
        raise StudioError(
            "Anyone who can reach {host} could use this studio, and no login is set.",
            "Make an account with `studio users add NAME`, or leave --host away to serve this machine only.",
            host=host,
        )
    problem = cannot_bind(host, port)
    if problem is None:
        return
    if problem.errno == errno.EADDRINUSE:
        raise StudioError(
            "Port {port} is in use.",
            "Open http://{host}:{port} if that is your studio, or start this one with --port {free}.",
            port=port,
            host=shown(host),
            free=free_port(host, port + 1),
        )
    raise StudioError(
        "The page cannot be served at {host}:{port}: {problem}.",
        "Choose another --host or --port.",
        host=host,
        port=port,
        problem=problem.strerror or str(problem),
    )


def _keep_loopback_from_proxies(environment: Mapping[str, str]) -> None:
    """Gradio asks its own server whether it is up; a proxy set for the outside must not stand between."""
    for name in ("NO_PROXY", "no_proxy"):
        known = [part for part in environment.get(name, "").split(",") if part]
        os.environ[name] = ",".join(dict.fromkeys([*known, "127.0.0.1", "localhost", "::1"]))
