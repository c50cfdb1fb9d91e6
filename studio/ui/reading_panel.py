"""What was recognised of a file's outer form, and what is to be read instead: encoding, delimiter, sheet and split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.engine.csv_records import DELIMITERS
from studio.engine.encodings import CHOICES, Encoding
from studio.engine.readers import READ_AS, ReadAs
from studio.engine.records import EVERY
from studio.services import uploads
from studio.ui.i18n import Words, t
from studio.ui.page import Draft

if TYPE_CHECKING:
    from studio.services.store import DatasetEntry

_TEXTUAL = frozenset({"csv", "json", "jsonl", "text"})
_NAMES = {"\t": "tab", "\x1f": "U+001F", "\x01": "U+0001"}

Choice = tuple[str, str]


def build() -> list[gr.Dropdown]:
    """One field for each of `READ_AS`, in its order."""
    with gr.Row():
        return [
            gr.Dropdown(label=t(f"reading.{name}"), choices=[], visible=False, elem_id=f"reading-{name}")
            for name in READ_AS
        ]


def hidden() -> list[Any]:
    """The fields where no file is chosen."""
    return [gr.skip()] * len(READ_AS)


def shown(say: Words, draft: Draft, entry: DatasetEntry) -> list[gr.Dropdown]:
    """The fields for a file: those that apply to it, each with what was recognised as the first choice."""
    said = draft.reading(entry)[2] or {}
    found = uploads.glance(entry.path, said).read_as
    offered = choices(say, found, said)
    return [_field(offered[name], said.get(name, "")) for name in READ_AS]


def _field(choices: list[Choice], value: str) -> gr.Dropdown:
    applies = len(choices) > 1
    return gr.Dropdown(choices=choices, value=value if applies else None, visible=applies)


def choices(say: Words, found: ReadAs, said: dict[str, str]) -> dict[str, list[Choice]]:
    """What can be chosen of each; one choice or none where there is nothing to choose."""

    def by_itself(name: str, recognised: str) -> Choice:
        told = recognised and name not in said
        return (say("reading.found", found=recognised) if told else say("reading.auto"), "")

    offered: dict[str, list[Choice]] = {name: [] for name in READ_AS}
    if found.kinds & _TEXTUAL:
        first = by_itself("encoding", Encoding(found.encoding).label)
        offered["encoding"] = [first, *((Encoding(codec).label, codec) for codec in CHOICES)]
    if found.kinds & {"csv", "text"}:
        delimiters = [(_delimiter(sign), sign) for sign in DELIMITERS]
        offered["delimiter"] = [by_itself("delimiter", _delimiter(found.delimiter)), *delimiters]
    if found.kinds & {"csv", "excel"}:
        offered["header"] = [(say("reading.first_row"), ""), (say("reading.no_header"), "none")]
    if len(found.sheets) > 1:
        offered["sheet"] = [by_itself("sheet", found.sheet), *((name, name) for name in found.sheets)]
    if len(found.splits) > 1:
        every = (say("reading.every"), EVERY)
        offered["split"] = [by_itself("split", ""), every, *((name, name) for name in found.splits)]
    if "text" in found.kinds:
        whole = (say("reading.documents"), "documents")
        offered["texts"] = [(say("reading.paragraphs"), ""), whole]
    return offered


def _delimiter(sign: str) -> str:
    return _NAMES.get(sign, sign)


def said(draft: Draft, values: Sequence[str | None]) -> Draft:
    """The draft once these are chosen, in the order of `READ_AS`."""
    # A field that does not apply is empty, and says nothing: not even against what the dataset says of itself.
    chosen = {name: value for name, value in zip(READ_AS, values, strict=True) if value}
    return draft.with_value("data.read_as", chosen or None)
