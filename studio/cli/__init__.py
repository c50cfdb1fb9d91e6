"""Every verb of the studio without a browser: one call into a service or the engine each."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Sequence

from studio import __version__
from studio.cli import data, endpoint, machine, page, preview, ratings, runs, search, tuned, users
from studio.cli.parsing import Verb, add_verbs, home_option
from studio.cli.printing import AT_FAULT, DONE, STOPPED
from studio.domain.errors import StudioError
from studio.services.store import Store


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit status."""
    options = _parser().parse_args(arguments)
    _quiet_libraries()
    try:
        verb: Verb = options.verb
        return verb(options, _store(options))
    except StudioError as error:
        print(f"studio: {error}", file=sys.stderr)
        return AT_FAULT
    except KeyboardInterrupt:
        kept = " What is done is kept: the same command goes on from there." if options.goes_on else ""
        print(f"studio: interrupted.{kept}", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _quiet_libraries() -> None:
    """What libraries would say to whoever programs with them: a kernel that is not there, a name that will go."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings(
        "ignore", category=FutureWarning, module=r"(?:transformers|peft|torch|huggingface_hub)\."
    )


def _store(options: argparse.Namespace) -> Store:
    store = Store(options.home)
    if not options.as_user:
        return store
    from studio.services.accounts import Accounts

    accounts = Accounts(store)
    return accounts.store_of(accounts.named(options.as_user))


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="studio",
        description="From a data file to a tuned model that you can trust.",
        parents=[home_option(None)],
    )
    top.add_argument("--version", action="version", version=f"studio {__version__}")
    verbs = add_verbs(top)
    page.add_to(top, verbs)
    for group in (machine, data, preview, runs, search, tuned, ratings, endpoint, users):
        group.add_to(verbs)
    return top
