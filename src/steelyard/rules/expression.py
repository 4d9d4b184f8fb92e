"""Conditions: one line in a small, safe part of Python's expression syntax.

`parse_expression` reads a line such as `weights.public and training.compute > 1e25`, checks every
name and type against the vocabulary, and returns a typed tree. Three gates stand before the tree:
a scanner that knows only the few tokens below, bounds on length, depth and size, and a list of
the node types that may occur. Nothing is ever evaluated by Python.

Syntax: `and or not`, `== != < <= > >= in`, chains of them, names of facts, numbers, texts, `True`,
`False`, `{...}`, `+ - * /` on amounts, `as_of` (the day that is asked about), and `known(name)`,
`measured(name)`, `contradicted(name)`, `empty(name)`, `count(name)`, `low(name)`, `high(name)`,
`middle(name)`, `date("2026-08-02")`, `hours(72)`, `days(14)`, `weeks(2)`. On sets `<=` means
"is part of". Two dates differ by days, and a date and days add up to a date. In a pack,
`parameter.name` is a value that the pack's own table dates.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from steelyard.errors import PackError
from steelyard.facts import Kind, Term, vocabulary
from steelyard.rules.operands import (
    Typed,
    arithmetic,
    collection,
    comparison,
    day,
    length,
    literal,
    suggest,
)
from steelyard.rules.syntax import BOUNDS, FUNCTIONS, HOURS, QUERIES, SYNTAX, read, shown, wrong
from steelyard.rules.tree import (
    AsOf,
    Bound,
    Certain,
    Condition,
    Count,
    Every,
    FactValue,
    Flag,
    Parameter,
    Query,
    Some,
    Sort,
    names_in,
    opposite,
)

_COMPARISONS: Final[Mapping[type[ast.cmpop], str]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}
_ARITHMETIC: Final[Mapping[type[ast.operator], str]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
}
_SORTS: Final[Mapping[Kind, Sort]] = {
    Kind.BOOL: Sort.TRUTH,
    Kind.COUNT: Sort.AMOUNT,
    Kind.QUANTITY: Sort.AMOUNT,
    Kind.DATE: Sort.DATE,
    Kind.TEXT: Sort.TEXT,
    Kind.ENUM: Sort.TEXT,
    Kind.SET: Sort.SET,
}
PARAMETER: Final = "parameter."
"""The prefix by which conditions name the parameters of their pack."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition as written, and the tree it was compiled into."""

    text: str
    condition: Condition

    @property
    def names(self) -> tuple[str, ...]:
        """Name the facts that the condition mentions, in order."""
        return names_in(self.condition)


def parse_expression(
    text: str,
    *,
    file: str | None = None,
    line: int | None = None,
    terms: Mapping[str, Term] | None = None,
) -> Expression:
    """Read a condition and check its names and types.

    Args:
        text: The condition.
        file: The pack that holds it, for errors.
        line: Its line there.
        terms: The names there are; the vocabulary unless told otherwise.

    Raises:
        PackError: If it is too long or too deep, is not in the syntax above, names a fact that
            does not exist, or compares what cannot be compared.
    """
    try:
        body = read(text)
        checker = _Checker(vocabulary() if terms is None else terms)
        return Expression(text, checker.condition(body))
    except PackError as error:
        error.file, error.line = file, line
        raise


