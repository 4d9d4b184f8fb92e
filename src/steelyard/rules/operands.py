"""Operands of conditions: which values they have, and what can be done with two of them."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

from steelyard.facts import Interval
from steelyard.rules.syntax import HOURS, wrong
from steelyard.rules.tree import (
    Arithmetic,
    Comparison,
    Condition,
    Literal,
    Operand,
    Sort,
    opposite,
)

_DAYS: Final = "days"


@dataclass(frozen=True, slots=True)
class Typed:
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


def literal(value: object) -> Typed:
    """Type a value that is written in the condition."""
    if isinstance(value, bool):
        return Typed(Literal(value), Sort.TRUTH, str(value))
    if isinstance(value, int | float) and value < float("inf"):
        return Typed(Literal(Interval.of(value)), Sort.AMOUNT, f"{value:g}")
    if isinstance(value, str):
        return Typed(Literal(value), Sort.TEXT, repr(value))
    raise wrong(f"{value!r} is not a value that facts can have")


def collection(members: list[ast.expr]) -> Typed:
    """Type a list of texts or of numbers."""
    values = [member.value if isinstance(member, ast.Constant) else None for member in members]
    texts = [value for value in values if isinstance(value, str)]
    if texts and len(texts) == len(values):
        return Typed(Literal(frozenset(texts)), Sort.SET, "{" + ", ".join(map(repr, texts)) + "}")
    numbers = [literal(v).operand for v in values if isinstance(v, int | float)]
    amounts = [n.value for n in numbers if isinstance(n, Literal) and isinstance(n.value, Interval)]
    if amounts and len(amounts) == len(values):
        return Typed(Literal(tuple(amounts)), Sort.AMOUNTS, "a list of numbers")
    raise wrong("a list holds either texts or numbers, at least one", fix="for none: empty(name)")


def day(node: ast.Call) -> Typed:
    """Type `date("2026-08-02")`."""
    match node:
        case ast.Call(args=[ast.Constant(value=str() as text)], keywords=[]):
            pass
        case _:
            raise wrong("date(...) takes one text", fix='date("2026-08-02")')
    try:
        return Typed(Literal(date.fromisoformat(text)), Sort.DATE, f'date("{text}")')
    except ValueError as error:
        raise wrong(f"{text!r} is not a date", why=str(error), fix='date("2026-08-02")') from None


def length(function: str, node: ast.Call) -> Typed:
    """Type a time such as `days(14)`."""
    match node:
        case ast.Call(args=[ast.Constant(value=int() | float() as number)], keywords=[]) if (
            not isinstance(number, bool) and 0 < number < 1e6
        ):
            length = Interval.of(number * HOURS[function] / HOURS["days"])
            return Typed(Literal(length), Sort.AMOUNT, f"{function}({number:g})", unit=_DAYS)
    raise wrong(f"{function}(...) takes one number", fix=f"{function}(3)")


def arithmetic(operator: str, left: Typed, right: Typed) -> Typed:
    """Type a sum, difference, product or quotient."""
    if not operator:
        raise wrong("only + - * / combine amounts")
    if Sort.DATE in (left.sort, right.sort):
        return _calendar(operator, left, right)
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
    return Typed(operand, Sort.AMOUNT, f"{left.label} {operator} {right.label}", unit=unit)


def _calendar(operator: str, left: Typed, right: Typed) -> Typed:
    """Type a date and a time, or the time between two dates."""
    operand = Arithmetic(operator, left.operand, right.operand)
    label = f"{left.label} {operator} {right.label}"
    if operator == "-" and left.sort is right.sort is Sort.DATE:
        return Typed(operand, Sort.AMOUNT, label, unit=_DAYS)
    in_days = right.sort is Sort.AMOUNT and right.unit == _DAYS
    if operator in "+-" and left.sort is Sort.DATE and in_days:
        return Typed(operand, Sort.DATE, label)
    raise wrong(
        f"{label} has no meaning",
        fix="a date takes a time, as in as_of - days(14); two dates take a minus",
    )


def comparison(operator: str, left: Typed, right: Typed) -> Condition:
    """Build a comparison of two operands that can be compared."""
    if not operator:
        raise wrong(
            f"{left.label} and {right.label} are compared by a sign that has no meaning here"
        )
    if operator == "not in":
        return opposite(comparison("in", left, right))
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


def _same_unit(operator: str, left: Typed, right: Typed) -> None:
    if left.unit and right.unit and left.unit != right.unit:
        raise wrong(
            f"{left.label} is in {left.unit}, {right.label} in {right.unit}",
            fix=f"{operator} takes two amounts of one unit",
        )


def _choices_exist(fact: Typed, written: Typed) -> None:
    if fact.choices:
        for text in sorted(written.literals - set(fact.choices)):
            raise wrong(
                f"{fact.label} is never {text!r}",
                why=f"it is one of {', '.join(fact.choices)}",
                fix=suggest(text, fact.choices),
            )


def suggest(name: str, names: Iterable[str]) -> str:
    """Say which names are nearest to one that does not exist."""
    near = difflib.get_close_matches(name, list(names), n=3)
    return f"did you mean {' or '.join(near)}?" if near else "all names: steelyard facts"
