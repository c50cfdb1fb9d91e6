"""Data files to conversations: read, recognise, split, and write back."""

from __future__ import annotations

import bisect
import hashlib
import json
import os
import random
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from studio.domain.chat import Conversation
from studio.domain.config import DataConfig
from studio.domain.errors import StudioError
from studio.domain.finding import Finding, finding
from studio.domain.text import Text
from studio.engine import conversion, mixing
from studio.engine.conversion import about_own_format, about_problems, settle
from studio.engine.formats import recognise
from studio.engine.leakage import Groups, about_leakage, about_learnt, across, between, prompt_key, twins
from studio.engine.readers import (
    Quarantined,
    Record,
    Records,
    Source,
    as_options,
    draw_source,
    read_source,
)
from studio.engine.records import SourceRows

__all__ = ["Dataset", "TrainingData", "draw", "load_training", "read", "recognise", "split", "write_messages"]

_CHUNK = 2**22
LARGEST_GROUP = 0.25
"""Near duplicates that are kept on one side are so much of the smaller side at most."""


@dataclass(frozen=True)
class Dataset:
    """A file as read: its raw rows, and the conversations that they became.

    `row_numbers[i]` is the 1-based number in the file of `rows[i]`; records that could not be parsed have a number too,
    but no row. Of a file that was surveyed, `rows` are the first ones. `findings` names every record that became no
    conversation, and `quarantined` holds them with their place and their text.
    """

    path: Path
    format: str
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    row_numbers: list[int]
    conversations: Sequence[Conversation]
    findings: list[Finding]
    quarantined: list[Quarantined] = field(default_factory=list)
    encoding: str = "utf-8"
    sources: list[SourceRows] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Records in the file, readable or not."""
        numbers = [*self.row_numbers[-1:], *(row.row for row in self.conversations[-1:])]
        return max([*numbers, *(max(f.rows, default=0) for f in self.findings)], default=0)


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from and what it is measured on. The hashes are those of the files' bytes."""

    train: list[Conversation]
    held_out: list[Conversation]
    findings: list[Finding]
    sha256: str
    held_out_sha256: str = ""
    left_out: Sequence[Conversation] = ()
    """Those of the file to train on that lack a prompt or a response."""


def read(
    source: Source,
    *,
    format: str = "auto",
    columns: dict[str, str] | None = None,
    max_rows: int | None = None,
    read_as: Mapping[str, str] | None = None,
) -> Dataset:
    """The conversations of a data file, of several, of an archive, a folder or a hub dataset.

    `columns` maps `prompt`, `response` and if wanted `system` and `input` to columns of the file; with the format
    'auto', a file that has none of them is read as its own columns say. A record that is no
    conversation becomes a Finding of the dimension 'file', and so does what a row says that none can hold (a second
    system message); StudioError where the file as a whole cannot be used. `read_as` says what is else recognised
    (`readers.READ_AS`).
    """
    path = Path(source if isinstance(source, (str, Path)) else source[0]).expanduser()
    return _dataset(read_source(source, max_rows, **as_options(read_as)), path, format, columns)


def draw(
    path: str | Path,
    format: str,
    columns: dict[str, str] | None,
    count: int,
    seed: int,
    read_as: Mapping[str, str] | None = None,
) -> Dataset:
    """As `read`, of so many rows at most, drawn at random; the findings say so where the file has more."""
    records, total = draw_source(path, count, seed, **as_options(read_as))
    dataset = _dataset(records, Path(path).expanduser(), format, columns)
    if total <= count:
        return dataset
    about = finding(
        "drawn",
        "file",
        "info",
        (),
        "Of the {total} rows of {file}, {drawn} are drawn at random, the same for the same seed.",
        "Nothing needs to be done. More are taken where the rows of a file at most are set higher.",
        total=f"{total:,}",
        drawn=f"{count:,}",
        file=dataset.path.name,
    )
    return replace(dataset, findings=[about, *dataset.findings])


def _dataset(records: Records, path: Path, format: str, columns: dict[str, str] | None) -> Dataset:
    if not records.rows:
        raise _nothing_usable(path, records.quarantined)
    names = records.columns
    how = settle(path.name, format, columns, names, records.rows, records.padded)
    rows = (
        Record(*record)
        for record in zip(records.row_numbers, records.lines, records.rows, records.files, strict=True)
    )
    found = conversion.converted(rows, how)
    problems = sorted([*records.quarantined, *found.quarantined], key=lambda problem: problem.row)
    if not found.conversations:
        raise _nothing_usable(path, problems)
    findings = [
        *records.findings,
        *(about_own_format(path.name, found.format) if columns and not found.formats["columns"] else ()),
        *about_problems(problems),
        *found.findings,
    ]
    return Dataset(
        path,
        found.format,
        names,
        records.rows,
        records.row_numbers,
        found.conversations,
        findings,
        problems,
        records.encoding,
        records.sources,
    )


def _nothing_usable(path: Path, problems: Sequence[Quarantined]) -> StudioError:
    return StudioError(
        "No row of {file} can be used. {first}",
        "Correct the rows, or choose another format.",
        file=path.name,
        first=str(problems[0].reason),
    )


