"""What a chat template may cost: checks that keep one operation of Jinja small, whatever it is given.

A template is somebody else's program. Each check raises `Exceeded` before an operation would make more than `SIZE`
characters, compare or print a structure that unfolds to more, or run for long inside of one call of the interpreter.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jinja2.utils import Namespace

SIZE = 8_000_000
"""The longest text, in characters; a structure unfolds to no more than so many of them and of items."""
SECONDS = 2.0
"""How long a rendering may take."""
TOTAL = 32 * SIZE
"""Bytes that all results of a rendering take together, those included that are thrown away."""

SMALL = 256
"""Texts up to so many characters are not counted."""
ITEM = 64
"""Bytes of an item in a list, roughly."""
_BITS = 100_000  # of a whole number
_PRODUCT = 200_000_000  # steps of a search that is quadratic in the worst case
SLOW = 100_000
"""Characters for what Jinja does piece by piece in Python."""
_NESTED = 200  # tuples in tuples: hashing them recurses in C without a check and would end the process
_CODECS = {"utf-8", "utf8", "ascii", "latin-1", "utf-16", "utf-32"}

_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_GROUPS = frozenset({list, tuple, set, frozenset, *_VIEWS})
_SINGLE = frozenset({str, int, float, bool, type(None)})
_DIGITS = r"\d{5,}"
_WIDE_PERCENT = re.compile(rf"%(?:\([^)]*\))?[#0 +-]*(?:\*|{_DIGITS}|\d*\.(?:\*|{_DIGITS}))")
_PERCENT_FIELD = re.compile(r"%(?:\([^)]*\))?[#0 +-]*(\d*)(?:\.(\d*))?")
_BRACES_FIELD = re.compile(r"\{[^{}]*?:[^{}]*?(\d+)(?:\.(\d+))?")
_WIDE_BRACES = re.compile(rf"\{{[^{{}}]*{_DIGITS}|\{{[^{{}}]*:[^{{}}]*\{{")


class Exceeded(Exception):
    """A template was stopped; `bound` says by which."""

    def __init__(self, bound: str) -> None:
        super().__init__(bound)
        self.bound = bound


def within(amount: int, limit: int = SIZE) -> None:
    if amount > limit:
        raise Exceeded("size")


def weigh(value: Any, limit: int = SIZE) -> int:
    """Characters and items of a value, a part counted as often as it stands in it; numbers and the like count one."""
    total = nested = 0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is str:
            total += len(item)
        elif kind in _GROUPS:
            total += len(item) + 1
            within(total, limit)
            if kind is tuple:
                nested += sum(type(part) is tuple for part in item)
                if nested > _NESTED:
                    raise Exceeded("depth")
            waiting.extend(item)
        elif kind is dict:
            total += len(item) + 1
            within(total, limit)
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, (str, bytes)):
            total += len(item)
        elif isinstance(item, (tuple, list)):
            waiting.append(list(item))
        elif isinstance(item, Namespace):
            total += SMALL  # it may hold itself
            waiting.append(item._Namespace__attrs)
        else:
            total += 1
        if total > limit:
            raise Exceeded("size")
    return total


def is_group(value: Any) -> bool:
    """Whether printing or comparing it goes through its parts."""
    kind = type(value)
    if kind in _SINGLE:
        return False
    return kind in _GROUPS or issubclass(kind, (dict, list, tuple, Namespace))


def check_product(left: Any, right: Any) -> None:
    """Before `left * right`."""
    if isinstance(left, int) and isinstance(right, int):
        return within(left.bit_length() + right.bit_length(), _BITS)
    if isinstance(left, int):
        left, right = right, left
    if isinstance(right, int) and (is_group(left) or isinstance(left, (str, bytes))):
        within(weigh(left) * max(right, 0))


def check_power(left: Any, right: Any) -> None:
    """Before `left ** right`."""
    if isinstance(left, int) and isinstance(right, int):
        within(left.bit_length() * abs(right), _BITS)


def check_percent(form: str, values: Any) -> None:
    """Before `form % values`."""
    if _WIDE_PERCENT.search(form):
        raise Exceeded("size")
    parts: Iterable[Any] = (
        values if isinstance(values, tuple) else values.values() if isinstance(values, Mapping) else ()
    )
    largest = max((weigh(part) for part in (*parts, values)), default=0)
    within(len(form) + form.count("%") * largest + _widths(_PERCENT_FIELD, form))


def check_braces(form: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Before `form.format(*args, **kwargs)`."""
    if _WIDE_BRACES.search(form):
        raise Exceeded("size")
    largest = max((weigh(value) for value in (*args, *kwargs.values())), default=0)
    within(len(form) + form.count("{") * largest + _widths(_BRACES_FIELD, form))


def _widths(fields: re.Pattern[str], form: str) -> int:
    """All widths and precisions together: characters that a format makes of nothing."""
    return sum(int(number) for found in fields.findall(form) for number in found if number)


