"""What is kept of each row so that rows can be compared: a few hashes and numbers, a million of them in some 400 MB.

A sketch depends on its row alone, so that sketches can be made of shards anywhere and laid end to end. The checks of
whole sets look at these columns, and read only the rows that they point to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_64_intdigest

from studio.domain.chat import Conversation
from studio.engine.checks.endings import ending_of
from studio.engine.checks.manner import language_number, manner_of
from studio.engine.checks.parts import answer, calls, last_answer, last_turn, speaks
from studio.engine.checks.text import (
    is_json,
    is_structured,
    plain,
    plain_texts,
    single_spaced_texts,
    small_words,
)
from studio.engine.near_duplicates import BINS, signatures

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Sketches = NDArray[numpy.void]
else:
    Sketches = "NDArray[numpy.void]"

FIELDS = [
    ("whole", "u8"),  # equal for rows that are the same but for spaces
    (
        "asked",
        "u8",
    ),  # equal for rows that ask the same after the same turns; 0: nothing is asked, or not answered
    ("reply", "u8"),  # what the last turn says and calls, in its plain form
    ("told", "u8"),  # system prompt, tools and numbers, which near duplicates have in common
    ("opening", "u8"),  # the first words of a response in prose; 0: too short, or no prose
    ("prompt", "u8"),  # all that the user says, in its plain form
    ("response", "u8"),  # the last answer in its plain form, where it is long prose; else 0
    ("shape", "u8"),  # TEXT, or the keys of a JSON object; 0: no response
    ("system", "u8"),  # the system prompt to the letter; 0: none
    ("ending", "u1"),  # of the last answer, as `endings.ending_of` tells it; 0: no prose
    ("manner", "u1"),  # how it is written, as the bits of `manner.TRAITS`; 0: no prose
    ("language", "u1"),  # as `manner.language_number` tells it; 0: not plain, or no prose
    ("length", "u4"),  # characters of the last answer; 0: blank
    ("words", "u4"),  # of the prompt in its plain form
    ("small_words", "u4"),  # those of them that say little, such as "the"
    ("signature", "u4", (BINS,)),  # MinHash of prompt and response together
]
TEXT = 1
"""The shape of a response that is no JSON."""
OPENING_WORDS = 4
LONG = 12
"""Words of a response that no two prompts are likely to share by chance."""
_DIGITS = re.compile(r"\d+")
_ONLY_DIGITS = bytes(code if chr(code).isdecimal() else ord(" ") for code in range(128)) + bytes(128)


def sketched(conversations: Sequence[Conversation]) -> Sketches:
    """One sketch a conversation, as a structured array of `FIELDS`."""
    return tabled(drawn(conversations))


def drawn(conversations: Sequence[Conversation]) -> list[tuple[Any, ...]]:
    """Of each what `tabled` makes a sketch of: all of `FIELDS`, with the text of the last one in its place."""
    simple = plain_texts([text for row in conversations for text in (row.prompt, last_answer(row))])
    contents = single_spaced_texts([turn.content for row in conversations for turn in row.messages])
    found, start = [], 0
    for row, prompt, answered in zip(conversations, simple[::2], simple[1::2], strict=True):
        end = start + len(row.messages)
        found.append(_Said(row, prompt, answered).columns(contents[start:end]))
        start = end
    return found


def tabled(rows: Sequence[tuple[Any, ...]]) -> Sketches:
    """The sketches of rows that were drawn, as a structured array of `FIELDS`."""
    import numpy

    table = numpy.zeros(len(rows), dtype=FIELDS)
    if rows:
        *columns, texts = zip(*rows, strict=True)
        for (name, *_), column in zip(FIELDS, columns, strict=False):
            table[name] = column
        table["signature"] = signatures(texts, are_normal=True)
    return table


def systems(conversations: Sequence[Conversation]) -> Sketches:
    """As `sketched`, of the system prompts alone; the other columns are 0."""
    import numpy

    table = numpy.zeros(len(conversations), dtype=FIELDS)
    table["system"] = [_system(row) for row in conversations]
    return table


def joined(parts: Sequence[Sketches]) -> Sketches:
    """Sketches of shards as those of the whole."""
    import numpy

    return numpy.concatenate(parts) if parts else numpy.zeros(0, dtype=FIELDS)


def repeats(table: Sketches) -> NDArray[numpy.int64]:
    """Positions of rows that are the same as an earlier one."""
    import numpy

    _, first = numpy.unique(table["whole"], return_index=True)
    later = numpy.ones(len(table), dtype=bool)
    later[first] = False
    return numpy.flatnonzero(later)


def groups(column: NDArray[numpy.uint64]) -> list[NDArray[numpy.int64]]:
    """Positions of the rows that share a value other than 0, for each value that several have; in ascending order."""
    import numpy

    places = numpy.flatnonzero(column)
    order = places[numpy.argsort(column[places], kind="stable")]
    nothing = numpy.uint64(0)
    borders = numpy.flatnonzero(numpy.diff(column[order], prepend=nothing, append=nothing))
    several = numpy.flatnonzero(numpy.diff(borders) > 1)
    found = [order[borders[place] : borders[place + 1]] for place in several]
    return sorted(found, key=lambda group: int(group[0]))


class _Said:
    """What a conversation says, in the forms in which it is compared, each made once.

    Its prompt and its last answer are given in their plain form.
    """

    def __init__(self, conversation: Conversation, prompt: str, plain_answer: str) -> None:
        self.conversation = conversation
        self.turn = last_turn(conversation)
        self.answer = last_answer(conversation)
        self.prompt, self.plain_answer = prompt, plain_answer
        self.exchange = _is_exchange(conversation)
        self.done = _done(conversation, self.answer, plain_answer) if self.exchange else ""

    def columns(self, contents: Sequence[str]) -> tuple[Any, ...]:
        """All of `FIELDS`, with the text that the last one is the signature of. `contents` are the single-spaced ones
        of all turns."""
        row, words = self.conversation, self.answer.split(None, LONG)  # the last one is all the rest
        prose = not is_structured(self.answer.strip()) if words else False
        together, reply = f"{self.prompt} {self.done}", self._reply()
        answer_hash = _hash(self.plain_answer)
        return (
            _hash(*_whole(row, contents)),
            self._asked() if self.exchange else 0,
            (answer_hash if reply == self.plain_answer else _hash(reply)) if self.exchange else 0,
            _hash(plain(row.system) if row.system else "", *row.tools, *sorted(_numbers(together))),
            _hash(plain(" ".join(words[:OPENING_WORDS]))) if prose and len(words) > 2 * OPENING_WORDS else 0,
            _hash(self.prompt),
            answer_hash if prose and len(words) >= LONG else 0,
            _shape(self.answer),
            _system(row),
            ending_of(self.answer) if prose else 0,
            manner_of(self.answer) if prose else 0,
            language_number(self.answer) if prose else 0,
            min(len(self.answer), 2**32 - 1) if words else 0,
            len(prompted := self.prompt.split()),
            small_words(prompted),
            together if self.exchange else "",
        )

    def _asked(self) -> int:
        before = self.conversation.before_response()
        if len(before) == 1:  # plain() of it is there already
            return _hash(*self.conversation.tools, f"{before[0].role}:{self.prompt}")
        turns = (f"{turn.role}:{plain(answer(turn.content))}{calls(turn)}" for turn in before)
        return _hash(*self.conversation.tools, *turns)

    def _reply(self) -> str:
        called = calls(self.turn) if self.turn else ""
        return f"{self.plain_answer} {called}".strip()


def done(conversation: Conversation) -> str:
    """All that was thought, said, called and given back after the questions, in its plain form; '' where none was asked
    or answered."""
    if not _is_exchange(conversation):
        return ""
    said = last_answer(conversation)
    return _done(conversation, said, plain(said))


def _is_exchange(conversation: Conversation) -> bool:
    return bool(conversation.prompt.strip()) and speaks(last_turn(conversation))


def _done(conversation: Conversation, said: str, plain_form: str) -> str:
    """As `done`; `said` is the last answer."""
    turns = [turn for turn in conversation.messages if turn.role in ("assistant", "tool")]
    if len(turns) == 1 and not (turns[0].reasoning or turns[0].tool_calls) and turns[0].content == said:
        return plain_form
    return plain("\n".join(part for m in turns for part in (m.reasoning, m.content, calls(m)) if part))


def _whole(conversation: Conversation, contents: Sequence[str]) -> list[str]:
    """What two rows have in common that are the same; the ids of calls are drawn by chance and do not count."""
    parts = [*conversation.tools]
    for turn, content in zip(conversation.messages, contents, strict=True):
        parts += (turn.role, turn.name, " ".join(turn.reasoning.split()), content, calls(turn))
    return parts


def _numbers(text: str) -> list[str]:
    """The runs of digits in a text; of ASCII by a table, which is ten times as quick as the pattern."""
    if text.isascii():
        return text.encode().translate(_ONLY_DIGITS).decode().split()
    return _DIGITS.findall(text)


def _system(row: Conversation) -> int:
    return _hash(row.system) if row.system.strip() else 0


def _shape(response: str) -> int:
    """TEXT, a number for the keys of a JSON object, or 0 for nothing."""
    if not response.strip():
        return 0
    if not is_json(response):
        return TEXT
    value = json.loads(response)
    return _hash("keys", *sorted(value)) if isinstance(value, dict) else _hash("list")


def _hash(*texts: str) -> int:
    """64 bits, the same in every process, never 0 or TEXT; each text is told from its neighbours by its length."""
    said = ",".join([str(len(text)) for text in texts]) + ":" + "".join(texts)
    return xxh3_64_intdigest(said.encode("utf-8", "surrogatepass")) | 2
