"""The typed tree that a condition is compiled into.

A `Condition` is a question with a three-valued answer; an `Operand` is a value that a comparison
weighs. `rules.expression` builds trees and checks their types, `rules.answering` walks them.
Negation is pushed down to single questions while a tree is built, so that `not (a and b)` and
`not a or not b` are the same tree and are explained in the same words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from steelyard.facts import Interval


class Sort(StrEnum):
    """What kind of value an operand has."""

    TRUTH = "yes or no"
    AMOUNT = "an amount"
    DATE = "a date"
    TEXT = "a text"
    SET = "a set of texts"
    AMOUNTS = "a list of numbers"


@dataclass(frozen=True, slots=True)
class FactValue:
    """The resolved value of a fact."""

    name: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A value written in the condition itself."""

    value: bool | Interval | date | str | frozenset[str] | tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """How many members a set has."""

    name: str


@dataclass(frozen=True, slots=True)
class Bound:
    """The `low`, `high` or `middle` of what is known of an amount."""

    function: str
    name: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value that the law sets and may change: bound to the one that stands on a day."""

    name: str


@dataclass(frozen=True, slots=True)
class AsOf:
    """The day for which the question is asked."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """A sum, difference, product or quotient of amounts, or of a date and a time in days."""

    operator: str
    left: Operand
    right: Operand


Operand = FactValue | Literal | Count | Bound | Parameter | AsOf | Arithmetic


@dataclass(frozen=True, slots=True)
class Certain:
    """`True` or `False` itself."""

    value: bool


@dataclass(frozen=True, slots=True)
class Flag:
    """A fact that says yes or no."""

    name: str


@dataclass(frozen=True, slots=True)
class Query:
    """A question about what is known of a fact: `known`, `measured`, `contradicted`, `empty`."""

    function: str
    name: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two operands, weighed by one of `== != < <= > >= in`."""

    operator: str
    left: Operand
    right: Operand


Question = Certain | Flag | Query | Comparison


@dataclass(frozen=True, slots=True)
class Negation:
    """The opposite of a single question."""

    question: Question


@dataclass(frozen=True, slots=True)
class Every:
    """True when every part is (`and`)."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """True when at least one part is (`or`)."""

    parts: tuple[Condition, ...]


Condition = Question | Negation | Every | Some


def opposite(condition: Condition) -> Condition:
    """Return the negation of `condition`, with `not` only before single questions."""
    match condition:
        case Every(parts):
            return Some(tuple(opposite(part) for part in parts))
        case Some(parts):
            return Every(tuple(opposite(part) for part in parts))
        case Negation(question):
            return question
        case Certain(value):
            return Certain(not value)
        case _:
            return Negation(condition)


def every(*parts: Condition) -> Condition:
    """Join `parts` by `and`; none is true, one is itself."""
    if not parts:
        return Certain(True)
    return parts[0] if len(parts) == 1 else Every(parts)


def bind(condition: Condition, values: Mapping[str, Interval | date], day: date) -> Condition:
    """Put the values that stand on `day` in the place of parameters and of the day itself."""
    match condition:
        case Every(parts):
            return Every(tuple(bind(part, values, day) for part in parts))
        case Some(parts):
            return Some(tuple(bind(part, values, day) for part in parts))
        case Negation(Comparison() as question):
            return Negation(_bind_comparison(question, values, day))
        case Comparison():
            return _bind_comparison(condition, values, day)
        case _:
            return condition


def _bind_comparison(
    asked: Comparison, values: Mapping[str, Interval | date], day: date
) -> Comparison:
    left, right = (_bind_operand(side, values, day) for side in (asked.left, asked.right))
    return Comparison(asked.operator, left, right)


def _bind_operand(operand: Operand, values: Mapping[str, Interval | date], day: date) -> Operand:
    match operand:
        case AsOf():
            return Literal(day)
        case Parameter(name):
            return Literal(values[name])
        case Arithmetic(operator, left, right):
            sides = _bind_operand(left, values, day), _bind_operand(right, values, day)
            return Arithmetic(operator, *sides)
        case _:
            return operand


def names_in(node: Condition | Operand) -> tuple[str, ...]:
    """Name the facts that `node` mentions, each once, in the order of mention."""
    match node:
        case FactValue(name) | Count(name) | Flag(name) | Query(_, name) | Bound(_, name):
            return (name,)
        case Arithmetic(_, left, right) | Comparison(_, left, right):
            found = names_in(left) + names_in(right)
        case Negation(question):
            return names_in(question)
        case Every(parts) | Some(parts):
            found = tuple(name for part in parts for name in names_in(part))
        case _:
            return ()
    return tuple(dict.fromkeys(found))
