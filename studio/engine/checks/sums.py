"""Sums written out in a text, and whether they are right."""

from __future__ import annotations

import re
from fractions import Fraction

from studio.engine.checks.text import Marks

_NUMBER = r"[$€£¥]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)"
_SIGN = r"[-+*/×÷·−–x]"
_EQUATION = re.compile(
    r"(?<![0-9A-Za-z_.,:^%°)\]²³√$€£¥])(?<![-+*/×÷·^(=x−–<>≤≥≈][ "
    r"])(?<![-+*/×÷·^=−–<>≤≥≈])(?<!\b[b-hj-zB-HJ-Z][ ])"
    rf"(?P<left>{_NUMBER}(?:\s*{_SIGN}\s*{_NUMBER}){{1,8}})\s*=\s*(?P<right>[-−]?{_NUMBER})"
    r"(?!\s?[%°²³^!])(?!\d|[a-zA-Z])(?!\s?[-+*/×÷·−–=^(]\s?[\d(a-z])(?!\s[a-zA-Z]\b)(?![.,:]\d)",
)
_RESULT = re.compile(r"\d\s*=\s*[-−]?[$€£¥]?\.?\d")
_PERCENT = re.compile(
    rf"(?<![0-9A-Za-z_.,])(\d+(?:\.\d+)?)\s?% of ({_NUMBER}) (?:is|=|equals) ({_NUMBER})(?![\w%]|[.,]\d| "
    rf"*[-+*/×÷=])"
)
_TERM = re.compile(rf"({_SIGN})?\s*({_NUMBER})")
_SIGN_WORDS = {
    "plus|加上?": " + ",
    "minus|减去?": " - ",
    "times|multiplied by|乘以?": " × ",
    "divided by|除以": " ÷ ",
}
_SPOKEN = [(re.compile(rf"(?<=\d)\s?(?:{words})\s?(?=\d)"), sign) for words, sign in _SIGN_WORDS.items()]
_ANY_SPOKEN = re.compile(rf"\d\s?(?:{'|'.join(_SIGN_WORDS)})\s?\d")
_SPOKEN_EQUALS = re.compile(r"(?<=\d)\s?(?:equals|is equal to|makes|is|等于|是)\s?(?=[$€£¥]?\d)")
_SUM_WORDS = Marks(" plus | minus | times | multiplied by | divided by |加|减|乘|除以")
_OTHER_ARITHMETIC = re.compile(
    r"\b(?:binary|hex\w*|octal|base[ -]?\d+|mod(?:ulo|ular)?|xor|boolean|remainder|round(?:ed|s|ing)?|"
    r"approx\w*|"
    r"matrix|vector|fraction)\b|二进制|十六进制|余数|约等于|四舍五入",
    re.IGNORECASE,
)
_ON_PURPOSE = re.compile(
    r"\b(?:incorrect\w*|wrong\w*|mistakes?|errors?|false|joke|riddle)\b|错误|错的", re.IGNORECASE
)
_WRONG_WANTED = re.compile(
    r"(?:wrong|incorrect|false|mistake)[^.?!\n]{0,25}(?:sum|equation|arithmetic|calculation|math)|"
    r"错[^。？！\n]{0,8}算",
    re.IGNORECASE,
)
_NEAR_BY = 25
"""So many letters around a sum tell whether it is wrong on purpose."""


def wrong_sum(text: str, asked: str) -> str:
    """The first sum in the text that is wrong and does not stand in what was asked, or ''.

    >>> wrong_sum("So 12 + 7 × 2 = 38 in all.", ""), wrong_sum("6 times 7 is 42.", "")
    ('12 + 7 × 2 = 38', '')
    """
    spoken = _SUM_WORDS.stand_in(text) and _ANY_SPOKEN.search(text)
    if not spoken and "=" not in text and "% of" not in text:
        return ""
    written = _written(text) if spoken else text
    for match in _EQUATION.finditer(written) if _RESULT.search(written) else ():
        if not _holds(*match.group("left", "right")) and match.group() not in asked:
            return "" if _is_other_arithmetic(written, match, asked) else match.group()
    for match in _PERCENT.finditer(written) if "% of" in written else ():
        part, whole, result = match.groups()
        if not _near(_value(part)[0] * _value(whole)[0] / 100, result, exact=False):
            return "" if _is_other_arithmetic(written, match, asked) else match.group()
    return ""


def _is_other_arithmetic(text: str, match: re.Match[str], asked: str) -> bool:
    """Whether numbers mean something else here, or the sum is shown as a wrong one."""
    around = text[max(0, match.start() - _NEAR_BY) : match.end() + _NEAR_BY]
    if _ON_PURPOSE.search(around) or _WRONG_WANTED.search(asked):
        return True
    return bool(_OTHER_ARITHMETIC.search(text) or _OTHER_ARITHMETIC.search(asked))


def _written(text: str) -> str:
    """Text with `6 times 7 is` and `6乘以7等于` as signs."""
    signed = text
    for words, sign in _SPOKEN:
        signed = words.sub(sign, signed)
    return _SPOKEN_EQUALS.sub(" = ", signed) if signed != text else text


def _value(text: str) -> tuple[Fraction, int]:
    """A written number and its decimals. A comma before anything but three digits is a decimal comma."""
    text = text.lstrip("$€£¥")
    if text.isdecimal():
        return Fraction(int(text)), 0
    thousands = re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", text)
    text = text.replace(",", "" if thousands else ".")
    return Fraction("0" + text if text.startswith(".") else text), len(text.partition(".")[2])


def _holds(left: str, right: str) -> bool:
    """Whether a sum is as exactly right as its result is written; a truncated quotient counts as right."""
    total, product, divided = Fraction(0), Fraction(0), False
    for sign, number in _TERM.findall(left):
        value = _value(number)[0]
        if sign in ("/", "÷"):
            if value == 0:
                return True
            product, divided = product / value, True
        elif sign and sign in "*×·x":
            product *= value
        else:
            total, product = total + product, value if sign in ("", "+") else -value
    return _near(total + product, right, exact=not divided)


def _near(true: Fraction, written: str, *, exact: bool) -> bool:
    shown, decimals = _value(written.lstrip("-−"))
    shown = -shown if written[0] in "-−" else shown
    if not exact and true.denominator > 1:
        return abs(true - shown) <= Fraction(1, 10**decimals)
    if decimals or true.denominator > 1:
        return abs(true - shown) <= Fraction(1, 2 * 10**decimals)
    return true == shown
