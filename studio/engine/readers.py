"""Files to raw records, with the place of everything that is wrong in them: one door for every kind of file.

`iter_records` gives one record after the other in bounded memory, `read_source` all of them.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from studio.domain.errors import StudioError
from studio.domain.finding import Finding, finding
from studio.domain.text import Text
from studio.engine import archives, hub_data
from studio.engine.archives import Bounds, Unpacker
from studio.engine.csv_records import read_csv, sniff_delimiter
from studio.engine.encodings import Encoding, is_encoding, recognise
from studio.engine.excel import is_workbook, read_excel
from studio.engine.json_records import read_json
from studio.engine.plain_text import SUFFIXES as TEXTS
from studio.engine.plain_text import looks_like_table, read_plain_text
from studio.engine.records import (
    PADDED,
    TEXTS_KEPT,
    Malformed,
    Part,
    Quarantined,
    Record,
    Records,
    Slip,
    SourceRows,
    kind_of,
    with_whole_names,
)
from studio.engine.sources import Gathered, SourceFile, gather
from studio.engine.table_records import ARROW_FILE, ARROW_STREAM, PARQUET, read_table
from studio.engine.text_files import TextFile
from studio.engine.wheel import Progress

__all__ = [
    "Quarantined",
    "Reading",
    "Record",
    "Records",
    "draw_source",
    "iter_records",
    "kind_of",
    "read_source",
    "sniff_delimiter",
]

Source = str | Path | Sequence[str | Path]
HOPELESS = 100_000
"""After so many quarantined records, more than can be read, a file is given up."""
_JSON_START = re.compile(r'\s*(?:\[\s*[\[{\]"]|\{\s*["}])')
_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class Options:
    """How to read: the sheet of a workbook, the delimiter of a table, a split, configuration and revision of a dataset,
    texts as whole documents, the encoding, and whether the first row of a table names its columns."""

    sheet: str | None = None
    delimiter: str | None = None
    split: str | None = None
    config: str | None = None
    revision: str | None = None
    documents: bool = False
    encoding: str | None = None
    header: bool = True


READ_AS = ("encoding", "delimiter", "header", "sheet", "split", "texts")
"""What a person may say about a file that is else recognised; `texts` are `paragraphs` or `documents`, the `header`
of a table is its `first_row`, or there is `none`."""
HEADERS = ("first_row", "none")
_SIGNS = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}
_TEXTS = ("paragraphs", "documents")


def as_options(read_as: Mapping[str, str] | None) -> dict[str, Any]:
    """Fields of `Options` from what a person said. StudioError where it cannot be meant.

    >>> as_options({"delimiter": "tab", "texts": "documents"})
    {'delimiter': '\\t', 'documents': True}
    """
    said = {name: value for name, value in (read_as or {}).items() if value}
    for name in said:
        if name not in READ_AS:
            raise StudioError(
                "Nothing of a file is called {name}.",
                "Choose among {names}.",
                name=name,
                names=", ".join(READ_AS),
            )
    if texts := said.pop("texts", ""):
        _check_one_of(texts, _TEXTS)
        return {**as_options(said), "documents": texts == "documents"}
    if header := said.pop("header", ""):
        _check_one_of(header, HEADERS)
        return {**as_options(said), "header": header == "first_row"}
    if "delimiter" in said:
        said["delimiter"] = _SIGNS.get(said["delimiter"], said["delimiter"])
        if len(said["delimiter"]) != 1 or said["delimiter"] in '"\r\n':
            raise StudioError(
                "{delimiter} cannot part the cells of a table.",
                "Give one character, or one of {names}.",
                delimiter=repr(said["delimiter"]),
                names="tab, space, comma, semicolon, pipe",
            )
    if "encoding" in said and not is_encoding(said["encoding"]):
        raise StudioError(
            "There is no encoding {encoding}.",
            "Use a name such as utf-8, gb18030, cp1252 or shift_jis.",
            encoding=said["encoding"],
        )
    return dict(said)


def _check_one_of(value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise StudioError(
            "There is no choice {value}.", "Choose one of {choices}.", value=value, choices=", ".join(choices)
        )


@dataclass(frozen=True)
class ReadAs:
    """How a source was read, by itself or as it was told, and what else could be chosen."""

    kinds: frozenset[str]
    encoding: str
    delimiter: str
    sheet: str
    sheets: tuple[str, ...]
    splits: tuple[str, ...]


@dataclass
class Reading:
    """A source as it is read. Iterate over it once for its records; the other fields fill meanwhile.

    `quarantined` holds the records that cannot be read, and `findings` says what else a person should know.
    """

    source: Source
    options: Options = field(default_factory=Options)
    bounds: Bounds = field(default_factory=Bounds)
    progress: Progress | None = None
    done: int = 0
    rows: int = 0
    kept: int = 0
    """Characters of quarantined records."""
    sources: list[SourceRows] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    gathered: Gathered = field(default_factory=Gathered)

    @property
    def count(self) -> int:
        """Records so far, readable or not."""
        return self.rows + len(self.quarantined)

    @property
    def kind(self) -> str:
        """What the files are: 'jsonl', 'csv' …; 'mixed' where they differ."""
        kinds = {part.kind for part in self.parts}
        return kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def padded(self) -> bool:
        """Whether tables are among the files, whose columns give each row nulls for what others have."""
        return self.kind in PADDED

    @property
    def header(self) -> tuple[str, ...]:
        """The columns, where every file names them before its rows."""
        if not all(part.header for part in self.parts):
            return ()
        return tuple(dict.fromkeys(name for part in self.parts for name in part.header))

    @property
    def encoding(self) -> str:
        """The first encoding that is not UTF-8."""
        return next((part.encoding for part in self.parts if part.encoding != "utf-8"), "utf-8")

    @property
    def read_as(self) -> ReadAs:
        """How it was read so far: of several files, each choice as the first one tells it that has it."""

        def first(name: str) -> Any:
            return next((found for part in self.parts if (found := getattr(part, name))), "")

        kinds = frozenset(part.kind for part in self.parts)
        splits = tuple(self.gathered.splits) or first("splits") or ()
        return ReadAs(kinds, self.encoding, first("delimiter"), first("sheet"), first("sheets") or (), splits)

    @property
    def findings(self) -> list[Finding]:
        """About encodings, files and sheets that were left out, and faults that cost no record."""
        return [*self.gathered.findings, *(found for part in self.parts for found in part.findings)]

    def __iter__(self) -> Iterator[Record]:
        with ExitStack() as stack:
            self.gathered = self._gather(stack)
            files = self.gathered.files
            sizes = [file.path.stat().st_size for file in files]
            failures: list[StudioError] = []
            for name, error in self.gathered.failures:
                self._quarantine(name, Malformed(error.text, 0, 0))
                self._close(name)
            for index, file in enumerate(files):
                told = partial(self._told, sum(sizes[:index]), sum(sizes)) if self.progress else None
                try:
                    yield from self._file(file, told)
                except StudioError as error:
                    if len(files) == 1:
                        raise
                    failures.append(error)
                    self._quarantine(file.name, Malformed(error.text, 0, 0))
                self._close(file.name)
            if failures and not self.rows:
                raise failures[0]

    def _gather(self, stack: ExitStack) -> Gathered:
        unpacker: list[Unpacker] = []

        def make() -> Unpacker:
            if not unpacker:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="studio-"))
                unpacker.append(Unpacker(Path(folder), self.bounds))
            return unpacker[0]

        sources = [self.source] if isinstance(self.source, (str, Path)) else list(self.source)
        paths = [Path(source).expanduser() for source in sources]
        if len(sources) == 1 and (dataset := on_the_hub(str(sources[0]))):
            options = self.options
            found = hub_data.fetch(dataset, options.config, options.revision, options.split, self.progress)
            return Gathered(found.files, found.findings, found.splits)
        return gather(paths, make, self.options.split)

    def _close(self, file: str) -> None:
        first = self.sources[-1].last + 1 if self.sources else 1
        if self.count >= first:
            self.sources.append(SourceRows(file, first, self.count))

    def _told(self, before: int, total: int, taken: int) -> None:
        # The first bytes of a file are read twice, to recognise it
        if self.progress and before + taken > self.done:
            self.done = min(before + taken, total)
            self.progress("read", float(self.done), float(total))

    def _file(self, file: SourceFile, told: Callable[[int], None] | None) -> Iterator[Record]:
        """The records of one file. StudioError where it holds none that can be read."""
        part = open_part(file, self.options, told)
        self.parts.append(part)
        before, first, number = self.rows, len(self.quarantined), self.count
        for line, value in part.rows:
            number += 1
            if isinstance(value, Malformed):
                self._quarantine(file.name, value)
                self._check_hope(file.name, len(self.quarantined) - first, self.rows - before)
            else:
                self.rows += 1
                yield Record(number, line, with_whole_names(value), file.name)
        if part.slips:
            part.findings.append(_about_slips(file.name, part.slips))
        if self.rows == before:
            _refuse_empty(file.name, part.kind, self.quarantined[first:])

    def _quarantine(self, file: str, item: Malformed) -> None:
        row = self.count + 1
        reason = Text(item.reason.template, {"row": row, **item.reason.values})
        text = item.text if self.kept < TEXTS_KEPT else ""
        self.kept += len(text)
        self.quarantined.append(Quarantined(file, item.line, item.column, reason, text, row))

    def _check_hope(self, file: str, quarantined: int, rows: int) -> None:
        if quarantined > max(HOPELESS, rows):
            raise StudioError(
                "{file} is given up: {count} records cannot be read, more than can. {first}",
                "Check that it is the right file, and that it is in the format that its name says.",
                file=file,
                count=quarantined,
                first=str(self.quarantined[-quarantined].reason),
            )


def iter_records(source: Source, *, progress: Progress | None = None, **options: Any) -> Reading:
    """The records of a file, of several, of a folder or of a hub dataset, one after the other, in bounded memory.

    `options` are the fields of `Options`; `progress` is told ("read", bytes so far, bytes in all). Iterating raises
    StudioError where the source as a whole cannot be read.
    """
    return Reading(source, Options(**options), progress=progress)


def read_source(
    source: Source, max_rows: int | None = None, *, progress: Progress | None = None, **options: Any
) -> Records:
    """All records of a source, or its first ones: see `iter_records`."""
    reading = iter_records(source, progress=progress, **options)
    return _collected(reading, max_rows)


def draw_source(source: Source, count: int, seed: int, **options: Any) -> tuple[Records, int]:
    """So many records of a source at most, drawn at random in one go through it (Vitter 1985, 'Random sampling with a
    reservoir'), in their order; and how many it has that can be read."""
    reading = iter_records(source, **options)
    kept: list[Record] = []
    random = Random(seed)
    for seen, record in enumerate(reading):
        if seen < count:
            kept.append(record)
        elif (place := random.randrange(seen + 1)) < count:
            kept[place] = record
    return _records(reading, sorted(kept, key=lambda record: record.row)), reading.rows


def _collected(reading: Reading, max_rows: int | None) -> Records:
    return _records(reading, islice(reading, max_rows))


def _records(reading: Reading, kept: Iterable[Record]) -> Records:
    records = Records("")
    for record in kept:
        records.rows.append(record.value)
        records.row_numbers.append(record.row)
        records.lines.append(record.line)
        records.files.append(record.file)
    records.kind, records.header, records.encoding = reading.kind, reading.header, reading.encoding
    records.quarantined, records.findings = reading.quarantined, reading.findings
    records.sources = reading.sources
    return records


# ---- One file -----------------------------------------------------------------------------------------------------


def open_part(file: SourceFile, options: Options, told: Callable[[int], None] | None = None) -> Part:
    """The records of a file, its kind recognised by its content. StudioError where it is none that can be read."""
    with file.path.open("rb") as opened:
        head = opened.read(512)
        if _is_table(head, file):
            return read_table(file.path, file.name, told)
        if head.startswith(archives.ZIP) and is_workbook(file.path):
            return read_excel(file.path, file.name, options.sheet, told, options.header)
        _refuse_binary(file.name, head)
        opened.seek(0)
        encoding = Encoding(options.encoding) if options.encoding else recognise(opened)
    source = TextFile(file.path, file.name, encoding, file.suffix, told)
    part = _open_text(source, options)
    if encoding.name != "utf-8" and not options.encoding:
        part.findings.append(_about_encoding(file.name, encoding))
    return part


def _is_table(head: bytes, file: SourceFile) -> bool:
    named = file.suffix in (".arrow", ".feather", "")
    return head.startswith((PARQUET, ARROW_FILE)) or (named and head.startswith(ARROW_STREAM))


def _open_text(source: TextFile, options: Options) -> Part:
    text = source.head()
    if not text.strip():
        raise StudioError("{file} is empty.", "Choose a file with at least one row.", file=source.name)
    if _is_binary(text):
        raise _not_data(source.name, "a binary file")
    if _WEB_PAGE.match(text):
        raise _not_data(source.name, "a web page")
    if options.delimiter:
        return read_csv(source, options.delimiter, options.header)
    if _JSON_START.match(text) or _mostly_objects(text):
        return read_json(source, options.split)
    if source.suffix in _JSON_SUFFIXES and (text.lstrip()[0] in "[{" or sniff_delimiter(text) is None):
        return read_json(source, options.split)
    if source.suffix in TEXTS and not looks_like_table(source):
        return read_plain_text(source, options.documents)
    return read_csv(source, header=options.header)


def _mostly_objects(text: str) -> bool:
    """Whether most of the first lines open a JSON object, although the very first one does not."""
    lines = [line for line in text[:200_000].split("\n") if line.strip()][:50]
    return sum(line.lstrip().startswith('{"') for line in lines) * 2 > len(lines)


_WEB_PAGE = re.compile(r"\s*<(?:!doctype html|html|head)\b", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00\x02-\x08\x0e-\x1a\x7f]")
"""Characters that no text has; \x01 is the delimiter of some tables."""


def _is_binary(text: str) -> bool:
    """Whether most lines, and not just some that are damaged, hold control characters."""
    lines = [line for line in text.split("\n") if line.strip()]
    odd = sum(bool(_CONTROLS.search(line)) for line in lines)
    return 2 * odd > len(lines) and len(_CONTROLS.findall(text)) > 0.02 * len(text)


_SIGNATURES = {
    b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an old or a locked Excel workbook",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"SQLite format 3": "a database",
    b"GGUF": "a model",
    b"\x80\x04\x95": "a pickle",
}


def _refuse_binary(name: str, head: bytes) -> None:
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            raise _not_data(name, kind)
    if head[257:262] == b"ustar":
        raise _not_data(name, "a tar archive")


def _not_data(name: str, kind: str) -> StudioError:
    return StudioError(
        "{file} is {kind}, not a data file.",
        "Unpack it, and choose the files in it."
        if kind.endswith("archive")
        else "Choose a file with rows, saved as CSV, Excel (.xlsx), JSON, JSONL, Parquet or plain text.",
        file=name,
        kind=kind,
    )


def _about_encoding(file: str, encoding: Encoding) -> Finding:
    if not encoding.guessed:
        return finding(
            "encoding",
            "file",
            "info",
            (),
            "{file} is written in {encoding} and was read as such.",
            "Nothing needs to be done. UTF-8 is read by more programs.",
            file=file,
            encoding=encoding.label,
        )
    return finding(
        "encoding",
        "file",
        "warning" if encoding.certainty < 0.7 else "info",
        (),
        "{file} was read as {encoding}, which its bytes look like; that is {percent} % certain.",
        "Look at some rows. If letters are wrong there, save the file as UTF-8 and choose it again.",
        file=file,
        encoding=encoding.label,
        percent=round(100 * encoding.certainty),
    )


def _about_slips(file: str, slips: Sequence[Slip]) -> Finding:
    first = slips[0]
    return finding(
        "json_slips",
        "file",
        "warning",
        (),
        "{file} is not quite valid JSON: {problem} (line {line}, character {character}); such places: {places}. "
        "No record is lost to them.",
        "Nothing needs to be done. Other programs may refuse the file.",
        file=file,
        line=first.line,
        character=first.column,
        problem=first.problem,
        places=len(slips),
    )


def _refuse_empty(file: str, kind: str, quarantined: Sequence[Quarantined]) -> None:
    """StudioError where a file has no record at all, or where it is JSON and none of it can be read."""
    if not quarantined:
        raise StudioError("{file} holds no rows.", "Add at least one row and try again.", file=file)
    first = quarantined[0]
    values = first.reason.values
    if kind == "json" and "problem" in values:
        raise _not_json(file, first.line, first.column, values["problem"])
    if kind == "jsonl":
        raise StudioError(
            "{file} holds no row that can be read. Line {line}, character {character}: {problem}.",
            'Correct it there. In JSONL every line is one object, such as {{"prompt": "…", "response": "…"}}.',
            file=file,
            line=first.line,
            character=first.column,
            problem=values.get("problem") or _WRONG[next(name for name in _WRONG if name in values)],
        )


_WRONG = {
    "kind": "it is not an object",
    "encoding": "it holds bytes that are no text",
    "limit": "it is too long",
}
"""What is wrong with a line, by a value that its sentence has."""


def _not_json(file: str, line: int, column: int, problem: str) -> StudioError:
    return StudioError(
        "{file}, line {line}, character {character}: it is not valid JSON ({problem}).",
        "Correct it there. A JSON file is one list of objects, [{{…}}, {{…}}]; with one object a line it is JSONL.",
        file=file,
        line=line,
        character=column,
        problem=problem,
    )


def on_the_hub(source: str) -> str | None:
    """The hub dataset that is meant; None where it is a path, if only by its folder: a slip of the pen in a file's name
    is no reason to ask another machine for it."""
    dataset = hub_data.dataset_id(source)
    path = Path(source).expanduser()
    local = dataset == source.strip() and (_exists(path) or _exists(path.parent))
    return None if local else dataset


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
