"""The law of a day: rules with the values that stood then, in the order in which they depend.

Rules may conclude facts that other rules ask about, and may be switched off by exemptions, which
are rules themselves. `rules_on` binds every parameter to its value of the day and sorts the rules
so that each comes after those it rests on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from graphlib import CycleError, TopologicalSorter

from steelyard.errors import PackError
from steelyard.facts import Fact, Interval
from steelyard.rules.expression import PARAMETER, Expression
from steelyard.rules.loading import Pack
from steelyard.rules.pack import Argument, Duty, Rule, Start
from steelyard.rules.tree import bind

Values = Mapping[str, Interval | date]


@dataclass(frozen=True, slots=True)
class BoundStart:
    """A day on which a rule begins, under a condition."""

    day: date | str
    """A day, or the fact that tells it."""
    when: Expression
    conditional: bool
    """Whether it begins then only for some: a transition."""


@dataclass(frozen=True, slots=True)
class BoundRule:
    """A rule with the values of a day."""

    rule: Rule
    pack: Pack
    when: Expression
    applies_from: tuple[BoundStart, ...]
    enforceable_from: tuple[BoundStart, ...]
    arguments: tuple[tuple[Argument, Expression], ...]
    duties: tuple[tuple[Duty, Expression], ...]


@dataclass(frozen=True, slots=True)
class Rulebook:
    """All rules as they stood on a day, each after those that it rests on."""

    day: date
    rules: tuple[BoundRule, ...]
    assumptions: tuple[Fact, ...]
    concluded: Mapping[str, tuple[str, ...]]
    """For each fact that rules conclude, the ids of those rules."""


def rules_on(packs: Iterable[Pack], day: date) -> Rulebook:
    """Return the rules of `packs` as they stood on `day`.

    Raises:
        PackError: If rules rest on each other in a circle, or an exemption does not exist.
    """
    packs = tuple(packs)
    bound = [
        _bound(rule, pack, values, day)
        for pack in packs
        for values in (_values(pack, day),)
        for rule in pack.rules
    ]
    concluded: dict[str, tuple[str, ...]] = {}
    for item in bound:
        if item.rule.concludes:
            known = concluded.get(item.rule.concludes, ())
            concluded[item.rule.concludes] = (*known, item.rule.id)
    assumptions = [fact for pack in packs for fact in pack.assumptions]
    return Rulebook(day, tuple(_sorted(bound, concluded)), tuple(assumptions), concluded)


def _values(pack: Pack, day: date) -> Values:
    found: dict[str, Interval | date] = {}
    for parameter in pack.parameters:
        value = parameter.on(day)
        found[f"{PARAMETER}{parameter.id}"] = (
            value if isinstance(value, date) else Interval.of(value)
        )
    return found


def _bound(rule: Rule, pack: Pack, values: Values, day: date) -> BoundRule:
    def on_day(expression: Expression) -> Expression:
        return Expression(expression.text, bind(expression.condition, values, day))

    def starts(given: Iterable[Start]) -> tuple[BoundStart, ...]:
        return tuple(
            BoundStart(
                start.fact or _start_day(start, values),
                on_day(start.when),
                bool(start.when.names) and start.fact is None,
            )
            for start in given
        )

    return BoundRule(
        rule=rule,
        pack=pack,
        when=on_day(rule.when),
        applies_from=starts(rule.applies_from),
        enforceable_from=starts(rule.enforceable_from),
        arguments=tuple((argument, on_day(argument.when)) for argument in rule.arguments),
        duties=tuple((duty, on_day(duty.satisfied_when)) for duty in rule.duties),
    )


def _start_day(start: Start, values: Values) -> date:
    found = values[f"{PARAMETER}{start.parameter}"] if start.date is None else start.date
    return found if isinstance(found, date) else date.max


def _sorted(bound: list[BoundRule], concluded: Mapping[str, tuple[str, ...]]) -> list[BoundRule]:
    """Sort so that exemptions and conclusions come first, else as the packs have them."""
    by_id = {item.rule.id: item for item in bound}
    order: TopologicalSorter[str] = TopologicalSorter()
    for item in bound:
        rule = item.rule
        for exemption in rule.exemptions:
            if exemption not in by_id:
                raise PackError(
                    f"rule {rule.id}: there is no exemption {exemption!r}",
                    fix="name a rule of this or another pack that is loaded",
                    file=item.pack.file,
                    line=item.pack.line(rule.id, "exemptions"),
                )
        rests_on = [one for name in rule.names for one in concluded.get(name, ())]
        order.add(rule.id, *rests_on, *rule.exemptions)
    try:
        return [by_id[name] for name in order.static_order()]
    except CycleError as error:
        circle = list(error.args[1])
        item = by_id[circle[0]]
        raise PackError(
            f"rules rest on each other in a circle: {' → '.join(circle)}",
            fix="a rule cannot depend on what it concludes",
            file=item.pack.file,
            line=item.pack.line(item.rule.id),
        ) from None
