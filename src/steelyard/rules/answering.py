"""Answers to conditions: true, false or unknown, and why.

A definite answer names the facts that decided it: all of them where each was needed, the fewest
where one alternative sufficed. An unknown answer names the fewest facts that, with the right
values, would make the condition true: every open part of an `and`, the cheapest open branch of
an `or`. (The choice is made branch by branch; facts that branches share are not weighed.)

Learning more never flips a definite answer, except through `known`, `measured`, `contradicted`,
`low`, `high` and `middle`, which ask about knowledge itself.
"""

from __future__ import annotations

import math
import operator as python
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from steelyard.facts import Basis, FactBook, Interval, Truth, Value, disjoin, negate
from steelyard.rules.expression import Expression
from steelyard.rules.tree import (
    Arithmetic,
    AsOf,
    Bound,
    Certain,
    Comparison,
    Condition,
    Count,
    Every,
    FactValue,
    Flag,
    Literal,
    Negation,
    Operand,
    Parameter,
    Query,
    Some,
    names_in,
)

_Weighed = Value | tuple[Interval, ...]

_AMOUNTS: Final[Mapping[str, Callable[[Interval, Interval], Truth]]] = {
    "==": Interval.equals,
    "!=": lambda a, b: negate(a.equals(b)),
    "<": Interval.less,
    "<=": Interval.at_most,
    ">": Interval.greater,
    ">=": Interval.at_least,
}
_DEFINITE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": python.eq,
    "!=": python.ne,
    "<": python.lt,
    "<=": python.le,
    ">": python.gt,
    ">=": python.ge,
}
_COMBINED: Final[Mapping[str, Callable[[Interval, Interval], Interval]]] = {
    "+": python.add,
    "-": python.sub,
    "*": python.mul,
    "/": python.truediv,
}
_BEYOND: Final = Interval(sys.float_info.max, math.inf)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a condition came to."""

    truth: Truth
    because: tuple[str, ...] = ()
    """The facts that decided a definite answer."""
    missing: tuple[str, ...] = ()
    """The facts that would settle an unknown one: not known yet, or not exactly enough."""


def answer(expression: Expression, book: FactBook) -> Answer:
    """Ask a condition of what is known."""
    return _answer(expression.condition, book)


def _answer(condition: Condition, book: FactBook) -> Answer:
    match condition:
        case Every(parts):
            return _all([_answer(part, book) for part in parts])
        case Some(parts):
            return _any([_answer(part, book) for part in parts])
        case Negation(question):
            inner = _answer(question, book)
            return Answer(negate(inner.truth), inner.because, inner.missing)
        case Certain(value):
            return Answer(value)
        case Flag(name):
            return _weighed(condition, book, _truth(book.value(name)))
        case Query(function, name):
            return _weighed(condition, book, _asked(function, name, book))
        case Comparison(operator, left, right):
            a, b = _value(left, book), _value(right, book)
            truth = None if a is None or b is None else _compare(operator, a, b)
            return _weighed(condition, book, truth)


def _all(answers: list[Answer]) -> Answer:
    against = [a for a in answers if a.truth is False]
    if against:
        return Answer(False, _fewest(a.because for a in against))
    unsettled = [a.missing for a in answers if a.truth is None]
    if unsettled:
        return Answer(None, missing=_union(unsettled))
    return Answer(True, _union(a.because for a in answers))


def _any(answers: list[Answer]) -> Answer:
    in_favor = [a for a in answers if a.truth]
    if in_favor:
        return Answer(True, _fewest(a.because for a in in_favor))
    unsettled = [a.missing for a in answers if a.truth is None]
    if unsettled:
        return Answer(None, missing=_fewest(unsettled))
    return Answer(False, _union(a.because for a in answers))


def _weighed(question: Condition, book: FactBook, truth: Truth) -> Answer:
    names = names_in(question)
    if truth is not None:
        return Answer(truth, because=names)
    unknown = tuple(name for name in names if name not in book)
    inexact = tuple(name for name in names if _is_inexact(book.value(name)))
    return Answer(None, missing=unknown or inexact or names)


def _fewest(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return min(lists, key=len)


def _union(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in lists for name in names))


def _asked(function: str, name: str, book: FactBook) -> Truth:
    match function:
        case "known":
            return name in book
        case "measured":
            fact = book.resolve(name)
            return fact is not None and fact.basis is Basis.MEASURED
        case "contradicted":
            return book.contradiction(name) is not None
        case _:
            members = book.value(name)
            return not members if isinstance(members, frozenset) else None


def _truth(value: Value | None) -> Truth:
    return value if isinstance(value, bool) else None


def _is_inexact(value: Value | None) -> bool:
    return isinstance(value, Interval) and not value.exact


def _value(operand: Operand, book: FactBook) -> _Weighed | None:
    match operand:
        case Literal(value):
            return value
        case FactValue(name):
            return book.value(name)
        case Count(name):
            members = book.value(name)
            return len(members) if isinstance(members, frozenset) else None
        case Bound(function, name):
            known = _amount(book.value(name))
            return None if known is None else Interval.of(getattr(known, function))
        case Arithmetic(operator, left, right):
            return _combine(operator, _value(left, book), _value(right, book))
        case Parameter() | AsOf():
            # Left unbound only where nobody said which day it is.
            return None


def _combine(operator: str, a: _Weighed | None, b: _Weighed | None) -> Interval | date | None:
    if isinstance(a, date):
        return _reckon(operator, a, b)
    left, right = _amount(a), _amount(b)
    if left is None or right is None:
        return None
    try:
        return _COMBINED[operator](left, right)
    except (ZeroDivisionError, OverflowError, ValueError):
        # Division by what may be zero, or bounds past the range of numbers: nothing is known.
        return None


def _reckon(operator: str, day: date, other: _Weighed | None) -> Interval | date | None:
    """Reckon with the calendar: the days between two dates, or a date some whole days away."""
    if isinstance(other, date):
        return Interval.of((day - other).days)
    length = _amount(other)
    if length is None or not length.exact:
        return None
    try:
        away = timedelta(days=length.low)
        return day + away if operator == "+" else day - away
    except OverflowError:
        return None


def _amount(value: _Weighed | None) -> Interval | None:
    if isinstance(value, bool) or not isinstance(value, Interval | int | float):
        return None
    try:
        return Interval.of(value)
    except OverflowError:
        # A whole number past the range of floats: all that arithmetic can use is that it is.
        return _BEYOND


def _compare(operator: str, a: _Weighed, b: _Weighed) -> Truth:
    left, right = _amount(a), _amount(b)
    if left is not None and isinstance(b, tuple):
        return disjoin(left.equals(other) for other in b)
    if left is not None and right is not None:
        return _AMOUNTS[operator](left, right)
    if operator == "in":
        return isinstance(b, frozenset) and a in b
    if isinstance(a, date | str | bool | frozenset) and type(a) is type(b):
        return _DEFINITE[operator](a, b)
    return None
