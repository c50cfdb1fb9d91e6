"""Sums written out in a text, and whether they are right."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction

from studio.engine.checks.number_words import CHINESE, ENGLISH, chinese_in_digits, english_in_digits
from studio.engine.checks.text import Marks

_NUMBER = r"[$€£¥]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)"
_SIGN = r"[-+*/×÷·−–x]"
_MINUS = r"(?:(?<![\d)\]][ ])(?<!\b[a-zA-Z][ ])(?<![\w)\]])[-−])?"
"""Of a sum's first number, where it takes nothing from what stands before."""
_EQUATION = re.compile(
    r"(?<![0-9A-Za-z_.,:^%°)\]²³√$€£¥])(?<![-+*/×÷·^(=x−–<>≤≥≈][ "
    r"])(?<![-+*/×÷·^=−–<>≤≥≈])(?<!\b[b-hj-zB-HJ-Z][ ])(?<!% of )"
    rf"(?P<left>{_MINUS}{_NUMBER}(?:\s*{_SIGN}\s*{_NUMBER}){{1,8}})\s*=\s*(?P<right>[-−]?{_NUMBER})"
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
_SPOKEN_EQUALS = re.compile(
    r"(?<=\d)\s?(?:equals(?: to)?|is equal to|makes|gives|is|等于|是|得)\s?(?=[$€£¥]?\d)"
)
_SUM_WORDS = Marks(" plus | minus | times | multiplied by | divided by |加|减|乘|除以")
_NUMBER_BEGINS = r"(?<![\w-])(?<!hundred )(?<!thousand )(?<!point )(?<!dred and )(?<!sand and )"
_ENGLISH_SUM = re.compile(
    rf"{_NUMBER_BEGINS}{ENGLISH}(?: (?:plus|minus|times|multiplied by|divided by) {ENGLISH})+"
    rf" (?:equals|is equal to|makes|is) {ENGLISH}\b(?![ -](?:{ENGLISH}|hundred|thousand|point))",
    re.IGNORECASE,
)
_CHINESE_SUM = re.compile(
    rf"(?<![零一二两三四五六七八九十百千万亿第点]){CHINESE}(?:(?:加上?|减去?|乘以?|除以){CHINESE})+(?:等于|是|得){CHINESE}(?![万亿余点])"
)
_NAMED = re.compile(
    r"\b(?P<name>sum|total|difference|product|quotient|average|mean) (?:of|between) "
    rf"(?P<numbers>{_NUMBER}(?:,? and |, | & ){_NUMBER}(?:(?:,? and |, ){_NUMBER})*) (?:is|=|equals|would be) "
    rf"(?P<right>[-−]?{_NUMBER})(?!\s?[%°²³^!]|\d|[a-zA-Z]|[.,:/]\d|\s?[-+*/×÷=(]\s?\d)",
    re.IGNORECASE,
)
_NAMED_CHINESE = re.compile(
    rf"(?P<numbers>{_NUMBER}(?:[和与、]{_NUMBER})+)(?:的|之)(?P<name>总?和|差|乘?积|商|平均数|平均值)(?:等于|是|为)"
    rf"(?P<right>[-−]?{_NUMBER})(?!\s?[%°²³^!]|\d|[.,:/]\d|\s?[-+*/×÷=(]\s?\d)"
)
_NAMES = {
    "sum": "+", "total": "+", "和": "+", "总和": "+", "difference": "-", "差": "-",
    "product": "×", "积": "×", "乘积": "×", "quotient": "÷", "商": "÷",
    "average": "mean", "mean": "mean", "平均数": "mean", "平均值": "mean",
}  # fmt: skip
_NAMED_WORDS = Marks(
    "sum of |total of |difference between |difference of |product of |quotient of |average of |mean of |的和|之和|"
    "的总和|的差|之差|的积|之积|的乘积|的商|之商|的平均"
)
_FRACTIONS = re.compile(
    r"(?<![\d./^)\w=+*-])(?<![-+*/×÷·=−–] )(?P<left>\d{1,4}/\d{1,4}(?:\s*[-+*×−]\s*\d{1,4}/\d{1,4})+)\s*=\s*"
    r"(?P<right>\d{1,4}(?:/\d{1,4})?)(?![\d/^a-zA-Z]|[.,]\d|\s?[-+*/×÷=(]|\s[a-zA-Z]\b)"
)
_OTHER_ARITHMETIC = re.compile(
    r"\b(?:binary|hex\w*|octal|base[ -]?\d+|mod(?:ulo|ular)?|xor|boolean|remainder|round(?:ed|ing)|"
    r"rounds? (?:to|up|down|off|it|\d)|approx\w*|matrix|vector|fraction|clock|o'clock|weekday)\b|"
    r"二进制|十六进制|余数|约等于|四舍五入",
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


_LATEX = {
    r"\\(?:times|cdot)\b": "×", r"\\div\b": "÷",
    r"\\d?frac\{([^{}]*)\}\{([^{}]*)\}": r"\1 / \2", r"\\boxed\{([^{}]*)\}": r"\1",
    r"\\[()\[\],;! ]|(?<!\\)\$(?=[^$\n]{0,60}(?:\\|\$))|(?<=[\d}])\$(?!\d)": "",
}  # fmt: skip
_MARKUP = [(re.compile(pattern), plain) for pattern, plain in _LATEX.items()]
_BOLD = re.compile(r"\*\*|__")


def _without_markup(text: str) -> str:
    """
    >>> _without_markup(r"**6 * 7 = 43**, $6 \\times 7 = \\boxed{43}$")
    '6 * 7 = 43, 6 × 7 = 43'
    """
    if "**" in text or "__" in text:
        text = _BOLD.sub("", text)
    if "\\" in text or text.count("$") > 1:
        for pattern, plain in _MARKUP:
            text = pattern.sub(plain, text)
    return text


def wrong_sum(text: str, asked: str) -> str:
    """The first sum in the text that is wrong and does not stand in what was asked, or ''.

    >>> wrong_sum("So 12 + 7 × 2 = 38 in all.", ""), wrong_sum("6 times 7 is 42.", "")
    ('12 + 7 × 2 = 38', '')
    >>> wrong_sum("The mean of 2, 4 and 6 is 5.", ""), wrong_sum("三加五等于九", ""), wrong_sum("1/2 + 1/4 = 3/4", "")
    ('mean of 2, 4 and 6 is 5', '三加五等于九', '')
    """
    if "=" in text:
        text, asked = _without_markup(text), _without_markup(asked)
    found = next((match for match in _wrong(text) if match.group() not in asked), None)
    if found:
        return "" if _is_other_arithmetic(text, found, asked) else found.group()
    spoken = _SUM_WORDS.stand_in(text) and _ANY_SPOKEN.search(text)
    if not spoken and "=" not in text and "% of" not in text:
        return ""
    written = _written(text) if spoken else text
    for match in _EQUATION.finditer(written) if _RESULT.search(written) else ():
        if not _holds(*match.group("left", "right")) and match.group() not in asked:
            return "" if _is_other_arithmetic(written, match, asked) else match.group()
    for match in _PERCENT.finditer(written) if "% of" in written else ():
        part, whole, result = match.groups()
        true = _value(part)[0] * _value(whole)[0] / 100
        if not (_rounded(true, *_shown(result)) or _truncated(true, *_shown(result))):
            return "" if _is_other_arithmetic(written, match, asked) else match.group()
    return ""


def _wrong(text: str) -> Iterator[re.Match[str]]:
    """Wrong sums in words, of named kinds and of fractions, where they stand."""
    if _SUM_WORDS.stand_in(text):
        yield from (
            match
            for match in _ENGLISH_SUM.finditer(text)
            if _is_wrong_in_words(match.group(), english_in_digits)
        )
        yield from (
            match
            for match in _CHINESE_SUM.finditer(text)
            if _is_wrong_in_words(match.group(), chinese_in_digits)
        )
    if _NAMED_WORDS.stand_in(text):
        for pattern in (_NAMED, _NAMED_CHINESE):
            yield from (
                match
                for match in pattern.finditer(text)
                if not _is_named_right(*match.group("name", "numbers", "right"))
            )
    if "/" in text and "=" in text:
        yield from (
            match for match in _FRACTIONS.finditer(text) if not _are_equal(*match.group("left", "right"))
        )


def _is_wrong_in_words(said: str, read: Callable[[str], str]) -> bool:
    left, _, right = _written(read(said)).partition(" = ")
    return not _holds(left, right) if re.fullmatch(_NUMBER, right) else False


def _is_named_right(name: str, numbers: str, right: str) -> bool:
    values = [_value(number)[0] for number in re.findall(_NUMBER, numbers)]
    kind, (shown, decimals) = _NAMES[name.lower()], _shown(right)
    first, *others = values
    if kind in "-÷" and (len(values) > 2 or (kind == "÷" and 0 in others)):
        return True
    if kind == "mean":
        true = sum(values, Fraction(0)) / len(values)
    elif kind == "-":
        true, shown = abs(first - others[0]), abs(shown)
    else:
        true = first
        for value in others:
            true = true + value if kind == "+" else true * value if kind == "×" else true / value
    return _rounded(true, shown, decimals) or _truncated(true, shown, decimals)


def _are_equal(left: str, right: str) -> bool:
    """Whether a sum of fractions is the fraction that is said."""
    total, product = Fraction(0), Fraction(0)
    try:
        for sign, fraction in re.findall(r"([-+*×−]?)\s*(\d+/\d+)", left):
            value = Fraction(fraction)
            if sign and sign in "*×":
                product *= value
            else:
                total, product = total + product, value if sign in ("", "+") else -value
        return total + product == Fraction(right)
    except ZeroDivisionError:
        return True


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
    """Whether a sum is as exactly right as its result is written, with dots as either of what they stand for.

    >>> _holds("100 / 8", "12.6"), _holds("1.000 + 500", "1.500"), _holds("20 / 3", "6.67")
    (False, True, True)
    """
    if _is_right(left, right):
        return True
    dotted = _WITH_DOTS.search(left) or _WITH_DOTS.search(right)
    return bool(dotted) and _is_right(_WITH_DOTS.sub(_joined, left), _WITH_DOTS.sub(_joined, right))


_WITH_DOTS = re.compile(r"(?<![\d.,])(\d{1,3})\.(\d{3})(?![\d.])")
"""A number of thousands as much of Europe writes it."""


def _joined(number: re.Match[str]) -> str:
    return number[1] + number[2]


def _is_right(left: str, right: str) -> bool:
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
    true, (shown, decimals) = total + product, _shown(right)
    if decimals > _MOST_DECIMALS and abs(true - shown) < Fraction(1, 10**_MOST_DECIMALS):
        return True
    if not divided:
        return _rounded(true, shown, decimals)
    # A quotient of few decimals is not rounded up to a whole number: 100 / 8 is 12.5, and by whole numbers 12.
    if decimals == 0 and true.denominator > 1 and (100 * true).denominator == 1:
        return _truncated(true, shown, decimals)
    return _rounded(true, shown, decimals) or _truncated(true, shown, decimals)


_MOST_DECIMALS = 9
"""More of them are those of a machine's binary fractions: 0.1 + 0.2 = 0.30000000000000004."""


def _shown(written: str) -> tuple[Fraction, int]:
    value, decimals = _value(written.lstrip("-−"))
    return (-value if written[0] in "-−" else value), decimals


def _rounded(true: Fraction, shown: Fraction, decimals: int) -> bool:
    """Whether a result is what it says, or rounded where its decimals cannot say it."""
    unit = Fraction(1, 10**decimals)
    return true == shown if (true / unit).denominator == 1 else abs(true - shown) <= unit / 2


def _truncated(true: Fraction, shown: Fraction, decimals: int) -> bool:
    """Whether a result is the true one without its further decimals."""
    return abs(shown) <= abs(true) and abs(true - shown) < Fraction(1, 10**decimals)
