"""The web page: `studio` and `studio serve`."""

from __future__ import annotations

import argparse
import gc
import getpass
import os
import sys
from typing import TYPE_CHECKING

from studio.cli.parsing import add_verb
from studio.cli.printing import DONE
from studio.domain.errors import StudioError
from studio.services.store import Store

if TYPE_CHECKING:
    from studio.cli.parsing import Verbs


def add_to(top: argparse.ArgumentParser, verbs: Verbs) -> None:
    """Declare `serve`, and that it is meant where no verb is named."""
    top.set_defaults(verb=serve, goes_on=False)
    for parser in (top, add_verb(verbs, "serve", serve, "the web page (also without any verb)", json=False)):
        parser.add_argument(
            "--host", default="127.0.0.1", help="address to listen on; any but loopback needs --user"
        )
        parser.add_argument("--port", type=int, default=7860)
        parser.add_argument(
            "--user", help="name to log in with; the password is asked for, or taken from STUDIO_PASSWORD"
        )
        parser.add_argument("--open", action="store_true", help="open the page in the browser")


def serve(options: argparse.Namespace, store: Store) -> int:
    """Serve the page until the process is told to end."""
    gc.disable()  # importing the page makes many objects and no garbage; `app.serve` switches it on again
    from studio.ui import app

    app.serve(store, options.host, options.port, auth=_login(options), open_browser=options.open)
    return DONE


def _login(options: argparse.Namespace) -> tuple[str, str] | None:
    """User and password for a page that others can reach; the password never stands on the command line."""
    if not options.user:
        return None
    password = os.environ.get("STUDIO_PASSWORD") or (
        getpass.getpass(f"Password for {options.user}: ") if sys.stdin.isatty() else ""
    )
    if len(password) < 8:
        raise StudioError(
            "The password for {user} has fewer than 8 characters.",
            "Set the environment variable STUDIO_PASSWORD to a longer one.",
            user=options.user,
        )
    return options.user, password
