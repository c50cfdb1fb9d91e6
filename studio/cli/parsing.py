"""How verbs are declared, and how what was typed after them is read."""

from __future__ import annotations

import argparse
import json as json_text
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.domain.config import RunConfig, settings
from studio.domain.errors import StudioError
from studio.services.store import Store

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]

Verb = Callable[[argparse.Namespace, Store], int]
"""Does its work and returns the exit status."""


def home_option(default: Any) -> argparse.ArgumentParser:
    """--home and --as before or after the verb; after it, they stay unset unless given, as they may stand before it."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--home", default=default, help="where everything is kept (default: $STUDIO_HOME or ~/.studio)"
    )
    parser.add_argument(
        "--as",
        dest="as_user",
        default=default,
        metavar="USER",
        help="work with this user's things (studio users)",
    )
    return parser


def add_verb(
    to: Verbs, name: str, verb: Verb, help: str, *, json: bool = True, goes_on: bool = False
) -> argparse.ArgumentParser:
    """Declare one verb; returns its parser for further options. `goes_on`: it keeps what it did when interrupted."""
    parser = to.add_parser(name, help=help, description=help, parents=[home_option(argparse.SUPPRESS)])
    parser.set_defaults(verb=verb, goes_on=goes_on)
    if json:
        parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    return parser


def add_verbs(parser: argparse.ArgumentParser) -> Verbs:
    """Let verbs follow a parser's own."""
    return parser.add_subparsers(title="verbs", metavar="VERB")


def add_group(to: Verbs, name: str, help: str) -> Verbs:
    """Declare a word that does nothing by itself, and let verbs follow it."""
    parser = to.add_parser(name, help=help, description=help)
    parser.set_defaults(verb=lambda *_: parser.error("a verb is missing"))
    return add_verbs(parser)


def add_file(parser: argparse.ArgumentParser) -> None:
    """Declare the data file and how it is read."""
    parser.add_argument("file", help="a data file, an archive, a folder, or a hub dataset as owner/name")
    parser.add_argument("--format", default="auto", choices=choices("data", "format"))
    parser.add_argument(
        "--column",
        dest="columns",
        action="append",
        metavar="ROLE=COLUMN",
        help="map prompt, response, system or input by hand",
    )
    parser.add_argument(
        "--read-as",
        action="append",
        metavar="NAME=VALUE",
        help="what is not to be recognised: encoding, delimiter, header=none, sheet, split (or all), texts=documents",
    )


def add_files(parser: argparse.ArgumentParser) -> None:
    """Declare one data file or several, which are read as one set."""
    add_file(parser)
    parser.add_argument("more", nargs="*", metavar="FILE", help="further files of the same set")


def source(options: argparse.Namespace) -> str | list[str]:
    """The file, or all of several."""
    more = getattr(options, "more", None)
    return [options.file, *more] if more else str(options.file)


def choices(section: str, name: str) -> list[str]:
    """What a setting may be.

    >>> choices("template", "turns")
    ['all', 'last']
    """
    return list(next(item.choices for item in settings(section) if item.name == name))


def config(options: argparse.Namespace) -> RunConfig:
    """The file CONFIG with each `--set section.key=value` put in."""
    from studio.engine.config_file import load_config

    values = {}
    for item in options.set or []:
        key, equals, value = item.partition("=")
        if not equals:
            raise StudioError("--set {item} has no value.", "Write --set section.key=value.", item=item)
        values[key.strip()] = value_of(value)
    return load_config(options.config, values)


def value_of(text: str) -> Any:
    """What was written after `=`: JSON where it is JSON (numbers, true, null, lists), text otherwise."""
    try:
        return json_text.loads(text)
    except ValueError:
        return text


def columns(pairs: Iterable[str] | None) -> dict[str, str] | None:
    """Column names by role, from `ROLE=COLUMN`; None where none is given.

    >>> columns(["prompt=question", "response=answer"])
    {'prompt': 'question', 'response': 'answer'}
    """
    if not pairs:
        return None
    found = {}
    for pair in pairs:
        role, equals, column = pair.partition("=")
        if not equals:
            raise StudioError(
                "--column {pair} names no column.",
                "Write --column prompt=COLUMN --column response=COLUMN.",
                pair=pair,
            )
        found[role] = column
    return found


def read_as(pairs: Iterable[str] | None) -> dict[str, str] | None:
    """What was said about how a file is read, from `NAME=VALUE`; None where nothing was."""
    if not pairs:
        return None
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise StudioError(
                "--read-as {pair} has no value.", "Write --read-as encoding=gb18030.", pair=pair
            )
        found[name] = value
    return found


def reading(options: argparse.Namespace) -> dict[str, Any]:
    """How the file is read, as `dataset.read` takes it."""
    return {
        "format": options.format,
        "columns": columns(options.columns),
        "read_as": read_as(options.read_as),
    }


def other_file(out: str, options: argparse.Namespace) -> str:
    """`out`, where it is none of the files that are read."""
    if any(
        Path(file).resolve() == Path(out).resolve() for file in (options.file, *getattr(options, "more", ()))
    ):
        raise StudioError("{out} is the file that is read.", "Write to another file.", out=out)
    return out
