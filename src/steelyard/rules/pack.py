"""Packs: rules as YAML data, with their dates, citations and test cases.

One file holds one pack: an instrument or practice, the values that it sets, and its rules. A rule
without a citation, the day of its last review and at least one test case does not load, nor does
one whose condition names a fact that does not exist. Every error names the file and the line.

Packs are bitemporal: `enacted` and `since` say from which day a text or a value stands in the
law, `applies_from` and its companions what that text says about its own application.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import cached_property
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from steelyard.facts import Kind, Term, term
from steelyard.rules.deadline import Deadline
from steelyard.rules.expression import PARAMETER, Expression, parse_expression
from steelyard.rules.finding import (
    Certainty,
    Confidence,
    Severity,
    Side,
    Standing,
    State,
    Status,
    Verdict,
)
from steelyard.rules.lines import Path
from steelyard.rules.topics import Topic
from steelyard.rules.tree import names_in
from steelyard.rules.values import (
    Condition,
    Day,
    FactName,
    Facts,
    Link,
    Name,
    Places,
    Role,
    Template,
    Words,
    number_or_day,
    refusal,
)

PRACTICE: Final = "practice"
"""The jurisdiction of rules that are no law."""
_MEASURE: Final = "measures."


class Part(BaseModel):
    """A part of a pack: never changed, and no key of it is unknown."""

    # Built when a pack is read: as a part of the pack, once, and not for each class at import.
    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True
    )


class Citation(Part):
    """Where a rule comes from."""

    text: Words
    """The source and the place in it, for a person."""
    link: Link


class DatedValue(Part):
    """What a parameter is from some day on."""

    since: Day
    """The day from which this value stands in the law."""
    value: Annotated[
        float | date, BeforeValidator(number_or_day, json_schema_input_type=float | str)
    ]


class Parameter(Part):
    """A value that the law sets and may change, or that several rules share.

    Conditions name it `parameter.<id>`; a later value replaces an earlier one.
    """

    id: Name
    title: Words
    values: tuple[DatedValue, ...]
    citation: Citation
    unit: str = ""
    comparator: str = ""
    """How the law compares with it: `>` or `>=`."""
    topic: Topic | None = None

    def on(self, day: date) -> float | date:
        """Return the value that stands on `day`; before the first, the first."""
        standing = [item.value for item in self.values if item.since <= day]
        return standing[-1] if standing else self.values[0].value

    @property
    def term(self) -> Term:
        """Describe it as conditions see it."""
        dated = isinstance(self.values[0].value, date)
        kind = Kind.DATE if dated else Kind.QUANTITY
        return Term(f"{PARAMETER}{self.id}", kind, self.title, self.title, self.unit)

    @model_validator(mode="after")
    def _consistent(self) -> Parameter:
        if not self.values:
            raise refusal("`values` is empty", fix="add {since, value}", at=("values",))
        days = [item.since for item in self.values]
        if days != sorted(set(days)):
            raise refusal(
                "the values are not in the order of their days",
                fix="the earliest comes first",
                at=("values",),
            )
        if len({isinstance(item.value, date) for item in self.values}) > 1:
            raise refusal(
                "the values are numbers and dates",
                fix="one kind for each parameter",
                at=("values",),
            )
        if self.comparator not in ("", ">", ">=", "<", "<="):
            raise refusal(
                f"{self.comparator!r} compares nothing", fix="one of > >= < <=", at=("comparator",)
            )
        return self


class Assumption(Part):
    """What the law takes as given until something better is known."""

    fact: FactName
    value: object
    reason: Words


class Start(Part):
    """A day on which something begins, perhaps only under a condition."""

    date: Day | None = None
    parameter: Name | None = None
    """A date parameter of the pack, instead of a date."""
    fact: FactName | None = None
    """A date fact, instead: the day of an event such as placing on the market."""
    when: Condition = parse_expression("True")
    reason: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Start:
        if sum(day is not None for day in (self.date, self.parameter, self.fact)) != 1:
            raise refusal("a start has a date, a parameter or a fact", fix="keep one of them")
        if self.fact is not None and term(self.fact).kind is not Kind.DATE:
            raise refusal(f"{self.fact} is not a date", fix="name a fact of kind date")
        return self


def _starts(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.startswith(PARAMETER):
        return ({"parameter": value.removeprefix(PARAMETER)},)
    return ({"date": value},)


Starts = Annotated[
    tuple[Start, ...],
    BeforeValidator(_starts, json_schema_input_type=tuple[Start, ...] | str),
]
"""Days in the order in which they are tried: the first whose condition holds is the one."""


class Argument(Part):
    """A reason for or against the answer that a rule gives."""

    side: Side
    when: Condition
    text: Words
    contests: bool = False
    """Where it holds, the answer is contested, unless it is no."""


class Duty(Part):
    """Something that a rule asks for."""

    id: Name
    text: Words
    satisfied_when: Condition
    fix: Words
    """What to do when it is unmet."""
    message: Template = ""
    """What is wrong when it is unmet, where the rule's own message does not say it."""
    deadline: Deadline | None = None
    action: FactName | None = None
    """The measure by which a plan fulfills it; the first that the condition names, if not given."""

    @property
    def measure(self) -> str | None:
        """Name the measure that fulfills it, if one does."""
        named = (n for n in self.satisfied_when.names if n.startswith(_MEASURE))
        return self.action or next(named, None)


