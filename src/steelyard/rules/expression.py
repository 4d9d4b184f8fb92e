"""Conditions: one line in a small, safe part of Python's expression syntax.

`parse_expression` reads a line such as `weights.public and training.compute > 1e25`, checks every
name and type against the vocabulary, and returns a typed tree. Three gates stand before the tree:
a scanner that knows only the few tokens below, bounds on length, depth and size, and a list of
the node types that may occur. Nothing is ever evaluated by Python.

Syntax: `and or not`, `== != < <= > >= in`, chains of them, names of facts, numbers, texts, `True`,
`False`, `{...}`, `+ - * /` on amounts, and `known(name)`, `measured(name)`,
`contradicted(name)`, `empty(name)`, `count(name)`, `date("2026-08-02")`. On sets `<=` means
"is part of".
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from steelyard.errors import PackError
from steelyard.facts import Interval, Kind, Term, vocabulary
from steelyard.rules.syntax import FUNCTIONS, QUERIES, SYNTAX, read, shown, wrong
from steelyard.rules.tree import (
    Arithmetic,
    Certain,
    Comparison,
    Condition,
    Count,
    Every,
    FactValue,
    Flag,
    Literal,
    Operand,
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
class _Typed:
    """An operand with what is known of its values before any fact is."""

    operand: Operand
    sort: Sort
    label: str
    choices: tuple[str, ...] = ()
    unit: str | None = None

    @property
    def literals(self) -> frozenset[str]:
        """Return the texts that are written here, none for a fact."""
        value = self.operand.value if isinstance(self.operand, Literal) else None
        if isinstance(value, str):
            return frozenset({value})
        return value if isinstance(value, frozenset) else frozenset()


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
            _comparison(_COMPARISONS.get(type(op), ""), left, right)
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

    def _argument(self, function: str, node: ast.Call) -> Term:
        if len(node.args) != 1 or node.keywords:
            raise wrong(f"{function}(...) takes one argument", fix=SYNTAX)
        return self._term(node.args[0], f"{function}(...) takes the name of a fact")

    def _term(self, node: ast.expr, otherwise: str) -> Term:
        name = _dotted(node)
        if name is None:
            raise wrong(otherwise)
        if name not in self.terms:
            raise wrong(f"there is no fact named {name!r}", fix=_suggest(name, self.terms))
        return self.terms[name]

    def _operand(self, node: ast.expr) -> _Typed:
        match node:
            case ast.Constant(value=value):
                return _literal(value)
            case ast.Name() | ast.Attribute():
                term = self._term(node, "only names of facts may have dots")
                return _Typed(
                    FactValue(term.name),
                    _SORTS[term.kind],
                    term.name,
                    term.choices,
                    term.unit or None,
                )
            case ast.Set(elts=members) | ast.List(elts=members) | ast.Tuple(elts=members):
                return _collection(members)
            case ast.BinOp(op=op, left=left, right=right):
                return _arithmetic(
                    _ARITHMETIC.get(type(op), ""), self._operand(left), self._operand(right)
                )
            case ast.Call(func=ast.Name(id="date")):
                return _date(node)
            case ast.Call(func=ast.Name(id="count")):
                term = self._argument("count", node)
                if term.kind is not Kind.SET:
                    raise wrong(f"count({term.name}): {term.name} is not a set")
                return _Typed(Count(term.name), Sort.AMOUNT, f"count({term.name})")
            case ast.Call(func=ast.Name(id=function)) if function not in QUERIES:
                raise wrong(f"there is no function {function!r}", fix=_suggest(function, FUNCTIONS))
        raise wrong(f"{shown(ast.unparse(node))} cannot stand there")


def _dotted(node: ast.expr) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else None


def _literal(value: object) -> _Typed:
    if isinstance(value, bool):
        return _Typed(Literal(value), Sort.TRUTH, str(value))
    if isinstance(value, int | float) and value < float("inf"):
        return _Typed(Literal(Interval.of(value)), Sort.AMOUNT, f"{value:g}")
    if isinstance(value, str):
        return _Typed(Literal(value), Sort.TEXT, repr(value))
    raise wrong(f"{value!r} is not a value that facts can have")


def _collection(members: list[ast.expr]) -> _Typed:
    values = [member.value if isinstance(member, ast.Constant) else None for member in members]
    texts = [value for value in values if isinstance(value, str)]
    if texts and len(texts) == len(values):
        return _Typed(Literal(frozenset(texts)), Sort.SET, "{" + ", ".join(map(repr, texts)) + "}")
    numbers = [_literal(v).operand for v in values if isinstance(v, int | float)]
    amounts = [n.value for n in numbers if isinstance(n, Literal) and isinstance(n.value, Interval)]
    if amounts and len(amounts) == len(values):
        return _Typed(Literal(tuple(amounts)), Sort.AMOUNTS, "a list of numbers")
    raise wrong("a list holds either texts or numbers, at least one", fix="for none: empty(name)")


def _date(node: ast.Call) -> _Typed:
    match node:
        case ast.Call(args=[ast.Constant(value=str() as text)], keywords=[]):
            pass
        case _:
            raise wrong("date(...) takes one text", fix='date("2026-08-02")')
    try:
        return _Typed(Literal(date.fromisoformat(text)), Sort.DATE, f'date("{text}")')
    except ValueError as error:
        raise wrong(f"{text!r} is not a date", why=str(error), fix='date("2026-08-02")') from None


def _arithmetic(operator: str, left: _Typed, right: _Typed) -> _Typed:
    if not operator:
        raise wrong("only + - * / combine amounts")
    for side in (left, right):
        if side.sort is not Sort.AMOUNT:
            raise wrong(f"{side.label} is {side.sort}; {operator} combines amounts")
    if operator in "+-":
        _same_unit(operator, left, right)
        unit = left.unit or right.unit
    else:
        scaled = isinstance(right.operand, Literal)
        unit = left.unit if scaled else None
        if operator == "*" and isinstance(left.operand, Literal):
            unit = right.unit
    operand = Arithmetic(operator, left.operand, right.operand)
    return _Typed(operand, Sort.AMOUNT, f"{left.label} {operator} {right.label}", unit=unit)


def _comparison(operator: str, left: _Typed, right: _Typed) -> Condition:
    if not operator:
        raise wrong(
            f"{left.label} and {right.label} are compared by a sign that has no meaning here"
        )
    if operator == "not in":
        return opposite(_comparison("in", left, right))
    pair = left.sort, right.sort
    if operator == "in":
        if pair not in {(Sort.TEXT, Sort.SET), (Sort.AMOUNT, Sort.AMOUNTS)}:
            raise wrong(
                f"{left.label} is {left.sort} and cannot be in {right.label}, {right.sort}",
                fix='write "text" in a.set, or a.text in {"one", "other"}',
            )
    elif left.sort is not right.sort or left.sort is Sort.AMOUNTS:
        raise wrong(
            f"{left.label} is {left.sort}, {right.label} is {right.sort}; they cannot be compared"
        )
    elif operator not in ("==", "!=") and left.sort in (Sort.TEXT, Sort.TRUTH):
        raise wrong(f"{left.label} is {left.sort}, which has no order", fix="use == or in")
    _same_unit(operator, left, right)
    _choices_exist(left, right)
    _choices_exist(right, left)
    return Comparison(operator, left.operand, right.operand)


def _same_unit(operator: str, left: _Typed, right: _Typed) -> None:
    if left.unit and right.unit and left.unit != right.unit:
        raise wrong(
            f"{left.label} is in {left.unit}, {right.label} in {right.unit}",
            fix=f"{operator} takes two amounts of one unit",
        )


def _choices_exist(fact: _Typed, written: _Typed) -> None:
    if fact.choices:
        for text in sorted(written.literals - set(fact.choices)):
            raise wrong(
                f"{fact.label} is never {text!r}",
                why=f"it is one of {', '.join(fact.choices)}",
                fix=_suggest(text, fact.choices),
            )


def _suggest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=3)
    return f"did you mean {' or '.join(near)}?" if near else "all names: steelyard facts"