def check_width(text: str, width: Any = 80, *_: Any, **named: Any) -> None:
    width = named.get("width", width)
    within(width if isinstance(width, int) else 0)


def check_replace(text: str, old: Any = "", new: Any = "", *_: Any, **named: Any) -> None:
    old, new = str(named.get("old", old)), str(named.get("new", new))
    within(len(text) + text.count(old) * max(len(new) - len(old), 0))


def check_search(text: str, wanted: Any = "", *_: Any, **named: Any) -> None:
    """Before a search from the end, or a strip, which take the product of both lengths at worst."""
    wanted = next(iter(named.values()), wanted)
    within(len(text) * (len(wanted) if isinstance(wanted, (str, tuple)) else 1), _PRODUCT)


def check_expand(text: str, tabsize: Any = 8, **_: Any) -> None:
    within(len(text) + text.count("\t") * (tabsize if isinstance(tabsize, int) else 0))


def check_translate(text: str, table: Any) -> None:
    within(len(text) * max((weigh(value) for value in getattr(table, "values", tuple)()), default=1))


def check_codec(text: str, encoding: Any = "utf-8", *_: Any, **__: Any) -> None:
    """Some codecs take quadratic time."""
    if str(encoding).lower() not in _CODECS:
        raise Exceeded("size")


def check_indent(text: str, width: Any = 4, *_: Any, **named: Any) -> None:
    width = named.get("width", width)
    each = width if isinstance(width, int) else len(str(width))
    within(len(text) + (len(text.splitlines()) + 1) * max(each, 0))


def check_slow(text: Any, *args: Any, **named: Any) -> None:
    within(weigh([text, *args, *named.values()]), SLOW)


def check_count(value: Any, count: Any = 0, *_: Any, **named: Any) -> None:
    """Before the filters `batch` and `slice`, which make so many items."""
    count = next((named[key] for key in ("linecount", "slices") if key in named), count)
    within(count if isinstance(count, int) else 0, SLOW)


def check_round(value: Any, precision: Any = 0, *_: Any, **named: Any) -> None:
    precision = named.get("precision", precision)
    within(abs(precision) if isinstance(precision, int) else 0, 400)


def check_number(value: Any, *_: Any, **__: Any) -> None:
    within(weigh(value), _BITS // 8)


def check_sum(value: Any, *_: Any, **__: Any) -> None:
    """Adding up lists copies the sum each time."""
    within(weigh(value), SLOW if any(is_group(item) for item in value) else SIZE)


METHODS: dict[str, Callable[..., None]] = {
    **dict.fromkeys(("center", "ljust", "rjust", "zfill"), check_width),
    **dict.fromkeys(
        ("rfind", "rindex", "rsplit", "rpartition", "strip", "lstrip", "rstrip", "startswith", "endswith"),
        check_search,
    ),
    "replace": check_replace,
    "expandtabs": check_expand,
    "translate": check_translate,
    "encode": check_codec,
}
"""What is checked before a method of a text is called with its arguments."""

FILTERS: dict[str, Callable[..., None]] = {
    "center": check_width,
    "trim": check_search,
    "replace": check_replace,
    "indent": check_indent,
    "format": lambda form, *args, **named: check_percent(form, named or args),
    "batch": check_count,
    "slice": check_count,
    "round": check_round,
    "int": check_number,
    "sum": check_sum,
    **dict.fromkeys(
        ("pprint", "striptags", "title", "urlize", "wordcount", "wordwrap", "xmlattr"), check_slow
    ),
}
"""What is checked before a filter is applied to a value with its arguments."""
TEXT_FILTERS = frozenset({"center", "format", "indent", "replace", "trim"})
"""Filters whose check wants the value as text."""
ITERATING_FILTERS = frozenset({"batch", "groupby", "max", "min", "slice", "sort", "sum", "unique"})
"""Filters that go through all items, also of what can be gone through once."""
FREE_FILTERS = frozenset({"count", "d", "default", "first", "last", "length", "random"})
"""Filters that look at no more than one item, whatever the value."""
LAZY_FILTERS = frozenset({"items", "list", "map", "reject", "rejectattr", "reverse", "select", "selectattr"})
"""Filters that go through a value once and neither print nor compare its items."""

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
    "in": lambda item, items: item in items,
    "notin": lambda item, items: item not in items,
}
TESTS: dict[str, str] = {
    "in": "in",
    **dict.fromkeys(("==", "eq", "equalto"), "eq"),
    **dict.fromkeys(("!=", "ne"), "ne"),
    **dict.fromkeys((">", "gt", "greaterthan"), "gt"),
    **dict.fromkeys((">=", "ge"), "gteq"),
    **dict.fromkeys(("<", "lt", "lessthan"), "lt"),
    **dict.fromkeys(("<=", "le"), "lteq"),
}
"""Jinja's tests that compare, and how."""
