"""What a person points at to the files that hold its rows: a file, several, an archive, a folder or a hub dataset."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from studio.domain.errors import StudioError
from studio.domain.finding import Finding, finding
from studio.engine import archives, excel
from studio.engine.archives import Unpacker, Unreadable
from studio.engine.plain_text import SUFFIXES as TEXTS
from studio.engine.records import EVERY, about_other_splits, choose_split

DATA = (
    ".json",
    ".jsonl",
    ".ndjson",
    ".csv",
    ".tsv",
    ".tab",
    ".parquet",
    ".arrow",
    ".feather",
    ".xlsx",
    ".xlsm",
)
PACKED = (".gz", ".gzip", ".zst", ".zip")
_DESCRIPTIONS = {
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
    "state.json",
    "metadata.json",
    "index.json",
}
"""What the library datasets and the hub write beside the data."""
_SHARD = re.compile(r"(.+?)-\d{5}-of-\d{5}(?:-[0-9a-f]+)?")
_CONVERTED = re.compile(r"[^/]+/[^/]+/\d{4,}\.parquet")
_SPLITS = re.compile(r"(?:^|[/_.-])(train|test|validation|valid|val|dev|eval)(?=[/_.-]|$)")
_MOST_FILES = 10_000
_NAMED = 5
"""So many files are named where some are left out; of the others their number is told."""


@dataclass(frozen=True)
class SourceFile:
    """A file that holds rows, and its name for a person."""

    path: Path
    name: str

    @property
    def suffix(self) -> str:
        """What the name of the file inside of its packing ends in."""
        return data_suffix(self.name)


@dataclass
class Gathered:
    """The files of a source in their order, and what was left out."""

    files: list[SourceFile] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    """All that the names of its files tell of."""
    failures: list[tuple[str, StudioError]] = field(default_factory=list)
    """Files from which no rows can be had, and why."""

    def take(self, found: Chosen) -> list[SourceFile]:
        """Add what is told of a folder or an archive; returns its files."""
        self.findings += found.findings
        self.splits += [split for split in found.splits if split not in self.splits]
        return found.files


@dataclass(frozen=True)
class Chosen:
    """The files of a folder or an archive that hold rows, what was left out, and all splits that there are."""

    files: list[SourceFile]
    findings: list[Finding]
    splits: list[str]


def data_suffix(name: str) -> str:
    """The last extension but for those of packing, in small letters.

    >>> data_suffix("a/Rows.CSV.gz")
    '.csv'
    """
    path = PurePosixPath(name.lower())
    while path.suffix in (".gz", ".gzip", ".zst"):
        path = path.with_suffix("")
    return path.suffix


def gather(paths: Sequence[Path], unpacker: Callable[[], Unpacker], split: str | None) -> Gathered:
    """The files that some paths stand for; archives are unpacked. StudioError where one is not there or holds none."""
    gathered = Gathered()
    for path, name in zip(paths, _names(paths), strict=True):
        found = (
            of_folder(path, split) if path.is_dir() else Chosen([SourceFile(_present(path), name)], [], [])
        )
        for file in gathered.take(found):
            _unpack(file, unpacker, split, gathered, depth=0)
    if gathered.failures and not gathered.files:
        raise gathered.failures[0][1]
    return gathered


def _names(paths: Sequence[Path]) -> list[str]:
    """The files' names, with as many of their folders as it takes to tell them from each other."""
    depth = 1
    while depth < 20:
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            break
        depth += 1
    return names if paths else []


def _present(path: Path) -> Path:
    try:
        with path.open("rb"):
            return path
    except FileNotFoundError:
        raise StudioError(
            "There is no file {path}.", "Check the name and the folder.", path=str(path)
        ) from None
    except (OSError, ValueError) as error:
        raise StudioError(
            "{path} cannot be opened: {problem}.",
            "Check that the file may be read.",
            path=str(path),
            problem=getattr(error, "strerror", None) or str(error),
        ) from None


def _unpack(
    file: SourceFile, unpacker: Callable[[], Unpacker], split: str | None, gathered: Gathered, depth: int
) -> None:
    """Add a file, or where it is an archive what it holds, or why it holds nothing."""
    try:
        _add(file, unpacker, split, gathered, depth)
    except Unreadable as error:
        gathered.failures.append((file.name, error))


