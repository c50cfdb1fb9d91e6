"""The options that say how rows become text and what of it is learnt, for every verb that encodes a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from studio.cli import parsing
from studio.domain.config import TemplateConfig
from studio.domain.errors import StudioError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare them; each stays None unless given, so that something else than the default can stand in its place."""
    parser.add_argument("--template", help="`auto` (default), `model`, or the name of a shipped template")
    parser.add_argument(
        "--template-file",
        metavar="FILE",
        help="Jinja of your own, instead of --template: the template `custom`",
    )
    parser.add_argument(
        "--turns", choices=parsing.choices("template", "turns"), help="assistant turns that are learnt"
    )
    for name, value, help in (
        ("--no-reasoning", False, "reasoning is read, not learnt"),
        ("--no-tool-calls", False, "calls of tools are read, not learnt"),
        ("--prompts", True, "unusual: learn system and user turns too"),
    ):
        key = name.removeprefix("--").removeprefix("no-").replace("-", "_")
        parser.add_argument(name, dest=key, action="store_const", const=value, help=help)


def chosen(options: argparse.Namespace, base: TemplateConfig | None = None) -> TemplateConfig:
    """`base` with what was given put in."""
    given: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("turns", "reasoning", "tool_calls", "prompts")
        if getattr(options, name) is not None
    }
    if options.template_file is not None:
        if options.template not in (None, "custom"):
            raise StudioError(
                "--template {name} and --template-file name two templates.",
                "Give one of them.",
                name=options.template,
            )
        given |= {"name": "custom", "source": _read(options.template_file)}
    elif options.template is not None:
        given |= {"name": options.template, "source": None}
    return (base or TemplateConfig()).model_copy(update=given)


def _read(file: str) -> str:
    path = Path(file)
    if not path.is_file():
        raise StudioError("There is no template file {file}.", "Check the name.", file=file)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudioError(
            "{path} is not UTF-8 text: byte {position} cannot be read.",
            "Save it as UTF-8.",
            path=file,
            position=error.start,
        ) from None
