"""Jinja's lexer and compiler as chat templates need them: places of errors, and checks where a template could grow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.lexer import Lexer

_ALIKE = 8  # operands of unknown length in a sum that is checked as a whole
_FEW = 16  # items of a literal list that is not worth a check


class PlacedLexer(Lexer):
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


class BoundedGenerator(CodeGenerator):
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
            return super().visit_Compare(node, frame)
        last = len(node.ops) - 1
        left: str | None = None
        self.write("(")
        for index, operand in enumerate(node.ops):
            self.write(f"environment.compare({operand.op!r}, {left or ''}")
            if left is None:
                self.visit(node.expr, frame)
            left = self.temporary_identifier()
            self.write(", " if index == last else f", ({left} := ")
            self.visit(operand.expr, frame)
            self.write(")" if index == last else ")) and ")
        self.write(")")

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
