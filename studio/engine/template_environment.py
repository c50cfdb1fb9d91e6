"""The Jinja environment of chat templates: transformers' options, filters and globals, each operation within bounds.

`template_compiler` writes a look at the clock into every loop and macro, and a call of this environment wherever a text
or a list could grow; the checks themselves are in `template_bounds`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import update_wrapper, wraps
from time import perf_counter, thread_time
from types import BuiltinMethodType, GeneratorType, MethodType
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import make_attrgetter
from jinja2.lexer import Lexer
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, generate_lorem_ipsum

from studio.engine import template_bounds as bounds
from studio.engine.template_bounds import Exceeded, within
from studio.engine.template_compiler import BoundedGenerator, PlacedLexer

Span = tuple[int, int]

_LOREM = 20


class Refusal(jinja2.TemplateError):
    """A template called `raise_exception`."""


class _Generation(jinja2.ext.Extension):
    """`{% generation %}` blocks render as what they hold, and where they stand is noted."""

    tags = {"generation"}  # noqa: RUF012 (jinja2's own declaration)
    environment: Environment

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("note"), [], [], body).set_lineno(line)

    def note(self, caller: Callable[[], str]) -> str:
        text = caller()
        start = self.environment.written()
        self.environment.spans.append((start, start + len(text)))
        return text


class _Namespace(Namespace):
    """As transformers': without names that begin with an underscore."""

    def __init__(*args: Any, **values: Any) -> None:
        self, rest = args[0], args[1:]
        attributes = dict(*rest, **values)
        for name in attributes:
            _checked_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(_checked_name(name), value)


def _checked_name(name: str) -> str:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace holds no name that begins with an underscore, such as {name!r}")
    return name


class _Dict:
    """What templates call as `dict`: it makes one, and has no other attribute of the class."""

    def __call__(self, *args: Any, **values: Any) -> dict[Any, Any]:
        return dict(*args, **values)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


_DICT_ATTRIBUTES = frozenset(dir(dict))
_HARMLESS = frozenset({str, int, float, bool})
SAFE_ATTRIBUTES: Mapping[type, frozenset[str]] = {
    str: frozenset(name for name in dir(str) if name[0] != "_") - {"format", "format_map"},
    LoopContext: frozenset(name for name in dir(LoopContext) if name[0] != "_"),
}
"""What the sandbox hands out of exactly these types as it stands, so that nothing has to be asked of it."""


