"""Encoded rows kept on disk by what they were made of, so that no process encodes the same rows twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from array import array
from collections.abc import Sequence
from importlib.metadata import version
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import tokenizers

from studio import domain, engine
from studio.domain.chat import Conversation
from studio.domain.encoded import IGNORED, Encoded
from studio.domain.text import Text
from studio.engine.encode import Encoder
from studio.engine.templates import asks_for_date

_WORTHWHILE = 500
"""Rows below which encoding is as quick as reading."""
_KEPT = 24
"""Files; the ones that were not asked for the longest go first."""


class EncodedCache:
    """A folder of encoded datasets; each file is whole or absent, and a damaged one counts as absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def encode(self, encoder: Encoder, conversations: Sequence[Conversation]) -> list[Encoded]:
        """As `encoder.encode_many`, from the folder where these rows were encoded in the same way before.

        A template that still asks for the date writes another text tomorrow, and is not kept.
        """
        if len(conversations) < _WORTHWHILE or asks_for_date(encoder.template.source):
            return encoder.encode_many(conversations)
        file = self.folder / f"{content_key(encoder, conversations)}.safetensors"
        rows = _read(file)
        if rows is None or len(rows) != len(conversations):
            rows = encoder.encode_many(conversations)
            _write(file, rows)
            self._tidy()
        return rows

    def _tidy(self) -> None:
        """Another process may do the same at the same time, and does no harm by it."""
        with contextlib.suppress(OSError):
            files = sorted(self.folder.iterdir(), key=lambda file: file.stat().st_mtime, reverse=True)
            for file in files[_KEPT:]:
                file.unlink(missing_ok=True)


def _code_files() -> list[Path]:
    """What ids and labels are made by."""
    return sorted(file for part in (domain, engine) for file in Path(part.__path__[0]).glob("*.py"))


def _code() -> str:
    """A fingerprint of the engine itself: what an older one has encoded is not asked for."""
    digest = hashlib.sha256(f"{tokenizers.__version__} {version('jinja2')}".encode())
    for file in _code_files():
        digest.update(file.read_bytes())
    return digest.hexdigest()


_CODE = _code()
"""Of the code that runs: it is read at once, as the files may be replaced while a server stays up."""


def content_key(encoder: Encoder, conversations: Sequence[Conversation]) -> str:
    """SHA-256 of all that the ids and labels depend on: rows, tokenizer, templates and what is learnt."""
    digest = hashlib.sha256()
    for part in (
        _CODE,
        encoder.tokenizer.sha256,
        encoder.template.source,
        encoder.texts.template.source if any(row.plain for row in conversations) else "",
        encoder.masks.model_dump_json(exclude={"name", "source"}),
    ):
        digest.update(hashlib.sha256(part.encode("utf-8")).digest())
    for conversation in conversations:
        line = json.dumps([conversation.row, conversation.to_json()], ensure_ascii=False)
        digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def _write(file: Path, rows: Sequence[Encoded]) -> None:
    """Best effort: a cache that cannot be written costs time, not the run."""
    import numpy
    from safetensors.numpy import save

    ids, labels = (
        numpy.frombuffer(b"".join(array("i", part) for part in parts), dtype=numpy.int32)
        for parts in ([row.input_ids for row in rows], [row.labels for row in rows])
    )
    tensors: dict[str, numpy.ndarray[Any, Any]] = {
        "ids": ids,
        "learnt": numpy.packbits(labels != IGNORED),
        "lengths": numpy.array([row.total for row in rows], dtype=numpy.int32),
        "numbers": numpy.array([row.row for row in rows], dtype=numpy.int64),
        "ended": numpy.array([row.end_token_trained for row in rows], dtype=numpy.bool_),
    }
    noted = {
        index: [row.hazards, row.problem.to_json() if row.problem else None]
        for index, row in enumerate(rows)
        if row.hazards or row.problem
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "wb") as target:
                target.write(save(tensors, metadata={"noted": json.dumps(noted)}))
            os.replace(temporary, file)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError:
        return


def _read(file: Path) -> list[Encoded] | None:
    import numpy
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as held:
            noted = {int(index): value for index, value in json.loads(held.metadata()["noted"]).items()}
            part = {name: held.get_tensor(name) for name in ("ids", "learnt", "lengths", "numbers", "ended")}
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None
    with contextlib.suppress(OSError):  # a folder that can only be read
        os.utime(file)
    learnt = numpy.unpackbits(part["learnt"], count=len(part["ids"])).astype(bool)
    ids = array("i", part["ids"].tobytes())
    labels = array("i", numpy.where(learnt, part["ids"], numpy.int32(IGNORED)).tobytes())
    borders = pairwise(accumulate(part["lengths"].tolist(), initial=0))
    rows = []
    for index, (start, end) in enumerate(borders):
        hazards, problem = noted.get(index, ((), None))
        rows.append(
            Encoded(
                ids[start:end],
                labels[start:end],
                (),
                "",
                int(part["numbers"][index]),
                end_token_trained=bool(part["ended"][index]),
                hazards=tuple(hazards),
                problem=Text.from_json(problem) if problem else None,
            )
        )
    return rows
