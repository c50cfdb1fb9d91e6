"""JSON to records: one list, an object around a list, one object a line, or objects one after the other."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from io import TextIOWrapper
from typing import Any

from studio.domain.text import Text
from studio.engine.encodings import DAMAGE
from studio.engine.records import (
    EVERY,
    LONGEST,
    Malformed,
    Part,
    Slip,
    about_other_splits,
    choose_split,
    kind_of,
)
from studio.engine.text_files import TextFile, damaged, lines, shortened, too_long

KEYS_OF_ONE_ROW = {"messages", "conversations", "conversation", "prompt", "completion", "history"}
"""An object whose only list of objects has one of these names is a row itself."""
_TURN = ({"role", "content"}, {"from", "value"})
"""What every turn of a conversation has at least."""
_SPLITS = {"train", "training", "test", "validation", "valid", "val", "dev", "eval"}
_SPLITS_INSIDE = re.compile(
    r'\{\s*(?:"[^"\\]*"\s*:\s*(?:"[^"\\]*"|[\w.+-]+)\s*,\s*)*"[^"\\]*"\s*:\s*'
    rf'(?=\{{\s*"(?i:{"|".join(_SPLITS)})"\s*:\s*\[)'
)
"""The beginning of an object whose splits stand in an object of their own."""
_WHITESPACE = re.compile(r"[ \t\n\r]*")
_CHUNK = 2**20
_LOOKED_THROUGH = 8 * 2**20
_TRIES = 2000
"""Objects of a file that are tried as the one after a malformed record."""
_decoder = json.JSONDecoder()

Rows = Iterator[tuple[int, Any]]


def read_json(source: TextFile, split: str | None = None) -> Part:
    """The records of a file in JSON, whichever way they are put one after the other; of one that is an object of
    splits, those of `split`, or by default those to train on."""
    part = Part("json", iter(()), encoding=source.encoding.name)
    part.rows = _rows(source, part, split)
    return part


def _rows(source: TextFile, part: Part, split: str | None) -> Rows:
    with source.open("") as file:
        window = Window(file)
        start = window.skip(0)
        if window.text.startswith("[", start) and not _first_line_is_one_row(window.text[start:]):
            yield from _Sequence(window, source, part).list(start)
            return
        rows = _objects(window, source, part, start, split) if window.text.startswith("{", start) else None
        if rows is not None:
            yield from rows
            return
    part.kind = "jsonl"
    yield from _lines(source, part)


def _objects(window: Window, source: TextFile, part: Part, start: int, split: str | None) -> Rows | None:
    """What a file that opens with an object holds; None where it is one object a line."""
    sequence = _Sequence(window, source, part)
    splits = _SPLITS_INSIDE.match(window.text, start)
    if splits and not _has_object_lines(window.text[start:]):
        return _long_object(source, part, split, splits.end())
    try:
        value, end = window.value(start)
    except ValueError:
        if _has_object_lines(window.text[start:]):
            return None
        whole = not _breaks_in_a_list(window, start)
        return sequence.values(start) if whole else _long_object(source, part, split)
    if window.skip(end) < len(window.text):
        return sequence.values(start) if "\n" in window.text[start:end] else None
    table = _table(value)
    if table is not None:
        return ((window.line_at(start), row) for row in table)
    lists = _lists_of_rows(value, source.name, part, split)
    if not lists:
        return sequence.values(start)
    places = _members(window.text, start)
    return sequence.lists(sorted(places[key] for key in lists))


def _lists_of_rows(value: dict[str, Any], file: str, part: Part, split: str | None) -> list[str]:
    """The names of the lists of objects in an object; none where the object is a row itself. Of splits, the one that is
    wanted, or else the one to train on."""
    lists = [
        key for key, item in value.items() if isinstance(item, list) and item and isinstance(item[0], dict)
    ]
    if len(value) == 1 and next(iter(value.values())) == []:
        lists = list(value)
    if any(value[key] and key.strip().lower() in KEYS_OF_ONE_ROW for key in lists):
        return []
    if len(lists) > 1 and any(_are_turns(value[key]) for key in lists):
        return []
    if _are_splits(lists):
        # A split without a row is one, too.
        empty = [key for key, item in value.items() if item == [] and key.strip().lower() in _SPLITS]
        return _wanted([key for key in value if key in (*lists, *empty)], file, part, split)
    return lists if len(lists) < 2 or len(lists) == len(value) else []


def _long_object(source: TextFile, part: Part, split: str | None, start: int = 0) -> Rows:
    """The rows of the lists of the object that opens at `start`, which is longer than a record, breaks in one of its
    lists or stands in another one.

    Where its lists may be splits it is gone through twice, as which is wanted depends on which there are.
    """
    wanted: list[str] | None = None
    if _first_list(source, start).strip().lower() in _SPLITS:
        names = [name for name, _ in _lists(source, Part("json", iter(())), start)]
        wanted = _wanted(names, source.name, part, split) if _are_splits(names) else names
    for name, rows in _lists(source, part, start):
        if wanted is None or name in wanted:
            yield from rows
        else:
            before = len(part.slips)
            for _ in rows:
                pass
            del part.slips[before:]


def _lists(source: TextFile, part: Part, start: int) -> Iterator[tuple[str, Iterable[tuple[int, Any]]]]:
    with source.open("") as file:
        window = Window(file)
        yield from _Sequence(window, source, part).members(window.skip(start))


def _first_list(source: TextFile, start: int) -> str:
    lists = _lists(source, Part("json", iter(())), start)
    name, _ = next(lists, ("", None))
    lists.close()  # type: ignore[attr-defined]
    return name


def _are_splits(names: Sequence[str]) -> bool:
    return bool(names) and all(name.strip().lower() in _SPLITS for name in names)


def _wanted(names: list[str], file: str, part: Part, split: str | None) -> list[str]:
    """Of the splits that a file is made of, those that are wanted, or else the one to train on."""
    if split == EVERY or (split is None and len(names) == 1):
        part.splits = tuple(names) if len(names) > 1 else ()
        return names
    chosen = choose_split(file, names, split) or names[0]
    if len(names) > 1:
        part.splits = tuple(names)
        part.findings.append(about_other_splits(file, chosen, [name for name in names if name != chosen]))
    return [chosen]


def _table(value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The rows of a table that is written as one object, as pandas and the library datasets do; None for another one.

    A list for each column (`Dataset.to_dict`, pandas' orient "list"), an object for each column (pandas' default) or
    for each row (orient "index"), or the names of the columns and the cells of each row (orient "split").

    >>> _table({"prompt": ["a", "b"], "response": ["c", "d"]})
    [{'prompt': 'a', 'response': 'c'}, {'prompt': 'b', 'response': 'd'}]
    """
    names, cells = value.get("columns"), value.get("data")
    if isinstance(names, list) and isinstance(cells, list) and value.keys() <= {"columns", "index", "data"}:
        whole = all(isinstance(row, list) and len(row) == len(names) for row in cells)
        texts = all(isinstance(name, str) for name in names)
        return [dict(zip(names, row, strict=True)) for row in cells] if whole and texts else None
    columns = list(value.values())
    if not columns or not columns[0]:
        return None
    if all(isinstance(column, list) for column in columns):
        cells = [cell for column in columns for cell in column]
        even = len({len(column) for column in columns}) == 1
        if not even or any(isinstance(cell, dict) for cell in cells):
            return None
        return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    if not all(isinstance(column, dict) and column.keys() == columns[0].keys() for column in columns):
        return None
    if all(key.isdigit() for key in columns[0]):
        return [{name: column[key] for name, column in value.items()} for key in columns[0]]
    return columns if len(columns) > 1 else None