class Environment(ImmutableSandboxedEnvironment):
    """The environment of one template, with what its compiled code calls to stay within bounds."""

    code_generator_class = BoundedGenerator
    intercepted_binops = frozenset({"+", "*", "%", "**"})  # also keeps the compiler from working them out

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
        )
        self._lexer = PlacedLexer(self)
        self.begin(bounds.SECONDS)
        self.globals.update(
            raise_exception=_refuse, strftime_now=_now, dict=_Dict(), namespace=_Namespace, lipsum=_lorem
        )
        self.filters["tojson"] = tojson
        self.filters["join"] = self._join
        self.filters["string"] = self.text
        for name, function in self.filters.items():
            if name not in bounds.FREE_FILTERS:
                self.filters[name] = self._bounded(name, function)
        for name, comparison in bounds.TESTS.items():
            self.tests[name] = self._test(comparison)
        self.tests["lower"] = self._of_text(str.islower)
        self.tests["upper"] = self._of_text(str.isupper)

    @property
    def lexer(self) -> Lexer:
        return self._lexer

    # -- the account of one rendering

    clock = staticmethod(perf_counter)
    """The wall's, as it is quick to look at; what it calls late is measured on the thread's own."""

    def begin(self, seconds: float) -> list[str]:
        """Starts the account of a rendering that may take so long; returns where its parts are to be put."""
        self.deadline = perf_counter() + seconds
        self._seconds, self._worked_until = seconds, 0.0
        self.spent = 0
        self.spans: list[Span] = []
        self.parts: list[str] = []
        self._counted = self._written = 0
        return self.parts

    def written(self) -> int:
        """Characters of the parts so far."""
        self._written += sum(map(len, self.parts[self._counted :]))
        self._counted = len(self.parts)
        return self._written

    def late(self) -> None:
        """The time is up on the wall. A machine that was busy with others gets it once more, as work of this thread."""
        now = thread_time()
        if not self._worked_until:
            self._worked_until = now + self._seconds
        elif now > self._worked_until:
            raise Exceeded("time")
        self.deadline = perf_counter() + max(self._worked_until - now, 0.01)

    def charge(self, amount: int) -> None:
        self.spent = spent = self.spent + amount
        if amount > bounds.SIZE or spent > bounds.TOTAL:
            raise Exceeded("size")
        if perf_counter() > self.deadline:
            self.late()

    # -- what compiled templates call

    def sized(self, value: Any) -> Any:
        """The value, once it is counted."""
        kind = type(value)
        if kind is str:
            if len(value) > bounds.SMALL:
                self.charge(len(value))
        elif kind in _HARMLESS:
            pass
        elif issubclass(kind, (list, tuple, dict, set, frozenset)):
            self.charge(bounds.ITEM * len(value))
        elif issubclass(kind, (str, bytes)):
            self.charge(len(value))
        return value

    def text(self, value: Any) -> str:
        """As `str`."""
        if type(value) is str:
            return value
        if bounds.is_group(value):
            bounds.weigh(value)
        return str(self.sized(str(value)))

    def joined(self, *values: Any) -> str:
        texts = [value if type(value) is str else self.text(value) for value in values]
        within(sum(map(len, texts)))
        return str(self.sized("".join(texts)))

    def product(self, left: Any, right: Any) -> Any:
        bounds.check_product(left, right)
        return self.sized(left * right)

    def remainder(self, left: Any, right: Any) -> Any:
        if isinstance(left, str):
            bounds.check_percent(left, right)
        return self.sized(left % right)

    def power(self, left: Any, right: Any) -> Any:
        bounds.check_power(left, right)
        return left**right

    def compare(self, name: str, left: Any, right: Any) -> Any:
        """By an operator, as Jinja calls it."""
        self._look()
        for value in (left, right):
            if bounds.is_group(value):
                bounds.weigh(value)
        return bounds.COMPARISONS[name](left, right)

    def key(self, value: Any) -> Any:
        if isinstance(value, tuple):
            bounds.weigh(value)
        return value

    # -- what jinja2 calls

    def concat(self, parts: Iterable[str]) -> str:
        """The buffer of a macro or block as one text."""
        parts = list(parts)
        within(sum(map(len, parts)))
        return str(self.sized("".join(parts)))

    def getattr(self, obj: Any, attribute: str) -> Any:
        kind = type(obj)
        if kind is dict and attribute not in _DICT_ATTRIBUTES:  # as below, without an exception on the way
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        if kind in SAFE_ATTRIBUTES and attribute in SAFE_ATTRIBUTES[kind]:
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if type(argument) is str:
            if type(obj) is dict:
                if argument in obj:
                    return obj[argument]
                if argument not in _DICT_ATTRIBUTES:
                    return self.undefined(obj=obj, name=argument)
            return super().getitem(obj, argument)
        return super().getitem(obj, self.key(argument))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def bounded(*args: Any, **kwargs: Any) -> Any:
            bounds.check_braces(value.__self__, args, kwargs)
            return self.sized(wrapped(*args, **kwargs))

        return update_wrapper(bounded, value)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        if type(__obj) is Macro:  # it counts for itself
            kwargs.pop("_loop_vars", None)
            kwargs.pop("_block_vars", None)
            return __obj(__context.eval_ctx, *args, **kwargs)
        if type(__obj) is MethodType and __obj.__func__ is _Generation.note:
            return __obj(kwargs["caller"])
        if type(__obj) is not BuiltinMethodType:  # else nothing wants a context
            __self._look()
            for value in (*args, *kwargs.values()):
                if bounds.is_group(value):
                    bounds.weigh(value)
            return __self.sized(super().call(__context, __obj, *args, **kwargs))
        if kwargs:
            kwargs.pop("_loop_vars", None)
            kwargs.pop("_block_vars", None)
        if args or kwargs:
            args = tuple(map(_seen, args))
            _check_method(__obj, args, kwargs)
        __self._look()
        return __self.sized(__obj(*args, **kwargs))

    def _look(self) -> None:
        """At the clock."""
        if perf_counter() > self.deadline:
            self.late()

    # -- filters and tests

    def _bounded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        first = 1 if hasattr(function, "jinja_pass_arg") else 0
        check = bounds.FILTERS.get(name)
        lazy, iterates = name in bounds.LAZY_FILTERS, name in bounds.ITERATING_FILTERS
        as_text = name in bounds.TEXT_FILTERS
        plain = check is not bounds.check_slow  # small work on a text alone

        @wraps(function)
        def bounded(*args: Any, **kwargs: Any) -> Any:
            self._look()
            if plain and len(args) == first + 1 and type(args[first]) is str and not kwargs:
                return self.sized(function(*args))
            if iterates:
                args = tuple(map(_seen, args))
            if not lazy:
                for value in (*args[first:], *kwargs.values()):
                    if bounds.is_group(value):
                        bounds.weigh(value)
            if check is not None and args[first:]:
                value = self.text(args[first]) if as_text else args[first]
                check(value, *args[first + 1 :], **kwargs)
            return self.sized(function(*args, **kwargs))

        return bounded

    def _join(self, value: Iterable[Any], d: Any = "", attribute: str | int | None = None) -> str:
        if attribute is not None:
            value = map(make_attrgetter(self, attribute), value)
        parts, between = [self.text(item) for item in value], self.text(d)
        within(sum(map(len, parts)) + len(between) * len(parts))
        return between.join(parts)

    def _test(self, comparison: str) -> Callable[[Any, Any], Any]:
        return lambda value, other: self.compare(comparison, value, other)

    def _of_text(self, test: Callable[[str], bool]) -> Callable[[Any], bool]:
        return lambda value: test(self.text(value))


