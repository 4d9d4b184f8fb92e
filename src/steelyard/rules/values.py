"""Single values in packs: dates, conditions, names, facts; each read from text or refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    BeforeValidator,
    PlainValidator,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from steelyard.errors import SteelyardError
from steelyard.facts import Basis, Fact, Kind, Value, term
from steelyard.rules.expression import Expression, parse_expression
from steelyard.rules.lines import Path
from steelyard.rules.rendering import check_template

_T = TypeVar("_T")
_ISO_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
TERMS: Final = "terms"
"""The key of the validation context under which a pack's parameters stand, as terms."""


def refusal(what: str, why: str = "", fix: str = "", at: Path = ()) -> PydanticCustomError:
    """Return the error by which a value is refused, with the path to the part at fault."""
    return PydanticCustomError("pack", "{what}", {"what": what, "why": why, "fix": fix, "at": at})


def _reads(read: Callable[[str], _T], expected: str) -> Callable[[object], _T]:
    """Turn a reader that raises `SteelyardError` into a validator that pydantic understands."""

    def validate(value: object) -> _T:
        if not isinstance(value, str):
            raise refusal(f"{expected} is expected here")
        try:
            return read(value)
        except SteelyardError as error:
            raise refusal(error.what, error.why, error.fix) from None

    return validate


def read_day(text: str) -> date:
    """Read `2026-08-02`, and nothing that looks less like a date."""
    try:
        if _ISO_DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise refusal(f"{text!r} is not a date", fix="write it like 2026-08-02")


def _condition(value: object, info: ValidationInfo) -> Expression:
    terms = info.context.get(TERMS) if info.context else None
    return _reads(lambda text: parse_expression(text, terms=terms), "a condition on one line")(
        value
    )


def _role(text: str) -> str:
    choices = term("actor.role").choices
    if text not in choices:
        raise refusal(f"there is no role {text!r}", fix=f"one of {', '.join(choices)}")
    return text


def _facts(value: object) -> tuple[Fact, ...]:
    """Read the facts of a test case: `name: value`, `name: {value, basis}`, or a list of these."""
    if not isinstance(value, dict):
        raise refusal("facts are given as name: value")
    return tuple(fact for name, given in value.items() for fact in _claims(str(name), given))


def _claims(name: str, given: object) -> list[Fact]:
    several = isinstance(given, list) and any(isinstance(item, dict) for item in given)
    return [
        _claim(name, item) for item in (given if isinstance(given, list) and several else [given])
    ]


def _claim(name: str, given: object) -> Fact:
    value, basis = given, "measured"
    if isinstance(given, dict):
        if set(given) - {"value", "basis"} or "value" not in given:
            raise refusal(f"{name} is given as a value, or as value and basis", at=(name,))
        value, basis = given["value"], given.get("basis", basis)
    try:
        return Fact(name, _fact_value(name, value), Basis(str(basis)))
    except SteelyardError as error:
        raise refusal(error.what, error.why, error.fix, at=(name,)) from None
    except ValueError:
        raise refusal(
            f"there is no basis {basis!r}", fix=f"one of {', '.join(Basis)}", at=(name,)
        ) from None


def _fact_value(name: str, value: object) -> Value:
    known = term(name)
    if known.kind is Kind.SET and isinstance(value, list):
        members = frozenset(str(item) for item in value)
        known.check(members)
        return members
    return known.parse("" if value is None else str(value))


def _number(value: object) -> float:
    # YAML 1.1 reads `1e25` as text.
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise refusal(f"{value!r} is not a number", fix="write it like 1e25")


def text_schema(**more: Any) -> WithJsonSchema:
    """Describe a value that is written as text, for the schema that editors read."""
    return WithJsonSchema({"type": "string", **more})


def number_or_day(value: object) -> float | date:
    """Read the value of a parameter: a number or a date."""
    if isinstance(value, str) and _ISO_DATE.fullmatch(value):
        return read_day(value)
    return _number(value)


_NAMED: Final[Mapping[str, Any]] = {"type": "string", "pattern": r"^[a-z0-9_]+(\.[a-z0-9_]+)+$"}

Day = Annotated[
    date,
    BeforeValidator(_reads(read_day, "a date"), json_schema_input_type=date),
]
Condition = Annotated[
    Expression,
    PlainValidator(_condition),
    text_schema(description="A condition over facts, on one line."),
]
Template = Annotated[
    str,
    PlainValidator(_reads(check_template, "a text")),
    text_schema(description="A text, with {fact.name} filled in."),
]
FactName = Annotated[
    str,
    PlainValidator(_reads(lambda name: term(name).name, "a fact's name")),
    WithJsonSchema({**_NAMED, "description": "A name of the vocabulary."}),
]
Places = Annotated[
    tuple[FactName, ...],
    BeforeValidator(
        lambda v: (v,) if isinstance(v, str) else v,
        json_schema_input_type=tuple[FactName, ...] | str,
    ),
]
Role = Annotated[
    str, PlainValidator(_reads(_role, "a role")), text_schema(description="As in actor.role.")
]
Facts = Annotated[
    tuple[Fact, ...],
    PlainValidator(_facts),
    WithJsonSchema({"type": "object", "description": "name: value, or name: {value, basis}"}),
]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=1200)]
Name = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$", max_length=80)
]
Link = Annotated[str, StringConstraints(pattern=r"^https://[!-~]+$", max_length=300)]