def _add(
    file: SourceFile, unpacker: Callable[[], Unpacker], split: str | None, gathered: Gathered, depth: int
) -> None:
    with file.path.open("rb") as opened:
        kind = archives.kind(opened.read(4))
    if kind is None or (kind == archives.ZIP and excel.is_workbook(file.path)):
        gathered.files.append(file)
        return
    if depth >= unpacker().bounds.depth:
        raise Unreadable(
            "{file} holds archives inside of archives.",
            "Unpack it, and choose the files in it.",
            file=file.name,
        )
    members = [SourceFile(member.path, member.name) for member in unpacker().unpack(file.path, file.name)]
    if kind == archives.ZIP:
        members = gathered.take(chosen(members, file.name, split))
    for member in members:
        _unpack(member, unpacker, split, gathered, depth + 1)


def of_folder(folder: Path, split: str | None) -> Chosen:
    """The files of a folder that hold rows, of one split where there are several, or of `EVERY`."""
    files = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            files.append(SourceFile(path, path.relative_to(folder).as_posix()))
        if len(files) > _MOST_FILES:
            raise StudioError(
                "{file} holds more than {most} files.",
                "Unpack it, and choose a folder or fewer files.",
                file=str(folder),
                most=_MOST_FILES,
            )
    return chosen(files, folder.name or str(folder), split)


def chosen(files: Sequence[SourceFile], source: str, split: str | None) -> Chosen:
    """The files of a folder or an archive that hold rows, of one split where there are several, or of `EVERY`."""
    seen = [file for file in files if not _beside_the_data(file.name)]
    data = [file for file in seen if _holds_data(file.name)]
    kept = data or [file for file in seen if data_suffix(file.name) in TEXTS] or _only(seen)
    if not kept:
        raise Unreadable(
            "{source} holds no data file.",
            "Choose a folder or an archive with JSON, JSONL, CSV, Parquet, Excel or text files in it.",
            source=source,
        )
    findings = _left_out(source, [file.name for file in seen if file not in kept])
    of_split, others = _of_split(kept, split, source)
    if others:
        findings.append(about_other_splits(source, split_of(of_split[0].name), others))
    splits = dict.fromkeys(split_of(file.name) for file in kept)
    return Chosen(of_split, findings, [split for split in splits if split])


def _beside_the_data(name: str) -> bool:
    """Whether a file only describes others or is a system's or a library's own."""
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return hidden or not parts or parts[-1] in _DESCRIPTIONS or parts[-1].startswith("cache-")


def _holds_data(name: str) -> bool:
    return data_suffix(name) in DATA or PurePosixPath(name.lower()).suffix in PACKED


def _only(files: list[SourceFile]) -> list[SourceFile]:
    """A file whose name says nothing, where it is the only one."""
    return files if len(files) == 1 and not data_suffix(files[0].name) else []


def _left_out(source: str, names: Sequence[str]) -> list[Finding]:
    if not names:
        return []
    return [
        finding(
            "files_left_out",
            "file",
            "info",
            (),
            "Files in {source} that are no data files were not read: {names}.",
            "Nothing needs to be done, unless rows are in them.",
            source=source,
            names=", ".join(names[:_NAMED]) + (f" … ({len(names)})" if len(names) > _NAMED else ""),
        )
    ]


def split_of(name: str) -> str:
    """The split that a file's name says: 'train', 'test_sft' …; empty where it says none.

    >>> split_of("data/train_sft-00000-of-00003-a3.parquet"), split_of("test/data-00000-of-00001.arrow")
    ('train_sft', 'test')
    >>> split_of("default/train_gen/0000.parquet")
    'train_gen'
    """
    path = PurePosixPath(name)
    stem = path.name[: -len("".join(path.suffixes))] if path.suffixes else path.name
    shard = _SHARD.fullmatch(stem)
    if shard and shard[1] != "data":
        return shard[1]
    if (shard and len(path.parts) > 1 and path.parts[-2] != "data") or _CONVERTED.fullmatch(name):
        return path.parts[-2]
    found = _SPLITS.findall("/".join((*path.parts[:-1], stem)))
    return found[-1] if found else ""


def _of_split(
    files: Sequence[SourceFile], wanted: str | None, source: str
) -> tuple[list[SourceFile], list[str]]:
    """The files of the wanted split, or of the one for training, and the names of the others."""
    splits = list(dict.fromkeys(split for file in files if (split := split_of(file.name))))
    if wanted == EVERY:
        return list(files), []
    chosen = choose_split(source, splits, wanted)
    if chosen is None or (wanted is None and len(splits) == 1):
        return list(files), []
    return [file for file in files if split_of(file.name) == chosen], [
        name for name in splits if name != chosen
    ]
