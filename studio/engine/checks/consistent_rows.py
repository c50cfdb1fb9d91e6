"""Consistency between rows: formats, styles, languages and system prompts that nearly all others share."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from studio.domain.chat import Conversation
from studio.engine.checks.manner import TRAITS, shown_manner
from studio.engine.checks.parts import last_answer
from studio.engine.checks.registry import Evidence, Flagged, set_check
from studio.engine.checks.relevance import wrong_language
from studio.engine.checks.sketches import TEXT, Sketches, systems
from studio.engine.checks.text import LANGUAGE_ASKED, lowered
from studio.engine.rows import seen

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

_CHINESE = re.compile("[\u4e00-\u9fff]")
_ENOUGH_ROWS = 20
_MAJORITY = 0.8
_ASKS_FOR_FORMAT = re.compile(
    r"json|yaml|xml|csv|table|code|list|array|format|object|dictionary|表格|代码", re.IGNORECASE
)


@set_check(
    "consistency",
    "info",
    title="Responses in different formats",
    message="Rows whose response is in another format than most: {count}. Row {row}: {example}",
    why="Where nearly all responses are JSON with the same keys, the others make the format unreliable.",
    remedy="Write these responses in the format of the others. Leave them where the prompt asks for another format.",
    blind_spots="Only JSON against text, and the keys of JSON objects, in at least twenty rows of which "
    "four in five agree.",
)
def mixed_formats(conversations: Sequence[Conversation], table: Sketches) -> Evidence:
    import numpy

    shapes = table["shape"]
    kinds, counts = numpy.unique(shapes[shapes != 0], return_counts=True)
    said = int(counts.sum())
    if said < _ENOUGH_ROWS:
        return {}
    usual, count = kinds[counts.argmax()], counts.max()
    odd = numpy.flatnonzero((shapes != 0) & (shapes != usual)).tolist()
    if usual == TEXT:
        unasked = [position for position in odd if not _asks_for_format(conversations[position])]
        odd = unasked if len(unasked) <= 0.05 * len(shapes) else []
    elif count < _MAJORITY * said:
        odd = []
    return Flagged(conversations, odd, lambda row: row.response)


def _asks_for_format(conversation: Conversation) -> bool:
    return bool(_ASKS_FOR_FORMAT.search(f"{conversation.system}\n{conversation.prompt}"))


_NEARLY_ALL = 0.9
_AT_A_TIME = 1_000


@set_check(
    "consistency",
    "info",
    title="Responses in different styles",
    message="Rows whose response is written in another style than nearly all others: {count}. Row {row}: {example}",
    why="Where nine in ten responses are plain text, a few with Markdown, emoji, or in small letters only make the "
    "model change its style at random; and so the other way round.",
    remedy="Write these responses in the style of the others. Leave them where the prompt asks for it.",
    blind_spots="Four traits: Markdown (headings, bold, tables), emoji, small letters only, capitals only; in at least "
    "twenty responses in prose, of which nine in ten agree. Tone, person and politeness are not told. Markdown is "
    "missed only in responses of forty words or more. Prompts that name a layout, a post or a poem are let pass.",
)
def mixed_styles(conversations: Sequence[Conversation], table: Sketches) -> Evidence:
    import numpy

    manners, odd = table["manner"], []
    for trait in TRAITS:
        comparable = (manners & trait.comparable) != 0
        has = (manners & trait.has) != 0
        many, with_it = numpy.count_nonzero(comparable), numpy.count_nonzero(has)
        if many >= _ENOUGH_ROWS and not (1 - _NEARLY_ALL) * many < with_it < _NEARLY_ALL * many:
            rare = has if with_it <= many / 2 else comparable & ~has
            odd += _those(conversations, numpy.flatnonzero(rare), partial(_is_not_about, trait.asked))
    return Flagged(conversations, odd, lambda row: shown_manner(last_answer(row)))


@set_check(
    "consistency",
    "info",
    title="Rows in another language than the rest",
    message="Rows whose response is in another language than nearly all others: {count}. Row {row}: {example}",
    why="A few rows of another language are often left over from another set; they teach that language too little to "
    "be of use.",
    remedy="Drop or translate them. Leave them where the model is to speak both languages, and add more of them.",
    blind_spots="Nine European languages by their small words, others by their script, in at least twenty responses of "
    "which nine in ten agree. Rows about a language, and responses of a few words, are not looked at; those in "
    "another language than their prompt have a finding of their own.",
)
def other_language(conversations: Sequence[Conversation], table: Sketches) -> Evidence:
    import numpy

    languages = table["language"]
    kinds, counts = numpy.unique(languages[languages != 0], return_counts=True)
    said = int(counts.sum())
    if said < _ENOUGH_ROWS or counts.max() < _NEARLY_ALL * said:
        return {}
    others = numpy.flatnonzero((languages != 0) & (languages != kinds[counts.argmax()]))
    return Flagged(conversations, _those(conversations, others, _is_in_its_own), last_answer)


def _those(
    conversations: Sequence[Conversation],
    places: NDArray[numpy.int64],
    condition: Callable[[Conversation], bool],
) -> list[int]:
    parts = [places[start : start + _AT_A_TIME].tolist() for start in range(0, len(places), _AT_A_TIME)]
    return list(chain.from_iterable(seen(conversations, partial(_meeting, condition), parts)))


def _meeting(
    condition: Callable[[Conversation], bool], conversations: Sequence[Conversation], places: list[int]
) -> list[int]:
    return [place for place in places if condition(conversations[place])]


def _is_not_about(asked: re.Pattern[str], row: Conversation) -> bool:
    return not asked.search(lowered(f"{row.system}\n{row.prompt}"))


def _is_in_its_own(row: Conversation) -> bool:
    """Whether a row asks and answers in one language, and is not about one."""
    return _is_not_about(LANGUAGE_ASKED, row) and not wrong_language(row)


def _typo_of(text: str, usual: str) -> bool:
    """Whether two prompts differ only in case, spaces, punctuation or a few letters of a word, not in a number.

    >>> _typo_of("You are an helpful assistent of Acme.", "You are a helpful assistant of Acme.")
    True
    >>> _typo_of("请始终用英文回答用户的问题。", "请始终用中文回答用户的问题。")
    False
    >>> _typo_of("Answer as an informal assistant to users.", "Answer as a formal assistant to users.")
    False
    >>> _typo_of("你是客服人圆，请简短回答。", "你是客服人员，请简短回答。")
    True
    """
    words, usual_words = text.split(), usual.split()
    if re.findall(r"\d+", text) != re.findall(r"\d+", usual) or abs(len(words) - len(usual_words)) > 1:
        return False
    if re.sub(r"\W+", "", text.lower()) == re.sub(r"\W+", "", usual.lower()):
        return True
    if _CHINESE.search(usual):
        return _mistyped(text, usual)
    if len(words) != len(usual_words) or len(words) < 4:
        return False
    changed = [
        (a.lower(), b.lower()) for a, b in zip(words, usual_words, strict=True) if a.lower() != b.lower()
    ]
    return (
        len(changed) <= 2
        and all(
            {a, b} <= _ARTICLES
            or (
                min(len(a), len(b)) >= 4
                and a[0] == b[0]  # formal and informal, increase and decrease
                and {a[-2:], b[-2:]} not in _SIDES
                and difflib.SequenceMatcher(None, a, b).ratio() >= 0.75
            )
            for a, b in changed
        )
    )


_ARTICLES = {"a", "an", "the"}
_SIDES = ({"er", "ee"}, {"or", "ee"})
"""Ends of words that name both sides of something, such as employer and employee."""
_FEWEST_SIGNS, _MOST_WRONG = 8, 3
_NOT_BY_MISTAKE = frozenset("不没無无别非未勿莫")
"""What turns a sentence around."""


def _mistyped(text: str, usual: str) -> bool:
    """Whether two Chinese texts differ in a few signs: left out, doubled, or of the same sound as those meant."""
    if min(len(text), len(usual)) < _FEWEST_SIGNS or abs(len(text) - len(usual)) > _MOST_WRONG:
        return False
    wrong = 0
    for kind, start, end, first, last in difflib.SequenceMatcher(None, text, usual, False).get_opcodes():
        if kind == "equal":
            continue
        here, there = text[start:end], usual[first:last]
        wrong += max(len(here), len(there))
        if wrong > _MOST_WRONG or _NOT_BY_MISTAKE & {*here, *there}:
            return False
        if kind == "replace" and not (len(here) == len(there) and _sound_alike(here, there)):
            return False
    return True


def _sound_alike(here: str, there: str) -> bool:
    """Whether two texts are read in the same way but for their tones, as an input method by sound confuses them."""
    from pypinyin import lazy_pinyin

    return lazy_pinyin(here) == lazy_pinyin(there) or {here, there} == {"你", "您"}


def _typos(conversations: Sequence[Conversation], table: Sketches) -> list[tuple[NDArray[numpy.int64], str]]:
    """Rows whose rare system prompt is a typo of a usual one, each group with that one."""
    import numpy

    column = table["system"]
    values, first, counts = numpy.unique(column, return_index=True, return_counts=True)
    kinds = sorted(
        (-int(count), int(place), value)
        for value, place, count in zip(values, first, counts, strict=True)
        if value
    )
    usual: list[tuple[int, str]] = []
    found = []
    for less, place, value in kinds[:500]:
        count, text = -less, conversations[place].system
        near = next((other for many, other in usual if 2 * count <= many and _typo_of(text, other)), None)
        if near is not None:
            found.append((numpy.flatnonzero(column == value), near))
        elif count >= _USUAL and len(usual) < 20:
            usual.append((count, text))
    return found


_USUAL = 3
"""Rows with one system prompt, of which another one may be a typo."""


def _with_usual_prompt(
    conversations: Sequence[Conversation], evidence: Evidence
) -> dict[int, Conversation | None]:
    repaired: dict[int, Conversation | None] = {}
    for positions, usual in _typos(conversations, systems(conversations)):
        for position in positions.tolist():
            conversation = conversations[position]
            others = [message for message in conversation.messages if message.role != "system"]
            first = next(message for message in conversation.messages if message.role == "system")
            repaired[position] = replace(conversation, messages=(replace(first, content=usual), *others))
    return repaired


@set_check(
    "consistency",
    "warning",
    title="System prompts that differ by a typo",
    message="Rows whose system prompt differs by a typo from the usual one: {count}. Row {row}: {example}",
    why="The model is asked with one system prompt later; rows with another one count less towards it.",
    remedy="Use the usual system prompt in all of them.",
    blind_spots="Prompts that differ in more than two words, or three Chinese signs, are taken for different on "
    "purpose, as are Chinese signs that do not sound alike, and prompts of more than half as many rows as the usual "
    "one.",
    fix_title="Use the usual system prompt",
    repair=_with_usual_prompt,
)
def system_prompt_variants(conversations: Sequence[Conversation], table: Sketches) -> Evidence:
    positions = [int(place) for places, _ in _typos(conversations, table) for place in places]
    return Flagged(conversations, positions, lambda row: row.system)