def _seen(value: Any) -> Any:
    """The items of what can be gone through only once, so that they can be weighed."""
    return list(value) if isinstance(value, GeneratorType) else value


def _check_method(method: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Before a method of a text, list, number … is called with arguments."""
    owner, name = method.__self__, method.__name__
    for value in (*args, *kwargs.values()):
        if bounds.is_group(value):
            bounds.weigh(value)
    if isinstance(owner, str):
        if name == "join" and args:
            within(bounds.weigh(args[0]) + len(owner) * len(args[0]))
        elif check := bounds.METHODS.get(name):
            check(owner, *args, **kwargs)
    elif (isinstance(owner, bytes) and name != "decode") or name == "from_bytes":
        raise SecurityError(f"{name} is not for templates")
    elif name == "to_bytes":
        within(next(iter((*args, *kwargs.values()))), bounds.SLOW)
    elif isinstance(owner, bytes):
        bounds.check_codec(*args, **kwargs)
    elif isinstance(owner, (list, tuple)):
        bounds.weigh(owner)


def tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own would write HTML's characters as escapes."""
    within(indent if isinstance(indent, int) else bounds.weigh(indent), bounds.SMALL)
    within(bounds.weigh(separators), bounds.SMALL)
    if indent:  # each item stands on a line of its own, as deep as it is nested
        within(bounds.weigh(value) * (indent if isinstance(indent, int) else len(str(indent))) * 4)
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _refuse(message: str) -> str:
    raise Refusal(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)


def _lorem(n: int = 5, html: bool = True, min: int = 20, max: int = 100) -> str:
    within(n, _LOREM)
    within(max, bounds.SLOW)
    return generate_lorem_ipsum(n, html, min, max)
