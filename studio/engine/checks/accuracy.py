"""Accuracy: is the response a whole, readable and true answer?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING

from studio.domain.chat import Conversation
from studio.engine.checks.endings import ENDED, ends_open
from studio.engine.checks.gaps import gap_in
from studio.engine.checks.parts import (
    EVERYTHING,
    answer,
    answers,
    calls,
    last_answer,
    last_turn,
    speaks,
    texts,
)
from studio.engine.checks.refusals import refusal_in
from studio.engine.checks.registry import (
    Evidence,
    Flagged,
    drop,
    drop_all,
    rewriting,
    row_check,
    set_check,
    without_code,
)
from studio.engine.checks.similar import are_alike, contradict, pieces_of
from studio.engine.checks.sketches import Sketches, groups, sketched
from studio.engine.checks.sums import wrong_sum
from studio.engine.checks.text import is_structured, outline, plain, repair_mojibake
from studio.engine.rows import seen

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

# ---- empty, repeated, unfinished --------------------------------------------------------------------------------


@row_check(
    "accuracy",
    "error",
    title="Empty response",
    message="Rows with an empty response: {count}.",
    why="The model learns to say nothing.",
    remedy="Write the response, or drop the row.",
    blind_spots="A response that says nothing in many words. A turn that calls a tool needs no words.",
    fix_title="Drop the row",
    fix=drop,
)
def empty_response(conversation: Conversation) -> str:
    turns = [message for message in conversation.messages if message.role == "assistant"]
    return "" if turns and all(map(speaks, turns)) else "empty"


@row_check(
    "accuracy",
    "error",
    title="Response repeats the prompt",
    message="Rows whose response only repeats the prompt: {count}. Row {row}: {example}",
    why="The model learns to echo instead of to answer.",
    remedy="Write a real response, or drop the row.",
    blind_spots="The question said again in other words. Prompts of fewer than four words are not looked at.",
    fix_title="Drop the row",
    fix=drop,
)
def repeats_prompt(conversation: Conversation) -> str:
    for question, response in _exchanges(conversation):
        label = _LABEL.match(response)
        response = response[label.end() :] if label else response
        if not _begin_alike(question, response):
            continue
        asked, said = plain(question), plain(response)
        if len(asked.split()) < 4 and len(asked) < (8 if _UNSPACED.search(asked) else 16):
            continue
        if said and not said.replace(asked, "").strip():
            return response
    return ""


_LABEL = re.compile(
    r"\A\W*(?:q|question|prompt|instruction|input|user|human|you asked|问题|问|指令|用户)\s?[:：]\s*",
    re.IGNORECASE,
)
_UNSPACED = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


def _begin_alike(question: str, response: str) -> bool:
    """Whether the first letters are the same, in their plain form: a quick look before the whole is compared."""
    asked, said = plain(question[:40])[:12], plain(response[:60])[:12]
    return asked[: len(said)] == said[: len(asked)]


def _exchanges(conversation: Conversation) -> list[tuple[str, str]]:
    """Each assistant message with the user message right before it."""
    pairs = pairwise(conversation.messages)
    return [(a.content, answer(b.content)) for a, b in pairs if a.role == "user" and b.role == "assistant"]


@row_check(
    "accuracy",
    "error",
    title="Response is cut off",
    message="Rows whose response breaks off: {count}. Row {row} ends: {example}",
    why="The model learns to stop in the middle of a sentence, of a code block or of a JSON value.",
    remedy="Write the end, or drop the row. Often the program that made the data had too small a token limit.",
    blind_spots="A response cut exactly at the end of a sentence; list items, verses and headings that end "
    "in a letter "
    "are let pass; so are writing systems without end marks, such as Thai.",
    fix_title="Drop the row",
    fix=drop,
)
def cut_off(conversation: Conversation) -> str:
    for turn in conversation.messages:
        if turn.role == "assistant" and not turn.tool_calls:
            text = answer(turn.content).rstrip()
            if text and ends_open(text):
                return text[-50:]
    return ""


@set_check(
    "accuracy",
    "warning",
    title="No end mark, unlike the others",
    message="Rows whose response has no end mark where nearly all others have one: {count}. Row {row} ends: {example}",
    why="Where nearly all responses end in a full stop, one without it has most likely lost its end.",
    remedy="Write the end, or the full stop if nothing else is missing.",
    blind_spots="Compares responses whose last line is about as long and stands as a list's item, a paragraph or "
    "alone, where there are twenty and nine in ten have a mark. Last lines of fewer than four words, JSON, tables and "
    "code are not looked at.",
    fix_title="Drop the row",
    repair=drop_all,
)
def no_end_mark(conversations: Sequence[Conversation], table: Sketches) -> Evidence:
    import numpy

    endings = table["ending"]
    found: list[NDArray[numpy.int64]] = []
    for kind in numpy.unique(endings[endings > 0] & ~numpy.uint8(ENDED)).tolist():
        without, ended = (numpy.count_nonzero(endings == one) for one in (kind, kind | ENDED))
        if ended >= max(_ENOUGH_ALIKE, _NEARLY_ALL * (ended + without)):
            found.append(numpy.flatnonzero(endings == kind))
    unlike = numpy.sort(numpy.concatenate(found)).tolist() if found else []
    parts = [unlike[start : start + _GROUPS] for start in range(0, len(unlike), _GROUPS)]
    return Flagged(conversations, chain.from_iterable(seen(conversations, _not_open, parts)), _end)


_ENOUGH_ALIKE, _NEARLY_ALL = 20, 0.9


def _not_open(conversations: Sequence[Conversation], places: list[int]) -> list[int]:
    """Those that `cut_off` does not tell."""
    return [int(place) for place in places if not cut_off(conversations[place])]


def _end(conversation: Conversation) -> str:
    return last_answer(conversation).rstrip()[-50:]


@row_check(
    "accuracy",
    "warning",
    title="Refusal",
    message="Rows whose response refuses to answer: {count}. Row {row}: {example}",
    why="A few refusals of harmless prompts are enough to make a model refuse what it could do.",
    remedy="Write the answer, or drop the row. Keep refusals that you want the model to learn.",
    blind_spots="Cannot tell a wanted refusal from an unwanted one. Only the usual English and Chinese wordings, "
    "and only at the beginning of the response.",
    fix_title="Drop the row",
    fix=drop,
    source="Wang et al. 2024, 'Do-Not-Answer', arXiv:2308.13387 (wordings of refusals)",
)
def refusal(conversation: Conversation) -> str:
    return next(filter(None, map(refusal_in, answers(conversation))), "")


_ABOUT_PLACEHOLDERS = re.compile(
    r"template|placeholder|lorem|todo|to-do|tbd|\bn/?a\b|jinja|mustache|handlebars", re.IGNORECASE
)


@row_check(
    "accuracy",
    "error",
    title="Placeholder",
    message="Rows with a placeholder instead of a response: {count}. Row {row}: {example}",
    why="The model learns to write the gap, not what belongs into it.",
    remedy="Fill the gap, or drop the row.",
    blind_spots="Gaps such as [Your Name] or [ADDRESS] in a letter, a form or a program are let pass, because a "
    "template is a real answer there; and `None` where the prompt asks which or what.",
    fix_title="Drop the row",
    fix=drop,
)
def placeholder(conversation: Conversation) -> str:
    asked = conversation.prompt
    found = next(filter(None, (gap_in(said, asked) for said in answers(conversation))), "")
    return "" if found and _ABOUT_PLACEHOLDERS.search(asked) else found


# ---- damaged text -------------------------------------------------------------------------------------------------


@row_check(
    "accuracy",
    "error",
    title="Garbled characters",
    message="Rows with garbled characters: {count}. Row {row}: {example}",
    why="Text that was read in the wrong encoding (â€™ for ’, Ã© for é) teaches the model to write it so.",
    remedy="Repair the rows, or export the data again as UTF-8.",
    blind_spots="UTF-8 read in a one-byte encoding is found and repaired by ftfy; a single misread letter may not be, "
    "and other mix-ups of encodings, such as GBK for UTF-8, are not.",
    fix_title="Read the characters in the right encoding",
    fix=rewriting(repair_mojibake, *EVERYTHING),
    source="ftfy: Speer 2019, doi:10.5281/zenodo.2591652",
)
def mojibake(conversation: Conversation) -> str:
    for text in texts(conversation, *EVERYTHING):
        fixed = repair_mojibake(text)
        if fixed != text:
            at = next(i for i, (a, b) in enumerate(zip(text, fixed + "\0", strict=False)) if a != b)
            return text[max(0, at - 20) : at + 20]
    return ""


_LOST = ("\ufffd", "锟斤拷", "烫烫烫", "屯屯屯")


@row_check(
    "accuracy",
    "error",
    title="Lost characters",
    message="Rows with characters that were lost: {count}. Row {row}: {example}",
    why="A replacement mark (\ufffd) stands where a character was; the model learns to write the mark.",
    remedy="Export the data again as UTF-8, or drop the row: what was lost cannot be repaired.",
    blind_spots="Characters lost as a plain question mark. A row that is about the mark itself is flagged as well.",
    fix_title="Drop the row",
    fix=drop,
)
def lost_characters(conversation: Conversation) -> str:
    for text in texts(conversation, *EVERYTHING):
        mark = None if text.isascii() else next((mark for mark in _LOST if mark in text), None)
        if mark:
            at = text.index(mark)
            return text[max(0, at - 20) : at + 20]
    return ""


_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u2060-\u2064\ufeff\ufff9-\ufffb]|"
    "(?<=[A-Za-z])[\u200c\u200d](?=[A-Za-z])|"
    "(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0000-\U000e007f]+"  # hidden letters; behind a black flag a real flag
)
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")


_PRINTABLE = bytes(range(32, 127)) + b"\t\n\r"


def _without_controls(text: str) -> str:
    if text.isascii():
        if not outline(text).translate(None, _PRINTABLE):
            return text
    elif text.replace("\n", "").replace("\t", "").replace("\r", "").isprintable():
        return text
    text = _CONTROL.sub("", _ANSI.sub("", text))
    return text if _RIGHT_TO_LEFT.search(text) else _DIRECTION.sub("", text)


@row_check(
    "accuracy",
    "warning",
    title="Invisible control characters",
    message="Rows with invisible control characters: {count}. Row {row}: {example}",
    why="They cannot be seen, change how a word is split into tokens, and can turn the order of the text around.",
    remedy="Remove them.",
    blind_spots="Joiners that some scripts and emoji need, and direction marks in right-to-left text, are "
    "left alone.",
    fix_title="Remove the characters",
    fix=rewriting(_without_controls, *EVERYTHING),
    source="Boucher and Anderson 2021, 'Trojan Source', arXiv:2111.00169 (direction marks)",
)
def control_characters(conversation: Conversation) -> str:
    for text in texts(conversation, *EVERYTHING):
        cleaned = _without_controls(text)
        if cleaned != text:
            codes = set(text) - set(cleaned) or {c for c in text if not c.isprintable() and c not in "\n\r\t"}
            return " ".join(f"U+{ord(code):04X}" for code in sorted(codes) if not code.isprintable())
    return ""


# ---- contradictions and sums --------------------------------------------------------------------------------------


def _reply(conversation: Conversation) -> str:
    """What the last turn says and calls, in its plain form."""
    turn = last_turn(conversation)
    return f"{plain(answer(turn.content))} {calls(turn)}".strip() if turn else ""


def _unlike_the_commonest(conversations: Sequence[Conversation], group: list[int]) -> list[int]:
    """Positions whose response is another one than the commonest; of equally common ones, the first counts."""
    said = {position: _reply(conversations[position]) for position in group}
    if len(set(said.values())) == 1:
        return []
    usual = Counter(said.values()).most_common(1)[0][0]
    pieces, others = pieces_of(usual), (position for position in group if said[position] != usual)
    return [position for position in others if _is_unlike(said[position], usual, pieces)]


def _is_unlike(said: str, usual: str, pieces: NDArray[numpy.uint64]) -> bool:
    """`pieces` are those of the usual answer."""
    return not are_alike(pieces_of(said), pieces) or contradict(said, usual)


def _keep_commonest(
    conversations: Sequence[Conversation], evidence: Evidence
) -> dict[int, Conversation | None]:
    positions = sorted(evidence)
    table = sketched([conversations[position] for position in positions])
    same = [[positions[place] for place in group] for group in groups(table["asked"])]
    return dict.fromkeys(p for group in same for p in _unlike_the_commonest(conversations, group))


@set_check(
    "accuracy",
    "warning",
    title="Conflicting responses",
    message="Rows that answer the same prompt differently: {count}. Row {row}: {example}",
    why="Of two answers to the same question at most one may be right; the model learns to guess between them.",
    remedy="Keep the right one. The repair keeps the commonest response, and of equally common ones the first.",
    blind_spots="Several good answers to an open question, such as a poem, are flagged as well. "
    "The same question in other words is not found.",
    fix_title="Keep the commonest response",
    repair=_keep_commonest,
    source="Northcutt et al. 2021, 'Pervasive Label Errors', arXiv:2103.14749",
)
def conflicting_responses(conversations: Sequence[Conversation], table: Sketches) -> Evidence:
    alike_asked = ((group.tolist(), table["reply"][group].tolist()) for group in groups(table["asked"]))
    parts = iter(lambda: list(islice(alike_asked, _GROUPS)), [])
    flagged = chain.from_iterable(seen(conversations, _conflicting, parts))
    return Flagged(conversations, flagged, lambda row: row.prompt)


_GROUPS = 1_000
"""Groups of rows of one part of the work."""


def _conflicting(
    conversations: Sequence[Conversation], groups_and_replies: list[tuple[list[int], list[int]]]
) -> list[int]:
    """Positions of those groups whose rows answer differently."""
    unlike = (group for group, replies in groups_and_replies if _any_is_unlike(conversations, group, replies))
    return list(chain.from_iterable(unlike))


def _any_is_unlike(conversations: Sequence[Conversation], group: list[int], replies: list[int]) -> bool:
    """As `_unlike_the_commonest`, but reads no more rows than it takes to find one. `replies`: their hashes."""
    usual = Counter(replies).most_common(1)[0][0]
    others = [position for position, reply in zip(group, replies, strict=True) if reply != usual]
    if not others:
        return False
    said = _reply(conversations[group[replies.index(usual)]])
    pieces = pieces_of(said)
    return any(_is_unlike(_reply(conversations[position]), said, pieces) for position in others)


@row_check(
    "accuracy",
    "error",
    title="Wrong sum",
    message="Rows with a sum that is wrong: {count}. Row {row}: {example}",
    why="The model learns the wrong result.",
    remedy="Correct the sum, or drop the row.",
    blind_spots="Only numbers with signs or words between them, such as 6 x 4 + 1 = 25, six times four is 24, "
    "6乘以4等于24, and the sum, difference, product, quotient or mean of numbers; sums with brackets, powers or units, "
    "and rows about rounding, remainders or other number systems are not looked at.",
    fix_title="Drop the row",
    fix=drop,
)
def wrong_arithmetic(conversation: Conversation) -> str:
    for response in answers(conversation):
        found = wrong_sum(without_code(response), conversation.prompt)
        if found:
            return found
    return ""


@row_check(
    "accuracy",
    "warning",
    title="Response goes round in circles",
    message="Rows whose response says the same over and over: {count}. Row {row}: {example}",
    why="The model learns to fall into loops.",
    remedy="Shorten the response, or drop the row.",
    blind_spots="Loops of less than half the response, unless the end says the same five times in a row. "
    "Songs with many refrains may be flagged.",
    fix_title="Drop the row",
    fix=drop,
    source="Holtzman et al. 2019, 'The Curious Case of Neural Text Degeneration', arXiv:1904.09751",
)
def repetition(conversation: Conversation) -> str:
    thoughts = texts(conversation, "reasoning")
    return next(filter(None, map(_loop, (*conversation.responses, *thoughts))), "")


def _loop(text: str) -> str:
    """The four words that come back most often where most of a text repeats itself, or the piece its end repeats."""
    words: Sequence[str] = text.split()
    if len(words) < 50:
        words = text if len(text) > 100 and _UNSPACED.search(text) else ()
    # Where two words in five are new, no more than three in five can repeat
    if words and len(set(words)) < 0.4 * len(words) + 3 and not is_structured(text):
        grams = Counter(zip(words, words[1:], words[2:], words[3:], strict=False))
        repeated = sum(count - 1 for count in grams.values())
        if repeated > 0.6 * (len(words) - 3):
            return ("" if isinstance(words, str) else " ").join(grams.most_common(1)[0][0])
    return _loop_at_end(text)


_END = re.compile(r"(.{3,120}?)\1{4,}.{0,120}\Z", re.DOTALL)


def _loop_at_end(text: str) -> str:
    """What the end says five times in a row, if it is words: a model that ran on writes so."""
    tail = text[-900:].rstrip()
    if len(tail) < 30 or tail.count(tail[-6:]) < 5 or is_structured(text) or "|" in tail[-80:]:
        return ""
    found = _END.search(tail[-400:])
    return found.group(1).strip() if found and sum(map(str.isalpha, found.group(1))) >= 2 else ""
