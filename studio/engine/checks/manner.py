"""Manner: how an answer is written, and in which language, so that answers can be compared in that."""

from __future__ import annotations

import re
from dataclasses import dataclass

from studio.engine.checks.text import is_latin, is_plainly_english, language_of, script_of

_MARKDOWN = re.compile(r"^#{2,5} \S.*$|\*\*[^\s*][^*\n]*\*\*|^\|[^\n]*\|[ \t]*\n\|[ :|-]{3,}$", re.MULTILINE)
_MARKDOWN_MARKS = ("**", "## ", "|")
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u26ff\u2705\u2714\u2728\u2753-\u2757\u2763\u2764\u2b50]")
_LONG_WORDS, _FEW_WORDS = 40, 6
_SPOKEN = re.compile(r"[.!?…]\W*$")


@dataclass(frozen=True)
class Trait:
    """What an answer may have or not: two bits of a number, one for having it, one for being comparable in it."""

    name: str
    has: int
    comparable: int
    asked: re.Pattern[str]
    """In a prompt for which nothing is said by an answer with it, or without it."""


_ASKS_FOR_LAYOUT = (
    r"markdown|table|heading|headline|bold|format|outline|list|bullet|template|report|readme|document|article|blog|"
    r"essay|letter|resume|steps?\b|表格|标题|加粗|格式|大纲|列表|文档|报告|模板|文章|清单|步骤"
)
_ASKS_FOR_EMOJI = (
    r"emoji|emoticon|smiley|tweet|twitter|instagram|facebook|tiktok|social|caption|post\b|slogan|advert|"
    r"表情|推文|微博|朋友圈|小红书|文案|广告|标语"
)
_ASKS_FOR_CASE = r"lower ?-?case|upper ?-?case|capital|caps\b|haiku|poem|cummings|case\b|大写|小写|诗"

TRAITS = tuple(
    Trait(name, 1 << 2 * place, 2 << 2 * place, re.compile(asked, re.IGNORECASE))
    for place, (name, asked) in enumerate(
        (
            ("markdown", _ASKS_FOR_LAYOUT),
            ("emoji", _ASKS_FOR_EMOJI),
            ("small letters", _ASKS_FOR_CASE),
            ("capitals", _ASKS_FOR_CASE),
        )
    )
)
_MARKDOWN_TRAIT, _EMOJI_TRAIT, _SMALL_TRAIT, _CAPITALS_TRAIT = TRAITS


def manner_of(text: str) -> int:
    """The bits of `TRAITS` of an answer in prose.

    >>> bits = manner_of("the sun is a star, and it is big.")
    >>> [trait.name for trait in TRAITS if bits & trait.has]
    ['small letters']
    """
    words = text.count(" ") + text.count("\n") + 1
    bits = _EMOJI_TRAIT.comparable
    marked = any(mark in text for mark in _MARKDOWN_MARKS) and _MARKDOWN.search(text)
    if marked or words >= _LONG_WORDS or (not text.isascii() and len(text) >= 4 * _LONG_WORDS):
        bits |= _MARKDOWN_TRAIT.comparable | (_MARKDOWN_TRAIT.has if marked else 0)
    if not text.isascii() and _EMOJI.search(text):
        bits |= _EMOJI_TRAIT.has
    if words >= _FEW_WORDS and (words >= _LONG_WORDS or _SPOKEN.search(text[-8:])) and is_latin(text):
        bits |= _SMALL_TRAIT.comparable | _CAPITALS_TRAIT.comparable
        begins_small = text.lstrip()[:1].islower()
        bits |= _SMALL_TRAIT.has * (begins_small and text.islower()) | _CAPITALS_TRAIT.has * text.isupper()
    return bits


def shown_manner(text: str) -> str:
    """The place of an answer by which its manner can be told: its first mark of Markdown, its first emoji, or its
    beginning."""
    marked = _MARKDOWN.search(text) or _EMOJI.search(text)
    return marked.group() if marked else text


LANGUAGES = (
    *("English", "German", "French", "Spanish", "Italian", "Portuguese", "Dutch", "Polish", "Swedish"),
    *("han", "kana", "hangul", "cyrillic", "arabic", "hebrew", "devanagari", "greek", "thai"),
)
_NUMBERS = {name: number for number, name in enumerate(LANGUAGES, 1)}


def language_number(text: str) -> int:
    """Which language, or script, an answer is in, counted from 1 as `LANGUAGES`; 0 where that is not plain.

    >>> LANGUAGES[language_number("Die Sonne ist ein Stern, und das Licht kommt von ihr.") - 1]
    'German'
    """
    if is_latin(text):
        language = "English" if is_plainly_english(text) else language_of(text)
    else:
        script = script_of(text)
        language = language_of(text) if script == "latin" else script
    return _NUMBERS.get(language or "", 0)
