"""The web page: `studio` and `studio serve`."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from studio.cli.parsing import add_verb
from studio.cli.printing import DONE
from studio.cli.users import asked_password
from studio.domain.errors import StudioError
from studio.services.store import Store

if TYPE_CHECKING:
    from studio.cli.parsing import Verbs
    from studio.services.accounts import Accounts


def add_to(top: argparse.ArgumentParser, verbs: Verbs) -> None:
    """Declare `serve`, and that it is meant where no verb is named."""
    top.set_defaults(verb=serve, goes_on=False)
    for parser in (top, add_verb(verbs, "serve", serve, "the web page (also without any verb)", json=False)):
        parser.add_argument(
            "--host",
            default="127.0.0.1",
            help="address to listen on; any but loopback needs accounts or --user",
        )
        parser.add_argument("--port", type=int, default=7860)
        parser.add_argument(
            "--user",
            help="the administrator's name for this start, instead of an account (studio users); "
            "the password is asked for, or taken from STUDIO_PASSWORD",
        )
        parser.add_argument("--tls-cert", metavar="FILE", help="serve by https with this certificate (PEM)")
        parser.add_argument("--tls-key", metavar="FILE", help="the certificate's private key (PEM)")
        parser.add_argument("--open", action="store_true", help="open the page in the browser")


def serve(options: argparse.Namespace, store: Store) -> int:
    """Serve the page until the process is told to end."""
    gc.disable()  # importing the page makes many objects and no garbage; `app.serve` switches it on again
    from studio.ui import app

    app.serve(
        store,
        options.host,
        options.port,
        accounts=_accounts(options, store),
        tls=_tls(options),
        open_browser=options.open,
    )
    return DONE


def _accounts(options: argparse.Namespace, store: Store) -> Accounts:
    """Who may sign in; the password never stands on the command line."""
    from studio.services.accounts import Accounts, given_account

    if not options.user:
        return Accounts(store)
    password = asked_password(options.user) if os.environ.get("STUDIO_PASSWORD") or sys.stdin.isatty() else ""
    return Accounts(store, given_account(store, options.user, password))


def _tls(options: argparse.Namespace) -> tuple[Path, Path] | None:
    """Certificate and key. StudioError where only one of them is given, or they are not there."""
    given = [Path(file) for file in (options.tls_cert, options.tls_key) if file]
    if not given:
        return None
    if len(given) == 1:
        raise StudioError(
            "A certificate needs its key, and a key its certificate.", "Give both --tls-cert and --tls-key."
        )
    for file in given:
        if not file.is_file():
            raise StudioError("There is no file {path}.", "Check the spelling.", path=str(file))
    return given[0], given[1]