def _members(text: str, position: int) -> dict[str, int]:
    """Where each value of the valid object that opens at `position` begins; of keys that stand twice, the last."""
    places: dict[str, int] = {}
    position = _skip(text, position + 1)
    while not text.startswith("}", position):
        key, end = _decode(text, position)
        places[key] = _skip(text, _skip(text, end) + 1)
        _, end = _decode(text, places[key])
        position = _skip(text, end)
        if text.startswith(",", position):
            position = _skip(text, position + 1)
    return places


def _breaks_in_a_list(window: Window, position: int) -> bool:
    """Whether the object at `position`, which breaks or is longer than a record, does so in a list of objects, or after
    one where the window ends."""
    text = window.text
    passed = False
    position = _skip(text, position + 1)
    while True:
        try:
            key, end = _decode(text, position)
        except ValueError:
            break
        colon = _skip(text, end)
        place = _skip(text, colon + 1)
        if not isinstance(key, str) or not text.startswith(":", colon) or place == len(text):
            break
        if key.strip().lower() in KEYS_OF_ONE_ROW:
            return False
        inner = _skip(text, place + 1)
        is_list = text.startswith("[", place) and (text.startswith("{", inner) or inner == len(text))
        try:
            value, end = _decode(text, place)
        except ValueError:
            return is_list
        if _are_turns(value):
            return False
        passed = passed or is_list
        position = _skip(text, end)
        if not text.startswith(",", position):
            break
        position = _skip(text, position + 1)
    return passed and not window.ended


