"""A file of any size read, kept as rows that can be looked up, and checked: on all cores, in bounded memory.

The file is read here, one record after the other. Shards of records go to processes that turn them into conversations
and look at each (`scoring.look`); what comes back is laid end to end, and the rows are compared at the end
(`scoring.judge`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from studio.domain.errors import StudioError
from studio.domain.finding import Finding
from studio.domain.text import Text
from studio.engine import conversion, readers, reuse
from studio.engine.checks import scoring
from studio.engine.checks.scoring import Looked, Report
from studio.engine.checks.sketches import Sketches
from studio.engine.conversion import Converted, RowFormat
from studio.engine.records import Quarantined, Record, SourceRows
from studio.engine.rows import Rows, RowsWriter, SharedRows, encoded
from studio.engine.workers import Workers, workers

SHARD = 500
"""Records that one process looks at in one go."""
_GLANCE = 1_000
"""Records by which format and columns are recognised."""
_ROWS, _RESULT = "rows.jsonl", "survey.json"

Progress = Callable[[str, float, float], None]
"""Told ("check", records looked at, about how many there are) and then ("compare", the share that is done, 1); may
raise to end the survey."""


@dataclass(frozen=True)
class Survey:
    """What a file holds and what is wrong with it, as kept in a folder."""

    format: str
    columns: tuple[str, ...]
    total: int
    """Records, readable or not."""
    rows: Rows
    samples: list[dict[str, Any]]
    """The first raw records."""
    about_file: list[Finding]
    report: Report
    """Of the checks alone."""
    quarantined: list[Quarantined]
    """The records that could not be read."""
    encoding: str
    sources: list[SourceRows]


@dataclass(frozen=True)
class _Done:
    """What a process made of one shard."""

    lines: list[bytes]
    rest: Converted
    keys: reuse.Keys
    looked: Looked


def survey(
    source: readers.Source,
    folder: Path,
    *,
    format: str = "auto",
    columns: dict[str, str] | None = None,
    processes: int | None = None,
    on_ray: bool = False,
    earlier: Path | None = None,
    progress: Progress = lambda phase, done, total: None,
    **options: Any,
) -> Survey:
    """Read and check a source, and keep the result in `folder`, which is there. StudioError as for `dataset.read`.

    `processes` is 0 for this one alone, and as many as there are cores if it is None; `on_ray`, they are those of a Ray
    cluster, which sees `folder`. `earlier` is the folder of
    a survey by the same checks: rows that it knows are not looked at again, only compared.
    """
    import numpy

    share = _ShareRead()
    reading = readers.iter_records(source, progress=share.told, **options)
    records = iter(reading)
    first = list(islice(records, _GLANCE))
    if not first:
        raise _nothing_usable(source, reading.quarantined)
    values = [record.value for record in first]
    names = reading.header or tuple(dict.fromkeys(name for value in values for name in value))
    how = conversion.settle(_named(source), format, columns, names, values, reading.padded)
    found, keys, parts, done = Converted(), [], [], 0
    with _workers(processes, on_ray) as work:
        with RowsWriter(folder / _ROWS) as kept:
            for part in work(partial(_look, how=how, earlier=earlier), _shards(chain(first, records))):
                kept.add(part.lines, part.looked.numbers)
                found.take(part.rest)
                keys.append(part.keys)
                parts.append(part.looked)
                done += len(part.lines) + len(part.rest.quarantined)
                progress("check", done, max(done, reading.count / share.read))
        problems = sorted([*reading.quarantined, *found.quarantined], key=lambda problem: problem.row)
        rows = Rows(folder / _ROWS)
        if not len(rows):
            raise _nothing_usable(source, problems)
        looked = _all(parts)
        reuse.keep(folder, numpy.concatenate(keys), looked)
        report = scoring.judge(
            SharedRows(rows, work), looked, progress=lambda share: progress("compare", share, 1.0)
        )
    form = found.format
    own = [] if not columns or found.formats["columns"] else conversion.about_own_format(_named(source), form)
    about = [*reading.findings, *own, *conversion.about_problems(problems), *found.findings]
    result = Survey(
        form,
        names,
        reading.count,
        rows,
        values[:50],
        about,
        report,
        problems,
        reading.encoding,
        reading.sources,
    )
    _write(folder, result)
    return result


def _workers(processes: int | None, on_ray: bool) -> AbstractContextManager[Workers]:
    if not on_ray:
        return workers(processes)
    from studio.engine.ray_data import ray_workers

    return ray_workers(processes or os.cpu_count() or 1)


@dataclass
class _ShareRead:
    """Which share of a source's bytes is read."""

    read: float = 1.0

    def told(self, phase: str, done: float, total: float) -> None:
        if phase == "read" and done and total:
            self.read = done / total


def load(folder: Path) -> Survey | None:
    """The survey that is kept in a folder, or None where there is none that is whole."""
    try:
        data = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
        rows = Rows(folder / _ROWS)
    except (OSError, ValueError):
        return None
    return Survey(
        data["format"],
        tuple(data["columns"]),
        data["total"],
        rows,
        data["samples"],
        [Finding.from_record(record) for record in data["about_file"]],
        Report(len(rows), [Finding.from_record(record) for record in data["findings"]], data["scores"]),
        [
            Quarantined(**{**record, "reason": Text.from_json(record["reason"])})
            for record in data["quarantined"]
        ],
        data["encoding"],
        [SourceRows(**found) for found in data["sources"]],
    )


def sketches_of(rows: Rows) -> Sketches:
    """The sketches of the rows of a survey, which are read as they are asked for."""
    import numpy

    table: Sketches = numpy.load(rows.path.with_name(reuse.SKETCHES), mmap_mode="r", allow_pickle=False)
    return table


def _write(folder: Path, result: Survey) -> None:
    """Written last, and replaced as a whole: without it there is no survey."""
    data = {
        "format": result.format,
        "columns": result.columns,
        "total": result.total,
        "samples": result.samples,
        "about_file": [found.to_record() for found in result.about_file],
        "findings": [found.to_record() for found in result.report.findings],
        "scores": result.report.scores,
        "quarantined": [{**vars(item), "reason": item.reason.to_json()} for item in result.quarantined],
        "encoding": result.encoding,
        "sources": [found.to_json() for found in result.sources],
    }
    unfinished = folder / f".{_RESULT}"
    unfinished.write_text(json.dumps(data, ensure_ascii=True, default=str), encoding="utf-8")
    os.replace(unfinished, folder / _RESULT)


def _all(parts: list[Looked]) -> Looked:
    """The parts joined, and let go one by one."""
    whole = scoring.joined(parts)
    parts.clear()
    return whole


def _named(source: readers.Source) -> str:
    """What a source is called in a sentence."""
    return Path(source if isinstance(source, (str, Path)) else source[0]).name


def _nothing_usable(source: readers.Source, problems: Sequence[Quarantined]) -> StudioError:
    return StudioError(
        "No row of {file} can be used. {first}",
        "Correct the rows, or choose another format.",
        file=_named(source),
        first=str(problems[0].reason) if problems else "",
    )


def _shards(records: Iterator[Record]) -> Iterator[list[Record]]:
    while shard := list(islice(records, SHARD)):
        yield shard


def _look(shard: list[Record], how: RowFormat, earlier: Path | None) -> _Done:
    found = conversion.converted(shard, how)
    lines = [encoded(conversation) for conversation in found.conversations]
    keys = reuse.keys_of(lines)
    looked = reuse.look(found.conversations, keys, reuse.seen_in(earlier))
    return _Done(lines, replace(found, conversations=[]), keys, looked)