class Expectation(Part):
    """What a rule should say in a test case. Only what is given is compared."""

    verdict: Verdict
    duties: dict[str, State] = {}
    standing: Standing | None = None
    foreseen: Verdict | None = None
    certainty: Certainty | None = None
    exempted_by: str | None = None
    due: dict[str, Day] = {}
    facts: Facts = ()
    """What is concluded or derived."""
    missing: tuple[FactName, ...] = ()
    """Facts that must be among those that would settle the answer."""


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
    enacted: Day | None = None
    """The day from which the text stands: publication or signature, or the day on which an
    amendment took effect. Before it there is no such rule."""
    applies_from: Starts = ()
    enforceable_from: Starts = ()
    until: Day | None = None
    """The last day on which it stands."""
    roles: tuple[Role, ...] = ()
    """Whom it binds, as in `actor.role`; everyone if empty."""
    when: Condition = parse_expression("True")
    exemptions: tuple[Name, ...] = ()
    """Rules that, where they apply, keep this one from applying."""
    certainty: Certainty = Certainty.DEFINITE
    concludes: FactName | None = None
    """A yes-or-no fact that the answer to `when` settles, for other rules to use."""
    arguments: tuple[Argument, ...] = ()
    duties: tuple[Duty, ...] = ()
    penalty: str = ""
    topic: Topic | None = None
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
    def is_law(self) -> bool:
        """Tell a rule of a jurisdiction from good practice."""
        return self.jurisdiction != PRACTICE

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Name the facts that its conditions mention, each once."""
        return tuple(
            dict.fromkeys(name for part in self.conditions for name in names_in(part.condition))
        )

    @property
    def conditions(self) -> Iterable[Expression]:
        """Yield every condition in it."""
        yield self.when
        yield from (start.when for start in (*self.applies_from, *self.enforceable_from))
        yield from (argument.when for argument in self.arguments)
        yield from (duty.satisfied_when for duty in self.duties)

    @model_validator(mode="after")
    def _consistent(self) -> Rule:
        if not self.tests:
            raise refusal(
                "`tests` is empty", fix="add a case: what facts, what verdict", at=("tests",)
            )
        if self.confidence is Confidence.LOW and self.severity is Severity.ERROR:
            raise refusal(
                "a rule of low confidence is never an error",
                fix="warning or note",
                at=("severity",),
            )
        if self.concludes and term(self.concludes).kind is not Kind.BOOL:
            raise refusal(
                f"{self.concludes} is not a yes or no",
                fix="conclude a fact of kind bool",
                at=("concludes",),
            )
        if self.status is Status.PRINCIPLE and self.severity is not Severity.NOTE:
            raise refusal("a principle is a note: it is documented or not", at=("severity",))
        duties = [duty.id for duty in self.duties]
        if len(set(duties)) < len(duties):
            raise refusal("two duties have the same id", fix="rename one", at=("duties",))
        for index, case in enumerate(self.tests):
            for key, given in (("duties", case.expect.duties), ("due", case.expect.due)):
                for duty in sorted(set(given) - set(duties)):
                    at: Path = ("tests", index, "expect", key, duty)
                    raise refusal(
                        f"there is no duty {duty!r}", fix=f"one of {', '.join(duties)}", at=at
                    )
        return self


class PackText(Part):
    """A pack as it is written."""

    id: Name
    title: Words
    instrument: str = ""
    """The act, code or guidance that the rules come from."""
    jurisdiction: Name = PRACTICE
    """That of every rule that states none of its own."""
    parameters: tuple[Parameter, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    rules: tuple[Rule, ...]

    @model_validator(mode="after")
    def _consistent(self) -> PackText:
        if not self.rules:
            raise refusal("`rules` is empty", fix="add a rule", at=("rules",))
        parameters = {parameter.id: parameter for parameter in self.parameters}
        if len(parameters) < len(self.parameters):
            raise refusal("two parameters have the same id", fix="rename one", at=("parameters",))
        for index, rule in enumerate(self.rules):
            self._check_law(rule, index)
            for start in (*rule.applies_from, *rule.enforceable_from):
                named = parameters.get(start.parameter or "")
                if start.parameter and (named is None or named.term.kind is not Kind.DATE):
                    at: Path = ("rules", index, "applies_from")
                    raise refusal(
                        f"there is no date parameter {start.parameter!r}",
                        fix="add it to `parameters`, with dates as values",
                        at=at,
                    )
        return self

    def _check_law(self, rule: Rule, index: int) -> None:
        place = rule.jurisdiction if "jurisdiction" in rule.model_fields_set else self.jurisdiction
        if place == PRACTICE:
            return
        for field in ("status", "enacted", "topic"):
            if field not in rule.model_fields_set:
                raise refusal(f"a rule of law states `{field}`", at=("rules", index))
        dated = rule.status in (Status.SOFT, Status.PRINCIPLE, Status.PROPOSED)
        if not dated and "applies_from" not in rule.model_fields_set:
            raise refusal("a rule of law states `applies_from`", at=("rules", index))
