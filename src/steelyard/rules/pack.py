"""Packs: rules as YAML data, with their dates, citations and test cases.

One file holds one pack: an id, a title and rules. A rule without a citation, the day of its last
review and at least one test case does not load, nor does one whose condition names a fact that
does not exist. Every error names the file and the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from enum import StrEnum
from typing import Annotated, Final, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from steelyard.errors import SteelyardError
from steelyard.facts import Basis, Fact, Kind, Value, term
from steelyard.rules.expression import Expression, parse_expression
from steelyard.rules.finding import Severity, State, Verdict
from steelyard.rules.lines import Path
from steelyard.rules.rendering import check_template
from steelyard.rules.tree import every

_T = TypeVar("_T")
_ISO_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
PRACTICE: Final = "practice"
"""The jurisdiction of rules that are no law."""


class Status(StrEnum):
    """How binding a rule is."""

    IN_FORCE = "in_force"
    ADOPTED = "adopted"
    """Law that does not apply yet."""
    SUPERSEDED = "superseded"
    RESCINDED = "rescinded"
    PROPOSED = "proposed"
    SOFT = "soft"
    """Guidance, a code of practice, a principle."""


class Confidence(StrEnum):
    """How well the rule is sourced. A rule of low confidence never yields an error."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


# --- readers of single values -------------------------------------------------------------


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


def _day(text: str) -> date:
    try:
        if _ISO_DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise refusal(f"{text!r} is not a date", fix="write it like 2026-08-02")


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


Day = Annotated[date, BeforeValidator(_reads(_day, "a date"))]
Condition = Annotated[
    Expression, PlainValidator(_reads(parse_expression, "a condition on one line"))
]
Template = Annotated[str, PlainValidator(_reads(check_template, "a text"))]
FactName = Annotated[str, PlainValidator(_reads(lambda name: term(name).name, "a fact's name"))]
Places = Annotated[
    tuple[FactName, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)
]
Role = Annotated[str, PlainValidator(_reads(_role, "a role"))]
Facts = Annotated[tuple[Fact, ...], PlainValidator(_facts)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=600)]
Name = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$", max_length=80)
]
Link = Annotated[str, StringConstraints(pattern=r"^https://[!-~]+$", max_length=300)]


# --- the shape of a pack ------------------------------------------------------------------


class Part(BaseModel):
    """A part of a pack: never changed, and no key of it is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Citation(Part):
    """Where a rule comes from."""

    text: Words
    """The source and the place in it, for a person."""
    link: Link


class Duty(Part):
    """Something that a rule asks for."""

    id: Name
    text: Words
    satisfied_when: Condition
    fix: Words
    """What to do when it is unmet."""
    message: Template = ""
    """What is wrong when it is unmet, where the rule's own message does not say it."""


class Expectation(Part):
    """What a rule should say in a test case."""

    verdict: Verdict
    duties: dict[str, State] = {}


class Case(Part):
    """A test case that a rule carries."""

    name: Words
    facts: Facts
    expect: Expectation
    as_of: Day | None = None
    """The day to ask about; the day of the rule's review unless given."""


class Rule(Part):
    """One rule."""

    id: Name
    title: Words
    """What the rule asks for; neutral, so that it holds whether or not it is met."""
    message: Template = ""
    """What is wrong when a duty is unmet, with `{fact.name}` filled in."""
    jurisdiction: Name = PRACTICE
    status: Status = Status.SOFT
    applies_from: Day | None = None
    enforceable_from: Day | None = None
    until: Day | None = None
    """The last day on which it applies."""
    roles: tuple[Role, ...] = ()
    """Whom it binds, as in `actor.role`; everyone if empty."""
    when: Condition = parse_expression("True")
    duties: tuple[Duty, ...] = ()
    severity: Severity
    confidence: Confidence
    citation: Citation
    reviewed: Day
    location: Places = ()
    """The facts whose evidence gives the finding's location; the first that has any."""
    tags: tuple[Name, ...] = ()
    aliases: tuple[Name, ...] = ()
    """Other ids by which people know it."""
    tests: tuple[Case, ...]

    @property
    def scope(self) -> Expression:
        """Return the condition on facts and roles under which the rule concerns a model."""
        if not self.roles:
            return self.when
        bound = parse_expression(" or ".join(f'"{role}" in actor.role' for role in self.roles))
        return Expression(self.when.text, every(bound.condition, self.when.condition))

    def in_time(self, day: date) -> bool:
        """Tell whether the rule applies on `day` by its own dates."""
        started = self.applies_from is None or self.applies_from <= day
        return started and (self.until is None or day <= self.until)

    @model_validator(mode="after")
    def _consistent(self) -> Rule:
        if not self.tests:
            raise refusal(
                "`tests` is empty", fix="add a case: what facts, what verdict", at=("tests",)
            )
        if self.confidence is Confidence.LOW and self.severity is Severity.ERROR:
            raise refusal("a rule of low confidence is never an error", at=("severity",))
        if self.jurisdiction != PRACTICE:
            for field in ("status", "applies_from"):
                if field not in self.model_fields_set:
                    raise refusal(f"a rule of law states `{field}`")
        duties = [duty.id for duty in self.duties]
        if len(set(duties)) < len(duties):
            raise refusal("two duties have the same id", at=("duties",))
        for index, case in enumerate(self.tests):
            for duty in sorted(set(case.expect.duties) - set(duties)):
                at: Path = ("tests", index, "expect", "duties", duty)
                raise refusal(f"there is no duty {duty!r}", at=at)
        return self


class PackText(Part):
    """A pack as it is written."""

    id: Name
    title: Words
    rules: tuple[Rule, ...]

    @model_validator(mode="after")
    def _not_empty(self) -> PackText:
        if not self.rules:
            raise refusal("`rules` is empty", fix="add a rule", at=("rules",))
        return self