def _first_line_is_one_row(text: str) -> bool:
    """Whether the first line alone is a list of anything but rows and more follows: JSON Lines, not one list."""
    first, _, rest = text.partition("\n")
    if not rest.strip():
        return False
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return _are_turns(value) or not all(isinstance(item, dict) for item in value)


def _are_turns(value: Any) -> bool:
    """Whether a value is a whole conversation: a list of turns, without a name."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, dict) and any(turn.keys() >= keys for keys in _TURN) for turn in value)
    )


def _as_row(value: Any, text: str, line: int, column: int) -> Any:
    """A value as a record: an object as it is, turns without a name as `messages`; else why it is none."""
    if isinstance(value, dict):
        return value
    return {"messages": value} if _are_turns(value) else _no_object(value, text, line, column)


def _has_object_lines(text: str) -> bool:
    """Whether one of the lines after the first is a whole object: JSON Lines, not one pretty-printed value."""
    for line in text[:1_000_000].split("\n")[1:51]:
        try:
            if isinstance(json.loads(line), dict):
                return True
        except (ValueError, RecursionError):
            continue
    return False


def _skip(text: str, position: int) -> int:
    match = _WHITESPACE.match(text, position)
    return match.end() if match else position


def _decode(text: str, position: int) -> tuple[Any, int]:
    """The JSON value at `position` and where it ends. ValueError for anything else, absurd nesting included."""
    try:
        return _decoder.raw_decode(text, position)
    except RecursionError:
        raise json.JSONDecodeError("Too many brackets inside each other", text, position) from None


def _problem(error: ValueError) -> str:
    """The parser's own words; an integer of thousands of digits is refused by Python itself."""
    return error.msg if isinstance(error, json.JSONDecodeError) else "A number has too many digits"


# ---- One object a line --------------------------------------------------------------------------------------------


def _lines(source: TextFile, part: Part) -> Rows:
    with source.open("\n") as file:
        whole = True
        for number, line in enumerate(_whole_lines(file), start=1):
            try:
                value, end = _decoder.raw_decode(line)
                whole = line[end:] in ("\n", "", "\r\n") and type(value) is dict and DAMAGE not in line
            except (ValueError, RecursionError):
                whole = False
            if whole:
                yield number, value
            elif line.strip():
                yield from _odd_line(line, number, source, part)


def _whole_lines(file: TextIOWrapper) -> Iterator[str]:
    """The lines; of one that is longer than LONGEST only the beginning, which has no end of line then."""
    pieces = lines(file)
    for line in pieces:
        yield line
        if len(line) == LONGEST and not line.endswith("\n"):
            next((piece for piece in pieces if piece.endswith("\n")), None)


def _odd_line(line: str, number: int, source: TextFile, part: Part) -> Rows:
    """What stands on a line that is not just one value."""
    if DAMAGE in line:
        yield number, damaged(line, number, source.encoding)
        return
    if len(line) >= LONGEST:
        yield number, too_long(line, number)
        return
    line = line.rstrip("\n")
    position = _skip(line, 0)
    while position < len(line):
        try:
            value, end = _decode(line, position)
            after = _skip(line, end)
            if after < len(line) and not (line[after] == "," or _starts_object(line, after)):
                raise json.JSONDecodeError("Text after the object", line, after)
        except ValueError as error:
            place = error.pos if isinstance(error, json.JSONDecodeError) else position
            yield number, _not_json(line[position:], number, number, number, place + 1, _problem(error))
            return
        yield number, _as_row(value, line[position:end], number, position + 1)
        if after < len(line):
            part.slips.append(Slip(number, after + 1, "Several objects on one line, or a comma after one"))
        position = _skip(line, after + 1) if line.startswith(",", after) else after


