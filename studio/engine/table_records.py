"""Parquet and Arrow files to records, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.domain.errors import StudioError
from studio.domain.text import Text
from studio.engine.csv_records import checked_names
from studio.engine.records import KEPT, Malformed, Part
from studio.engine.text_files import Told

if TYPE_CHECKING:
    import pyarrow

PARQUET = b"PAR1"
ARROW_FILE = b"ARROW1"
ARROW_STREAM = b"\xff\xff\xff\xff"
"""A stream of Arrow record batches, as `save_to_disk` of the library datasets writes it."""
_BATCH_BYTES = 16 * 2**20
_MOST_ROWS = 10_000
_LIMIT = 2**24
"""Strings and lists in a Parquet file's own description; more are a damaged file's."""

Rows = Iterator[tuple[int, Any]]


def read_table(path: Path, name: str, told: Told | None = None) -> Part:
    """The records of a Parquet or Arrow file. They have no lines."""
    with path.open("rb") as file:
        head = file.read(6)
    part = Part("parquet" if head.startswith(PARQUET) else "arrow", iter(()))
    batches = _parquet(path, part) if part.kind == "parquet" else _arrow(path, part, head == ARROW_FILE)
    part.rows = _rows(batches, path, name, part, told)
    return part


def _rows(
    batches: Iterator[tuple[pyarrow.RecordBatch, float]], path: Path, name: str, part: Part, told: Told | None
) -> Rows:
    import pyarrow

    size = path.stat().st_size
    try:
        for batch, share in batches:
            if not part.header:
                part.header = tuple(checked_names(batch.schema.names, name, 1))
            if told:
                told(int(size * share))
            yield from _batch(batch)
    except (pyarrow.ArrowException, OSError, MemoryError) as error:
        raise StudioError(
            "{file} is a damaged {kind} file: {problem}.",
            "Write or download it again.",
            file=name,
            kind=part.kind.capitalize(),
            problem=_first_line(error),
        ) from None


def _batch(batch: pyarrow.RecordBatch) -> Rows:
    try:
        values = batch.to_pylist()
    except (ValueError, OverflowError):
        # One cell that Python cannot hold, such as text that is not UTF-8 or the year 300000
        for index in range(batch.num_rows):
            yield 0, _value(batch.slice(index, 1))
    else:
        for value in values:
            yield 0, value


def _value(row: pyarrow.RecordBatch) -> Any:
    """The only record of a batch, or why it cannot be read."""
    try:
        return row.to_pylist()[0]
    except (ValueError, OverflowError) as error:
        reason = Text("Row {row} of the table cannot be read: {problem}.", {"problem": _first_line(error)})
        cells = zip(row.schema.names, row.columns, strict=True)
        return Malformed(reason, 0, 0, "; ".join(f"{name}: {_cell(column)}" for name, column in cells)[:KEPT])


def _cell(column: pyarrow.Array) -> str:
    try:
        return str(column[0].as_py())
    except (ValueError, OverflowError):
        return "…"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _parquet(path: Path, part: Part) -> Iterator[tuple[pyarrow.RecordBatch, float]]:
    """The batches, each with the share of the rows that are read after it."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(
        path, thrift_string_size_limit=_LIMIT, thrift_container_size_limit=_LIMIT
    ) as file:
        part.header = tuple(file.schema_arrow.names)
        total = file.metadata.num_rows
        size = sum(file.metadata.row_group(index).total_byte_size for index in range(file.num_row_groups))
        rows = min(_MOST_ROWS, max(1, _BATCH_BYTES * total // max(size, 1)))
        done = 0
        for batch in file.iter_batches(rows):
            done += batch.num_rows
            yield batch, min(1.0, done / max(total, 1))


def _arrow(path: Path, part: Part, seekable: bool) -> Iterator[tuple[pyarrow.RecordBatch, float]]:
    import pyarrow

    with pyarrow.memory_map(str(path)) as source:
        size = max(source.size(), 1)
        if seekable:
            file = pyarrow.ipc.open_file(source)
            part.header = tuple(file.schema.names)
            batches = (file.get_batch(index) for index in range(file.num_record_batches))
        else:
            stream = pyarrow.ipc.open_stream(source)
            part.header = tuple(stream.schema.names)
            batches = iter(stream)
        for batch in batches:
            # Offsets in a damaged file would be followed out of the buffer
            batch.validate(full=True)
            share = source.tell() / size
            for start in range(0, batch.num_rows, _MOST_ROWS):
                yield batch.slice(start, _MOST_ROWS), share
