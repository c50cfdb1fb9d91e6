"""Thousands of damaged files, read as an upload is: python -m tests.fuzz.upload [--files N] [--seed N] [--keep FOLDER]

Each file has to end in rows with every loss located, or in one StudioError; anything else is printed with the number
that repeats it (`--only NUMBER`). Files are read in child processes, so that even a crash of the interpreter is caught.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from studio.domain.errors import StudioError
from studio.engine.dataset import read
from studio.engine.readers import Records, read_source
from studio.engine.records import KEPT
from studio.engine.sources import SourceFile
from studio.services.store import Store
from studio.services.uploads import glance, keep
from tests.fuzz.mutations import mutated
from tests.fuzz.samples import samples

BLOCK = 500
SLOW_SECONDS = 5.0


def uploaded(path: Path) -> str:
    """What comes of a file: 'rows', 'some rows' where records were lost, or 'refused'. Raises where that is a bug."""
    outcome = looked_at(path)
    with tempfile.TemporaryDirectory() as home:
        try:
            entry = keep(Store(home), [SourceFile(path, path.name)])
            assert entry.original.read_bytes() == path.read_bytes()
            glance(entry.path)
        except StudioError as error:
            checked_sentence(str(error))
    try:
        dataset = read(path)
    except StudioError as error:
        checked_sentence(str(error))
        return outcome if outcome == "refused" else f"{outcome}, no conversations"
    for found in dataset.findings:
        checked_sentence(f"{found.message} {found.remedy}")
    return outcome


def looked_at(path: Path) -> str:
    """As `uploaded`, for the raw records."""
    try:
        records = read_source(path)
    except StudioError as error:
        checked_sentence(str(error))
        return "refused"
    checked_records(records)
    return "some rows" if records.quarantined else "rows"


def checked_records(records: Records) -> None:
    """Each record is either there or quarantined with its place, and all that is said of it can be written."""
    numbers = [*records.row_numbers, *(item.row for item in records.quarantined)]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert len(records.rows) == len(records.lines) == len(records.files) == len(records.row_numbers)
    for item in records.quarantined:
        assert item.file
        assert item.line >= 0
        assert item.column >= 0
        assert len(item.text) <= KEPT
        item.text.encode()
        checked_sentence(str(item.reason))
    for found in records.findings:
        checked_sentence(f"{found.message} {found.remedy}")
    for name in records.columns:
        assert isinstance(name, str)


def checked_sentence(sentence: str) -> None:
    """A sentence can be written to a page or a log."""
    assert sentence.strip()
    sentence.encode()


def file_number(number: int, seed: int, files: dict[str, bytes]) -> tuple[str, bytes]:
    """The damaged file of a number, the same for the same seed."""
    return mutated(files, random.Random(f"{seed}/{number}"))


def block(first: int, last: int, seed: int) -> tuple[Counter[str], list[str], int]:
    """Read the files of some numbers: what came of them, what went wrong, and the memory it took in MB."""
    files = samples()
    outcomes: Counter[str] = Counter()
    bugs = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, last):
            name, data = file_number(number, seed, files)
            path = Path(folder) / name
            path.write_bytes(data)
            begun = time.perf_counter()
            try:
                outcomes[uploaded(path)] += 1
            except Exception:
                bugs.append(f"{number} ({name}): {traceback.format_exc(limit=-6)}")
            if time.perf_counter() - begun > SLOW_SECONDS:
                bugs.append(f"{number} ({name}): {time.perf_counter() - begun:.1f} s")
            path.unlink()
    return outcomes, bugs, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> int:
    """Read them all and print what came of them."""
    options = argparse.ArgumentParser()
    options.add_argument("--files", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", type=int)
    options.add_argument("--keep", type=Path)
    given = options.parse_args()
    if given.only is not None:
        name, data = file_number(given.only, given.seed, samples())
        folder = given.keep or Path(tempfile.mkdtemp())
        (folder / name).write_bytes(data)
        print(folder / name, uploaded(folder / name))
        return 0
    outcomes: Counter[str] = Counter()
    bugs: list[str] = []
    memory = 0
    begun = time.perf_counter()
    for first in range(0, given.files, BLOCK):
        last = min(first + BLOCK, given.files)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            try:
                found, wrong, taken = pool.submit(block, first, last, given.seed).result()
            except BrokenProcessPool:
                bugs.append(f"{first} to {last}: the interpreter crashed")
                continue
        outcomes += found
        bugs += wrong
        memory = max(memory, taken)
        print(f"{last} files, {len(bugs)} bugs", file=sys.stderr)
    for bug in bugs:
        print(bug.encode("ascii", "backslashreplace").decode())
    seconds = time.perf_counter() - begun
    print(f"{given.files} files in {seconds:.0f} s, at most {memory} MB: {dict(outcomes)}; bugs: {len(bugs)}")
    return 1 if bugs else 0


if __name__ == "__main__":
    sys.exit(main())
