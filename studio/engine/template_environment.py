"""The Jinja environment of chat templates: transformers' options, filters and globals, each operation within bounds.

The compiler writes a look at the clock into every loop and macro, and a check from `template_bounds` wherever a text or
a list could grow. What is not written by the template (a message's content) costs nothing but that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import update_wrapper, wraps
from time import perf_counter
from types import BuiltinMethodType, GeneratorType, MethodType
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.filters import make_attrgetter
from jinja2.lexer import Lexer
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, generate_lorem_ipsum

from studio.engine import template_bounds as bounds
from studio.engine.template_bounds import Exceeded, within

Span = tuple[int, int]

_ALIKE = 8  # operands of unknown length in a sum that is checked as a whole
_FEW = 16  # items of a literal list that is not worth a check
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


class _Lexer(Lexer):
    """Gives each token its place in the source where jinja2 has its line, so that errors know their column too.

    A place is `-1 - offset`: jinja2 only passes lines on, down to those of the compiled code.
    """

    def tokeniter(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> Iterator[tuple[int, str, str]]:
        end = 0
        try:
            for _, kind, value in super().tokeniter(source, name, filename, state):
                start = max(source.find(value, end), end)
                end = start + len(value)
                yield -1 - start, kind, value
        except jinja2.TemplateSyntaxError as error:
            error.lineno = -1 - end
            raise


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


class _Generator(CodeGenerator):
    """Jinja's compiler, with the checks of `Environment` written where a template could grow or run on."""

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:
        self._repeated = {
            id(part.body)  # type: ignore[attr-defined]
            for part in node.find_all((nodes.For, nodes.Macro, nodes.CallBlock, nodes.Block))
        }
        super().visit_Template(node, frame)

    def blockvisit(self, nodes: Iterable[nodes.Node], frame: Frame) -> None:
        if id(nodes) in self._repeated:
            self.writeline("if environment.clock() > environment.deadline: environment.late()")
        super().blockvisit(nodes, frame)

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write("(" if _writes_text(node) else "environment.text(")

    def visit_Add(self, node: nodes.BinExpr, frame: Frame) -> None:
        unknown = sum(not isinstance(leaf, nodes.Const) for leaf in _summands(node))
        self.write("environment.sized(")
        self._write_sum(node, frame, whole=unknown <= _ALIKE)
        self.write(")")

    def _write_sum(self, node: nodes.BinExpr, frame: Frame, whole: bool) -> None:
        self.write("(")
        for operand, after in ((node.left, " + "), (node.right, ")")):
            if whole and isinstance(operand, nodes.Add):
                self._write_sum(operand, frame, whole)
            else:
                self.visit(operand, frame)
            self.write(after)

    def visit_Mul(self, node: nodes.BinExpr, frame: Frame) -> None:
        self._write_call("environment.product(", frame, node.left, node.right)

    def visit_Mod(self, node: nodes.BinExpr, frame: Frame) -> None:
        self._write_call("environment.remainder(", frame, node.left, node.right)

    def visit_Pow(self, node: nodes.BinExpr, frame: Frame) -> None:
        self._write_call("environment.power(", frame, node.left, node.right)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self._write_call("environment.joined(", frame, *node.nodes)

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:
        if _is_cheap(node):
            super().visit_Compare(node, frame)
        else:
            names = tuple(operand.op for operand in node.ops)
            compared = [node.expr, *(operand.expr for operand in node.ops)]
            self._write_call(f"environment.compare({names!r}, ", frame, *compared)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        if not isinstance(node.arg, nodes.Slice):
            return super().visit_Getitem(node, frame)
        self.write("environment.sized(")
        super().visit_Getitem(node, frame)
        self.write(")")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        self._write_literal(len(node.items), super().visit_List, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:
        if node.ctx == "store":
            return super().visit_Tuple(node, frame)
        self._write_literal(len(node.items), super().visit_Tuple, node, frame)

    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:
        size = len(node.value) if isinstance(node.value, (list, dict)) else 0
        self._write_literal(size, super().visit_Const, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self._write_literal(len(node.items), self._write_dict, node, frame)

    def _write_dict(self, node: nodes.Dict, frame: Frame) -> None:
        self.write("{")
        for pair in node.items:
            if isinstance(pair.key, nodes.Const):
                self.visit(pair.key, frame)
            else:
                self._write_call("environment.key(", frame, pair.key)
            self.write(": ")
            self.visit(pair.value, frame)
            self.write(", ")
        self.write("}")

    def _write_literal(
        self, items: int, write: Callable[[Any, Frame], None], node: Any, frame: Frame
    ) -> None:
        if items > _FEW:
            self.write("environment.sized(")
        write(node, frame)
        if items > _FEW:
            self.write(")")

    def _write_call(self, opening: str, frame: Frame, *operands: nodes.Expr) -> None:
        self.write(opening)
        for operand in operands:
            self.visit(operand, frame)
            self.write(", ")
        self.write(")")


def _summands(node: nodes.Expr) -> Iterator[nodes.Expr]:
    if isinstance(node, nodes.Add):
        yield from _summands(node.left)
        yield from _summands(node.right)
    else:
        yield node


def _writes_text(node: nodes.Expr) -> bool:
    """Whether the value of an expression is surely a text already."""
    if isinstance(node, nodes.Add):
        return any(isinstance(leaf, nodes.Const) and isinstance(leaf.value, str) for leaf in _summands(node))
    return isinstance(node, nodes.Concat) or (
        isinstance(node, nodes.Filter) and node.name in ("join", "tojson", "trim")
    )


def _is_cheap(node: nodes.Compare) -> bool:
    """Whether a comparison looks at no more than one value, or at a list that is written out."""
    if len(node.ops) > 1:
        return False
    left, (operand,) = node.expr, node.ops
    if operand.op in ("in", "notin"):
        return isinstance(operand.expr, (nodes.List, nodes.Tuple)) and all(
            isinstance(item, nodes.Const) for item in operand.expr.items
        )
    return isinstance(left, nodes.Const) or isinstance(operand.expr, nodes.Const)


_DICT_ATTRIBUTES = frozenset(dir(dict))
_HARMLESS = frozenset({str, int, float, bool})
_SAFE_ATTRIBUTES = {
    str: frozenset(name for name in dir(str) if name[0] != "_") - {"format", "format_map"},
    LoopContext: frozenset(name for name in dir(LoopContext) if name[0] != "_"),
}


class Environment(ImmutableSandboxedEnvironment):
    """The environment of one template, with what its compiled code calls to stay within bounds."""

    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "*", "%", "**"})  # also keeps the compiler from working them out

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
        )
        self._lexer = _Lexer(self)
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
            self.tests[name] = self._test((comparison,))
        self.tests["lower"] = self._of_text(str.islower)
        self.tests["upper"] = self._of_text(str.isupper)

    @property
    def lexer(self) -> Lexer:
        return self._lexer

    # -- the account of one rendering

    clock = staticmethod(perf_counter)

    def begin(self, seconds: float) -> list[str]:
        """Starts the account of a rendering that may take so long; returns where its parts are to be put."""
        self.deadline = perf_counter() + seconds
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
        raise Exceeded("time")

    def charge(self, amount: int) -> None:
        self.spent = spent = self.spent + amount
        if amount > bounds.SIZE or spent > bounds.TOTAL:
            raise Exceeded("size")
        if perf_counter() > self.deadline:
            raise Exceeded("time")

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

    def compare(self, names: tuple[str, ...], *values: Any) -> Any:
        """As Python compares a chain of values."""
        self._look()
        result: Any = True
        for name, left, right in zip(names, values, values[1:], strict=False):
            for value in (left, right):
                if bounds.is_group(value):
                    bounds.weigh(value)
            result = bounds.COMPARISONS[name](left, right)
            if not result:
                break
        return result

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
        if (
            type(obj) is dict and attribute not in _DICT_ATTRIBUTES
        ):  # as below, without an exception on the way
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
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
            raise Exceeded("time")

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

    def _test(self, names: tuple[str, ...]) -> Callable[[Any, Any], Any]:
        return lambda value, other: self.compare(names, value, other)

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
