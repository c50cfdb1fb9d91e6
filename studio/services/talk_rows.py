"""Answers of a chat as training rows: collected in a dataset of their own, which the Data tab opens like any other."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.domain.chat import Conversation, Message
from studio.domain.errors import StudioError
from studio.services.files import write_text
from studio.services.store import DatasetEntry, Store

NAME = "rows-from-chats"
_BY = "chat"
_ADDING = threading.Lock()


@dataclass(frozen=True)
class Added:
    """Where a row went."""

    dataset: DatasetEntry
    row: int
    """Its number there, from 1."""
    new: bool
    """False where the very same row was there before."""


def add(store: Store, asked: Sequence[Message], answer: str) -> Added:
    """Add a conversation with its answer as one row of messages, unless it is there.

    Of the answers only this last one is learnt: the others are what the models said, and nobody has chosen them. A set
    whose rows were repaired is not added to: its upload would change under its steps. Then a new set is begun.
    """
    if not answer.strip():
        raise StudioError("An empty answer is nothing to learn from.", "Write the answer first.")
    before = [
        Message(message.role, message.content, trained=message.role != "assistant") for message in asked
    ]
    line = json.dumps(Conversation((*before, Message("assistant", answer))).to_json(), ensure_ascii=False)
    with _ADDING:
        entry = _collecting(store)
        if entry is None:
            return Added(_begun(store, line), 1, True)
        lines = entry.original.read_text(encoding="utf-8").split("\n")[:-1]
        if line in lines:
            return Added(entry, lines.index(line) + 1, False)
        store.append_row(entry, line)
        return Added(entry, len(lines) + 1, True)


def _collections(store: Store) -> list[DatasetEntry]:
    return [entry for entry in store.datasets() if entry.origin.get("by") == _BY]


def _collecting(store: Store) -> DatasetEntry | None:
    """The set that rows are added to at present."""
    return next((entry for entry in _collections(store) if not entry.cleaned), None)


def _begun(store: Store, line: str) -> DatasetEntry:
    earlier = len(_collections(store))
    name = f"{NAME}-{earlier + 1}.jsonl" if earlier else f"{NAME}.jsonl"
    with tempfile.TemporaryDirectory(dir=store.tmp_dir) as scratch:
        file = Path(scratch) / name
        write_text(file, line + "\n")
        return store.save_dataset(file, name, {"by": _BY})