def _no_object(value: Any, text: str, line: int, column: int) -> Malformed:
    reason = Text(
        "Row {row} (line {line}) is {kind}, not an object with named fields.",
        {"line": line, "kind": kind_of(value)},
    )
    return Malformed(reason, line, column, shortened(text))


def _starts_object(text: str, position: int) -> bool:
    return text.startswith("{", position)


def _not_json(text: str, line: int, last: int, where: int, column: int, problem: str) -> Malformed:
    """A record of the lines `line` to `last` that breaks at the line `where` and a column."""
    if last == line:
        reason = Text(
            "Row {row} (line {line}, character {character}) is not valid JSON: {problem}.",
            {"line": where, "character": column, "problem": problem},
        )
    else:
        reason = Text(
            "Row {row} (lines {line} to {last}) is not valid JSON: {problem} (line {where}, character {character}). "
            "All of these lines are left out.",
            {"line": line, "last": last, "where": where, "character": column, "problem": problem},
        )
    return Malformed(reason, where, column, shortened(text))


# ---- Values that lie anywhere -------------------------------------------------------------------------------------


class Window:
    """A stretch of a text file, which grows as a value needs more of it and is cut where records are done."""

    def __init__(self, file: TextIOWrapper) -> None:
        self.file = file
        self.text = file.read(_CHUNK)
        self.ended = len(self.text) < _CHUNK
        self.line = 1
        self.column = 1
        self.counted = (0, 1)
        self.gone = 0
        """Characters that were let go of."""

    def more(self) -> bool:
        """Read on. False at the end of the file."""
        if self.ended:
            return False
        wanted = max(_CHUNK, len(self.text))
        chunk = self.file.read(wanted)
        self.ended = len(chunk) < wanted
        self.text += chunk
        return bool(chunk)

    def skip(self, position: int) -> int:
        """The place of what follows the white space."""
        position = _skip(self.text, position)
        while position == len(self.text) and self.more():
            position = _skip(self.text, position)
        return position

    def value(self, position: int, limit: int = LONGEST) -> tuple[Any, int]:
        """The JSON value at `position` and where it ends. ValueError where there is none within `limit` characters."""
        while True:
            try:
                value, end = _decode(self.text, position)
            except ValueError as error:
                if not self._may_go_on(error):
                    raise
                if len(self.text) - position > limit:
                    raise json.JSONDecodeError("The record is too long", self.text, position) from None
                if not self.more():
                    raise
            else:
                if end < len(self.text) or isinstance(value, (dict, list, str)) or not self.more():
                    return value, end

    def _may_go_on(self, error: ValueError) -> bool:
        """Whether the value may just be cut off by the end of the window."""
        if self.ended or not isinstance(error, json.JSONDecodeError):
            return False
        return error.msg.startswith("Unterminated string") or error.pos >= len(self.text) - 16

    def line_at(self, position: int) -> int:
        """The line of a place, which must not lie before the one asked for last."""
        seen, line = self.counted
        self.counted = position, line + self.text.count("\n", seen, position)
        return self.counted[1]

    def place(self, position: int) -> tuple[int, int]:
        """Line and column of any place."""
        breaks = self.text.count("\n", 0, position)
        column = position - self.text.rfind("\n", 0, position) if breaks else self.column + position
        return self.line + breaks, column

    def cut(self, position: int) -> int:
        """Let go of what lies before `position`, once that is much. The new place of the same character."""
        if position < _CHUNK // 2:
            return position
        self.line_at(position)
        self.line, self.column = self.place(position)
        self.counted = 0, self.line
        self.text = self.text[position:]
        self.gone += position
        return 0

    def drain(self) -> int:
        """Read to the end of the file without keeping it. The last line's number."""
        line = self.place(len(self.text.rstrip("\r\n")))[0]
        while chunk := self.file.read(_CHUNK):
            line += chunk.count("\n")
        self.ended = True
        return line


