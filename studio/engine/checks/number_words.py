"""Numbers that are written in words: English ones below a hundred, Chinese ones below ten thousand."""

from __future__ import annotations

import re

_ENGLISH = dict(
    zip(
        re.findall(
            r"\w+",
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
            "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety",
        ),
        (*range(20), *range(20, 100, 10)),
        strict=True,
    )
)
_WORDS = "|".join(sorted(_ENGLISH, key=len, reverse=True))
_ONES = "|".join(list(_ENGLISH)[1:10])
_TENS = "|".join(list(_ENGLISH)[20:])
ENGLISH = rf"(?:(?:{_TENS})[ -](?:{_ONES})|{_WORDS})"
"""Pattern of a number, in small letters."""
_ENGLISH_NUMBER = re.compile(rf"(?<![\w-])(?:({_TENS})[ -]({_ONES})|({_WORDS}))(?![\w-])", re.IGNORECASE)

_DIGITS = {sign: value for value, sign in enumerate("零一二三四五六七八九")} | {"两": 2}
_UNITS = {"十": 10, "百": 100, "千": 1000}
CHINESE = "[零一二两三四五六七八九十百千]+"
"""Pattern of a number."""
_CHINESE_NUMBER = re.compile(CHINESE)


def english_in_digits(text: str) -> str:
    """
    >>> english_in_digits("twenty-one plus Four is nineteen")
    '21 plus 4 is 19'
    """
    return _ENGLISH_NUMBER.sub(
        lambda found: str(sum(_ENGLISH[word.lower()] for word in found.groups() if word)), text
    )


def chinese_in_digits(text: str) -> str:
    """
    >>> chinese_in_digits("一百二十加十五等于两百零五")
    '120加15等于205'
    """
    return _CHINESE_NUMBER.sub(lambda found: str(_value(found.group())), text)


def _value(number: str) -> int:
    total, digit = 0, 0
    for sign in number:
        if sign in _UNITS:
            total, digit = total + (digit or 1) * _UNITS[sign], 0
        else:
            digit = _DIGITS[sign]
    return total + digit
