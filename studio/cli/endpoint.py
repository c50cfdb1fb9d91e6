"""A run's model on an OpenAI-compatible endpoint: `studio endpoint`."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from studio.cli.parsing import add_verb
from studio.cli.printing import AT_FAULT, DONE, print_json
from studio.cli.progress import shown_progress
from studio.services.addresses import is_loopback
from studio.services.endpoint_servers import SERVERS
from studio.services.store import Store

if TYPE_CHECKING:
    from studio.cli.parsing import Verbs
    from studio.services.endpoints import EndpointStatus

_LOOK = 0.5
"""Seconds from look to look at whether it still serves."""


def add_to(verbs: Verbs) -> None:
    """Declare the verb of this module."""
    serve = add_verb(
        verbs, "endpoint", endpoint, "serve a run's model to OpenAI's client; without a run: what is served"
    )
    serve.add_argument("run", nargs="?")
    serve.add_argument("--with", dest="server", choices=SERVERS, help="which server; else transformers")
    serve.add_argument(
        "--export", default="", help="one of the run's merged exports; else the proven one that fits"
    )
    serve.add_argument(
        "--dtype",
        default="",
        choices=["bfloat16", "float16", "float32"],
        help="of the export; else the chat's",
    )
    serve.add_argument("--host", help="address to listen on; else 127.0.0.1")
    serve.add_argument("--port", type=int, help="else the first free one from 8000 on")
    serve.add_argument(
        "--without-login",
        action="store_true",
        help="with another --host: whoever reaches it may use the model",
    )
    serve.add_argument("--detach", action="store_true", help="return once it answers; it serves on by itself")
    serve.add_argument("--stop", action="store_true", help="end the run's server")


def endpoint(options: argparse.Namespace, store: Store) -> int:
    """Serve a run's model until Ctrl-C; or say what is served, or end it."""
    from studio.services import endpoints

    if options.run is None:
        return _print_all(endpoints.list_endpoints(store), options)
    if options.stop:
        endpoints.stop(store, options.run)
        return _print_all([], options) if options.json else _said(f"{options.run} is no longer served.")
    before = endpoints.status(store, options.run)
    served_already = before is not None and before.at_work
    found = endpoints.start(
        store,
        options.run,
        server=options.server,
        export=options.export,
        dtype=options.dtype,
        host=options.host,
        port=options.port,
        without_login=options.without_login,
    )
    try:
        with shown_progress() as progress:
            found = endpoints.wait(store, options.run, lambda one: progress(_phase(one), one.done, one.total))
        _print(found, options)
        if options.detach or served_already:
            return DONE
        return _until_it_ends(store, options.run)
    except KeyboardInterrupt:
        if not served_already:
            endpoints.stop(store, options.run)
        return DONE


def _until_it_ends(store: Store, run_id: str) -> int:
    from studio.services import endpoints

    while True:
        found = endpoints.status(store, run_id)
        if found is None or not found.at_work:
            break
        time.sleep(_LOOK)
    if found is not None and found.error is not None:
        raise found.error
    return AT_FAULT if found is None else _said("The server was stopped.")


def _phase(found: EndpointStatus) -> str:
    return f"export: {found.phase}" if found.state == "exporting" else "loading the model"


def _print(found: EndpointStatus, options: argparse.Namespace) -> None:
    if options.json:
        print_json(found.to_json())
        sys.stdout.flush()
        return
    if not is_loopback(found.asked.host):
        print("Whoever reaches this address may use the model: it has no login.", file=sys.stderr)
    print(
        f"{found.asked.name} is at {found.asked.url} ({found.asked.server}, from the export {found.export})"
    )
    print(f"It keeps the model in memory until it ends. What it says goes to {found.log}", file=sys.stderr)
    sys.stdout.flush()


def _print_all(found: list[EndpointStatus], options: argparse.Namespace) -> int:
    if options.json:
        return print_json([one.to_json() for one in found])
    for one in found:
        print(f"{one.asked.run}  {one.state}  {one.asked.name} at {one.asked.url}")
    return DONE if found else _said("Nothing is served. `studio endpoint RUN` serves a run's model.")


def _said(line: str) -> int:
    print(line)
    return DONE