def split(
    conversations: Sequence[Conversation],
    share: float,
    seed: int,
    alike: Iterable[tuple[int, int]] | None = None,
    learnt: Container[tuple[str, ...]] = (),
    measured: Container[tuple[str, ...]] = (),
) -> tuple[list[Conversation], list[Conversation]]:
    """Conversations for training and held-out ones, both in the order of the file; the same for the same seed.

    Both parts are alike: the held-out rows are drawn evenly from all kinds of rows (by their answer where there are few
    different ones, else by length). Rows with the same prompt stay on one side, and near duplicates too. With a share
    above 0 and at least two prompts, each part gets at least one row. `alike`: positions of near duplicates, where
    they are known already. `learnt` and `measured`: the `prompt_key`s of rows that an earlier run was trained on, which
    are not held out as long as there are others, and of those that it held out, which are again before new ones.
    """
    if share <= 0 or len({prompt_key(conversation) for conversation in conversations}) < 2:
        return list(conversations), []
    kept_together = _together(conversations, share, twins(conversations) if alike is None else alike)
    kinds = _kinds([rows[0] for rows in kept_together])
    random_ = random.Random(seed)
    groups = [*zip(kinds, kept_together, strict=True)]
    random_.shuffle(groups)
    groups.sort(key=lambda group: group[0])
    wanted = min(max(1, round(len(groups) * share)), len(groups) - 1)
    unknown = [group for group in groups if not any(prompt_key(row) in learnt for row in group[1])]
    if unknown and len(unknown) < len(groups):
        again: list[_Group] = []
        fresh: list[_Group] = []
        for group in unknown:
            (again if any(prompt_key(row) in measured for row in group[1]) else fresh).append(group)
        # Of the new rows no more than the share: they are what the run is for.
        new = max(round(len(fresh) * share), 0 if again else 1)
        kept = min(wanted, len(again))
        chosen = [*_evenly(again, kept, random_), *_evenly(fresh, min(new, wanted - kept), random_)]
    else:
        chosen = _evenly(groups, wanted, random_)
    held_out = {id(row) for _, rows in chosen for row in rows}
    return (
        [row for row in conversations if id(row) not in held_out],
        [row for row in conversations if id(row) in held_out],
    )


_Group = tuple[str, list[Conversation]]


def _evenly(groups: Sequence[_Group], wanted: int, random_: random.Random) -> list[_Group]:
    """So many of the groups, from all over their order."""
    if not wanted:
        return []
    first = random_.random()
    places = {int((number + first) * len(groups) / wanted) for number in range(wanted)}
    return [groups[place] for place in sorted(places)]


def _together(
    conversations: Sequence[Conversation], share: float, alike: Iterable[tuple[int, int]]
) -> list[list[Conversation]]:
    """The rows in groups that must not be torn apart, at least two.

    Near duplicates join their groups as long as these stay small: a set of rows that are all alike could not be split.
    """
    by_prompt: dict[tuple[str, ...], list[Conversation]] = {}
    for conversation in conversations:
        by_prompt.setdefault(prompt_key(conversation), []).append(conversation)
    position = {key: number for number, key in enumerate(by_prompt)}
    largest = max(2, round(len(conversations) * min(share, 1 - share) * LARGEST_GROUP))
    groups = Groups([len(rows) for rows in by_prompt.values()], largest)
    for earlier, later in alike:
        groups.join(*(position[prompt_key(conversations[place])] for place in (earlier, later)))
    joined: dict[int, list[Conversation]] = {}
    for number, rows in enumerate(by_prompt.values()):
        joined.setdefault(groups.of(number), []).extend(rows)
    return list(joined.values()) if len(joined) > 1 else list(by_prompt.values())