class _Returning:
    """A generator's values, and what it returned at its end. Who breaks off can go on where that was."""

    def __init__(self, generator: Generator[tuple[int, Any], None, int | None]) -> None:
        self._generator = generator
        self._ended = False
        self.returned: int | None = None

    def __iter__(self) -> Rows:
        while not self._ended:
            try:
                value = next(self._generator)
            except StopIteration as end:
                self._ended, self.returned = True, end.value
            else:
                yield value


class _Sequence:
    """Values one after the other: in a list, or just so. One that is malformed costs itself only."""

    def __init__(self, window: Window, source: TextFile, part: Part) -> None:
        self.window = window
        self.source = source
        self.part = part
        self.keys: set[str] = set()
        self.tries = 0
        self.in_object = False
        """Whether lists are gone through as members of an object, which may be splits."""

    def list(self, bracket: int, alone: bool = True) -> Generator[tuple[int, Any], None, int | None]:
        """The elements of the list that opens at `bracket`. Where it stands `alone`, nothing should follow it.

        Returns the place of the closing bracket, if there is one.
        """
        position = self.window.skip(bracket + 1)
        closing: int | None = position
        if not self.window.text.startswith("]", position):
            closing = yield from self._elements(position, in_list=True)
        if closing is None or not alone:
            return closing
        after = self.window.skip(closing + 1)
        if after < len(self.window.text):
            self._slip(after, "Text after the closing bracket")
            yield from self.values(after)
        return closing

    def members(self, position: int) -> Iterator[tuple[str, Iterable[tuple[int, Any]]]]:
        """Name and elements of each list of objects in the object that opens at `position`, one after the other.

        What is left of a list is gone through before the next. Ends where the object does, or breaks outside of lists.
        """
        window = self.window
        self.in_object = True
        position = window.skip(position + 1)
        while not window.text.startswith("}", position):
            try:
                key, end = window.value(position)
                colon = window.skip(end)
                place = window.skip(colon + 1)
                inner = window.skip(place + 1)  # may read on: only then is the text looked at
                opens = window.text.startswith("[", place)
                empty = window.text.startswith("]", inner) and key.strip().lower() in _SPLITS
                if opens and (window.text.startswith("{", inner) or empty):
                    rows = _Returning(self.list(place, alone=False))
                    yield key, rows
                    for _ in rows:
                        pass
                    if rows.returned is None:
                        return
                    end = rows.returned + 1
                else:
                    _, end = window.value(place)
            except ValueError as error:
                self._slip(position, _problem(error))
                return
            position = window.skip(end)
            if window.text.startswith(",", position):
                position = window.skip(position + 1)

    def lists(self, brackets: Sequence[int]) -> Rows:
        """The elements of the lists that open at these places, which ascend."""
        for bracket in brackets:
            yield from self.list(bracket - self.window.gone, alone=False)

    def values(self, position: int) -> Rows:
        """The values from `position` to the end of the file; a list among them gives its elements."""
        while self.window.text.startswith(",", position):
            position = self.window.skip(position + 1)
        if self.window.text.startswith("[", position):
            yield from self.list(position)
        elif position < len(self.window.text):
            bracket = yield from self._elements(position, in_list=False)
            if bracket is not None:
                yield from self.list(bracket)

    def _elements(self, position: int, in_list: bool) -> Generator[tuple[int, Any], None, int | None]:
        """Yield values with their lines. Return the place of the closing bracket or of a list; None at the end."""
        window = self.window
        while position < len(window.text):
            start = window.cut(position)
            line = window.line_at(start)
            try:
                value, end = window.value(start)
            except ValueError as error:
                place = error.pos if isinstance(error, json.JSONDecodeError) else start
                found = self._resume(start, place)
                closing = self._next_split(place, found)
                if closing is not None:
                    yield line, self._malformed(start, place, closing, _problem(error))
                    return closing
                yield line, self._malformed(start, place, found, _problem(error))
                if found is None:
                    return None
                position = found
                continue
            after = window.skip(end)
            if DAMAGE in window.text[start:end]:
                yield line, self._damaged(start, end)
            else:
                if isinstance(value, dict):
                    self.keys = set(value) or self.keys
                yield line, _as_row(value, window.text[start:end], *window.place(start))
            position = self._between(after, in_list)
            if position < len(window.text) and window.text[position] in ("]" if in_list else "["):
                return position
        return None

    def _next_split(self, position: int, end: int | None) -> int | None:
        """The bracket that closes a split before another one begins, whose rows are none of the first."""
        if not self.in_object:
            return None
        text = self.window.text
        found = _NEXT_SPLIT.search(text, position, len(text) if end is None else end)
        return found.start() if found else None

    def _between(self, after: int, in_list: bool) -> int:
        """The place of the next value or of the closing bracket, where `after` is that of what follows a value."""
        window = self.window
        if window.text.startswith(",", after):
            position = window.skip(after + 1)
            if not in_list:
                self._slip(after, "A comma between two objects that are in no list")
            elif window.text.startswith("]", position):
                self._slip(position, "A comma stands before the closing bracket")
            return position
        if in_list and after == len(window.text):
            self._slip(after, "The array is never closed with ]")
        elif in_list and not window.text.startswith("]", after):
            self._slip(after, "Expecting ',' or ']'")
        return after

    def _slip(self, position: int, problem: str) -> None:
        self.part.slips.append(Slip(*self.window.place(position), problem))

    def _damaged(self, start: int, end: int) -> Malformed:
        line, column = self.window.place(start)
        return damaged(self.window.text[start:end], line, self.source.encoding, column)

    def _malformed(self, start: int, position: int, end: int | None, problem: str) -> Malformed:
        """The record from `start` to `end` (None: to the end of the file), which breaks at `position`."""
        window = self.window
        text = window.text[start:end].rstrip(" \t,\r\n")
        if DAMAGE in text:
            return self._damaged(start, start + len(text))
        first, last = window.place(start)[0], window.place(start + len(text))[0]
        place = window.place(position)
        return _not_json(text, first, window.drain() if end is None else last, *place, problem)

    def _resume(self, start: int, position: int) -> int | None:
        """Where the record after the one at `start` begins, which breaks at `position`. None where none is found."""
        window = self.window
        keys = self.keys or _keys(window.text, start) or _likely_keys(window.text, position)
        position = max(start + 1, position - 1)
        while self.tries < _TRIES:
            match = _NEXT_OBJECT.search(window.text, position)
            if match is None:
                seen = len(window.text)
                if seen - start > _LOOKED_THROUGH or not window.more():
                    return None
                position = max(position, seen - 1000)
                continue
            place = match.start(1)
            if not keys.isdisjoint(_keys(window.text, place)):
                if self._begins_record(place, keys):
                    return place
                self.tries += 1
            position = match.end()
        return None

    def _begins_record(self, position: int, keys: set[str]) -> bool:
        """Whether a whole object with the records' own keys stands there, and not one from inside a record."""
        try:
            value, end = self.window.value(position, _CHUNK)
        except ValueError:
            return False
        after = self.window.skip(end)
        return isinstance(value, dict) and self.window.text[after : after + 1] in ("", ",", "]", "{")


def _keys(text: str, position: int) -> set[str]:
    """The first key of the object that opens at `position`, as far as it can be read."""
    match = _FIRST_KEY.match(text, position)
    return {match[1]} if match else set()


def _likely_keys(text: str, position: int) -> set[str]:
    """The first key of those objects after a place that take up the most of the text: rows, not what is inside them."""
    spans: Counter[str] = Counter()
    for _ in range(_SAMPLED):
        match = _NEXT_OBJECT.search(text, position)
        if match is None:
            break
        position = match.end()
        try:
            _, end = _decode(text, match.start(1))
        except ValueError:
            continue
        for key in _keys(text, match.start(1)):
            spans[key] += end - position
        position = end
    return {spans.most_common(1)[0][0]} if spans else set()


_SAMPLED = 200
_NEXT_SPLIT = re.compile(rf'\]\s*,\s*"(?:{"|".join(sorted(_SPLITS))})"\s*:\s*\[', re.IGNORECASE)
_NEXT_OBJECT = re.compile(r"(?:[}\]\"\w]\s*,?\s*|\n\s*)(\{)")
_FIRST_KEY = re.compile(r'\{\s*"((?:[^"\\]|\\.)*)"\s*:')