@dataclass(frozen=True, slots=True)
class _Checker:
    """Turns syntax into a typed tree, or says what is wrong with it."""

    terms: Mapping[str, Term]

    def condition(self, node: ast.expr) -> Condition:
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                return Every(tuple(self.condition(value) for value in values))
            case ast.BoolOp(values=values):
                return Some(tuple(self.condition(value) for value in values))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return opposite(self.condition(operand))
            case ast.Compare():
                return self._chain(node)
            case ast.Call(func=ast.Name(id=function)) if function in QUERIES:
                return self._query(function, node)
            case ast.Constant(value=bool() as value):
                return Certain(value)
        typed = self._operand(node)
        if typed.sort is not Sort.TRUTH or not isinstance(typed.operand, FactValue):
            raise wrong(
                f"{typed.label} is {typed.sort}, not a condition",
                fix="compare it with something, or ask known(...) of it",
            )
        return Flag(typed.operand.name)

    def _chain(self, node: ast.Compare) -> Condition:
        operands = [self._operand(part) for part in (node.left, *node.comparators)]
        links = [
            comparison(_COMPARISONS.get(type(op), ""), left, right)
            for op, left, right in zip(node.ops, operands, operands[1:], strict=False)
        ]
        return links[0] if len(links) == 1 else Every(tuple(links))

    def _query(self, function: str, node: ast.Call) -> Condition:
        term = self._argument(function, node)
        if function == "empty" and term.kind is not Kind.SET:
            raise wrong(f"empty({term.name}): {term.name} is not a set", fix=f"known({term.name})")
        if function == "contradicted" and term.kind is Kind.SET:
            raise wrong(
                f"contradicted({term.name}) is never true",
                why="two sets never contradict: each may be a part of the whole",
                fix="compare the sets, or ask about a fact with one value",
            )
        return Query(function, term.name)

    def _called(self, function: str, node: ast.Call) -> Typed:
        if function == "date":
            return day(node)
        if function in HOURS:
            return length(function, node)
        if function in BOUNDS:
            return self._bound(function, node)
        if function == "count":
            term = self._argument("count", node)
            if term.kind is not Kind.SET:
                raise wrong(f"count({term.name}): {term.name} is not a set")
            return Typed(Count(term.name), Sort.AMOUNT, f"count({term.name})")
        raise wrong(f"there is no function {function!r}", fix=suggest(function, FUNCTIONS))

    def _bound(self, function: str, node: ast.Call) -> Typed:
        term = self._argument(function, node)
        label = f"{function}({term.name})"
        if _SORTS[term.kind] is not Sort.AMOUNT:
            raise wrong(f"{label}: {term.name} is {_SORTS[term.kind]}, not an amount")
        return Typed(Bound(function, term.name), Sort.AMOUNT, label, unit=term.unit or None)

    def _argument(self, function: str, node: ast.Call) -> Term:
        if len(node.args) != 1 or node.keywords:
            raise wrong(f"{function}(...) takes one argument", fix=SYNTAX)
        term = self._term(node.args[0], f"{function}(...) takes the name of a fact")
        if term.name.startswith(PARAMETER):
            raise wrong(f"{function}(...) takes the name of a fact, not of a parameter")
        return term

    def _term(self, node: ast.expr, otherwise: str) -> Term:
        name = _dotted(node)
        if name is None:
            raise wrong(otherwise)
        if name not in self.terms:
            raise wrong(f"there is no fact named {name!r}", fix=suggest(name, self.terms))
        return self.terms[name]

    def _operand(self, node: ast.expr) -> Typed:
        match node:
            case ast.Constant(value=value):
                return literal(value)
            case ast.Name(id="as_of"):
                return Typed(AsOf(), Sort.DATE, "as_of")
            case ast.Name() | ast.Attribute():
                term = self._term(node, "only names of facts may have dots")
                law = term.name.startswith(PARAMETER)
                return Typed(
                    Parameter(term.name) if law else FactValue(term.name),
                    _SORTS[term.kind],
                    term.name,
                    term.choices,
                    term.unit or None,
                )
            case ast.Set(elts=members) | ast.List(elts=members) | ast.Tuple(elts=members):
                return collection(members)
            case ast.BinOp(op=op, left=left, right=right):
                return arithmetic(
                    _ARITHMETIC.get(type(op), ""), self._operand(left), self._operand(right)
                )
            case ast.Call(func=ast.Name(id=function)) if function not in QUERIES:
                return self._called(function, node)
        raise wrong(f"{shown(ast.unparse(node))} cannot stand there")


def _dotted(node: ast.expr) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else None