def _kinds(conversations: Sequence[Conversation]) -> list[str]:
    """What kind of row each is: its answer, where few are different, else one of eight lengths."""
    answers = [conversation.response.strip() for conversation in conversations]
    if len(set(answers)) * 5 <= len(answers):
        return answers
    lengths = [sum(len(message.content) for message in row.messages) for row in conversations]
    order = sorted(lengths)
    edges = [order[len(order) * part // 8] for part in range(1, 8)]
    return [str(bisect.bisect_right(edges, length)) for length in lengths]


def load_training(
    data: DataConfig,
    seed: int,
    learnt: Iterable[Conversation] = (),
    measured: Iterable[Conversation] = (),
) -> TrainingData:
    """The conversations that a run trains on and is measured on. StudioError where none is left to train on.

    `learnt` are those that the run was trained on whose adapter this one goes on with, `measured` those it held out.
    """
    known = {prompt_key(row) for row in learnt}
    for path in (data.path, data.held_out_path, data.general_path):
        _refuse_folder(path)
    dataset = draw(data.path, data.format, data.columns, data.max_rows, seed, data.read_as)
    usable, findings = _usable(dataset)
    findings = [*dataset.findings, *findings]
    held_out_sha256 = ""
    if data.held_out_path:
        held_out_set = _read_held_out(data.held_out_path, data, seed)
        held_out, about_held_out = _usable(held_out_set)
        findings = [
            *_naming(dataset.path, findings),
            *_naming(held_out_set.path, [*held_out_set.findings, *about_held_out]),
        ]
        train, alike = usable, between(usable, held_out)
        held_out_sha256 = _sha256(held_out_set.path)
    else:
        pairs = list(twins(usable)) if data.held_out_share > 0 else []
        train, held_out = split(
            usable, data.held_out_share, seed, pairs, known, {prompt_key(row) for row in measured}
        )
        alike = across(pairs, usable, held_out)
    if not train:
        raise StudioError(
            "{file} has no row to train on: every row lacks a prompt or a response.",
            "Fill in the responses, or choose other columns.",
            file=dataset.path.name,
        )
    leaked = about_leakage(train, held_out, alike)
    findings += _naming(dataset.path, leaked) if data.held_out_path else leaked
    findings += about_learnt(held_out, known)
    general, about_general = _general(data, len(train), seed)
    return TrainingData(
        [*train, *general],
        held_out,
        [*findings, *about_general],
        _sha256(dataset.path),
        held_out_sha256,
        [conversation for conversation in dataset.conversations if not conversation.learnable],
    )


def _general(data: DataConfig, own: int, seed: int) -> tuple[list[Conversation], list[Finding]]:
    """The general rows that are learnt beside one's own."""
    count = mixing.general_rows(own, data.general_share)
    if not count:
        return [], []
    path = Path(data.general_path).expanduser() if data.general_path else mixing.SHIPPED
    candidates, about = general_candidates(path)
    drawn, few = mixing.draw([row for row in candidates if not row.gauge], count, seed, path)
    problems = [item for item in about if item.severity != "info"]
    return drawn, [*_naming(path, problems), *few, mixing.about_mixture(own, len(drawn), path)]


def general_candidates(path: Path) -> tuple[list[mixing.Candidate], list[Finding]]:
    """The usable rows of a file of general data, and what is said of it."""
    dataset = read(path)
    usable, about = _usable(dataset)
    raw = dict(zip(dataset.row_numbers, dataset.rows, strict=True))
    candidates = [
        mixing.Candidate(
            row,
            str(raw[row.row].get("task") or ""),
            str(raw[row.row].get("language") or ""),
            raw[row.row].get("split") == mixing.GAUGE,
        )
        for row in usable
    ]
    return candidates, [*dataset.findings, *about]


def _read_held_out(path: str, data: DataConfig, seed: int) -> Dataset:
    """Read as the file for training is; where that does not fit, as its own columns say."""
    try:
        return draw(path, data.format, data.columns, data.max_rows, seed)
    except StudioError as error:
        if data.format == "auto" and not data.columns:
            raise
        try:
            held_out = draw(path, "auto", None, data.max_rows, seed)
        except StudioError:
            raise error from None
    own = about_own_format(held_out.path.name, held_out.format)
    return replace(held_out, findings=[*held_out.findings, *own])


def _naming(path: Path, findings: Iterable[Finding]) -> list[Finding]:
    """The findings, each with the name of its file, for where there are two."""
    return [
        item
        if path.name in str(item.text)
        else replace(item, text=Text("In {file}: {problem}", {"file": path.name, "problem": str(item.text)}))
        for item in findings
    ]


def _usable(dataset: Dataset) -> tuple[list[Conversation], list[Finding]]:
    """The conversations that can be learnt from, and a Finding with the rows of the others."""
    usable = [conversation for conversation in dataset.conversations if conversation.learnable]
    kept = {conversation.row for conversation in usable}
    left_out = [c.row for c in dataset.conversations if c.row not in kept]
    if not left_out:
        return usable, []
    return usable, [
        finding(
            "left_out",
            "split",
            "warning",
            left_out,
            "Rows of {file} without a prompt or a response are left out: {count}.",
            "Fill them in to train on them.",
            file=dataset.path.name,
        )
    ]


def _refuse_folder(path: str | None) -> None:
    """StudioError for anything but a file: only its bytes can be told from other bytes when the run goes on."""
    file = Path(path).expanduser() if path else None
    if file and file.is_dir():
        raise StudioError(
            "{path} is a folder, not a file.",
            "`studio data convert FOLDER --out FILE` makes one file of it.",
            path=str(file),
        )
    if file and not file.exists():
        raise StudioError("There is no file {path}.", "Check the name and the folder.", path=str(file))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_messages(conversations: Iterable[Conversation], path: str | Path) -> None:
    """Write conversations as JSON Lines in the `messages` format. The file appears whole or not at all."""
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("w", encoding="utf-8", newline="\n") as file:
            for conversation in conversations:
                file.write(json.dumps(conversation.to_json(), ensure_ascii=False) + "\n")
        os.replace(unfinished, path)
    except OSError as error:
        raise StudioError(
            "{path} cannot be written: {problem}.",
            "Free some space or choose another folder.",
            path=str(path),
            problem=error.strerror or str(error),
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)
