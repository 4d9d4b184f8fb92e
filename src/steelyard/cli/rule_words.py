"""A rule in words, for `rules show` and `explain`, and as data for `--format json`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steelyard.rules import Pack, Parameter, Rule
    from steelyard.rules.pack import Start

_WIDTH = 78
_INDENT = 14


def state_on(rule: Rule, pack: Pack, day: date) -> str:
    """Say where a rule stands on a day, whatever the model."""
    from steelyard.rules import Status

    if not rule.is_law:
        return "practice"
    if rule.enacted is not None and day < rule.enacted:
        return "not enacted"
    if rule.until is not None and rule.until < day:
        return f"ended {rule.until}"
    if rule.status in (Status.PROPOSED, Status.PRINCIPLE, Status.SOFT):
        return rule.status.value
    starts = [start_day(start, pack, day) for start in rule.applies_from]
    if starts and starts[-1] > day:
        return f"from {starts[-1]}"
    ends = [start_day(start, pack, day) for start in rule.enforceable_from]
    return "enforceable" if ends and ends[-1] <= day else "applies"


def start_day(start: Start, pack: Pack, day: date) -> date:
    """Return the day of a start as the law of `day` has it; the first day of all for an event."""
    if start.fact is not None:
        return date.min
    if start.date is not None:
        return start.date
    found = next(p for p in pack.parameters if p.id == start.parameter).on(day)
    return found if isinstance(found, date) else date.max


def describe_rule(pack: Pack, rule: Rule, day: date) -> Iterable[str]:
    """Describe a rule for a person, line by line."""
    yield f"{rule.id}  {rule.title}"
    yield ""
    yield f"  severity    {rule.severity}, confidence {rule.confidence}"
    yield from wrapped("from", f"{pack.title} ({rule.jurisdiction}, {rule.status})")
    yield from wrapped("source", rule.citation.text)
    yield f"              {rule.citation.link}"
    yield f"  reviewed    {rule.reviewed}"
    yield from _times(pack, rule, day)
    if rule.roles:
        yield from wrapped("binds", ", ".join(rule.roles))
    yield from wrapped("applies if", rule.when.text)
    yield from _parameters(pack, rule, day)
    yield from _answer(rule)
    for duty in rule.duties:
        yield ""
        yield from wrapped("duty", duty.text)
        yield from wrapped("met if", duty.satisfied_when.text)
        if duty.deadline:
            yield from wrapped("deadline", duty.deadline.text)
        yield from wrapped("fix", duty.fix)


def _times(pack: Pack, rule: Rule, day: date) -> Iterable[str]:
    if rule.is_law:
        yield from wrapped("state", f"{state_on(rule, pack, day)}, on {day}")
    if rule.enacted is not None:
        yield f"  enacted     {rule.enacted}"
    for label, starts in (("applies", rule.applies_from), ("enforced", rule.enforceable_from)):
        for start in starts:
            when = f" if {start.when.text}" if start.when.names else ""
            why = f" ({start.reason})" if start.reason else ""
            begins = start.fact or start_day(start, pack, day)
            yield from wrapped(label, f"from {begins}{when}{why}")
    if rule.until is not None:
        yield f"  until       {rule.until}"


def _answer(rule: Rule) -> Iterable[str]:
    """Describe what makes the answer, beside the condition."""
    if rule.exemptions:
        yield from wrapped("unless", ", ".join(rule.exemptions))
    if rule.concludes:
        yield from wrapped("concludes", f"{rule.concludes} ({rule.certainty})")
    for argument in rule.arguments:
        contests = ", contested" if argument.contests else ""
        yield from wrapped(str(argument.side), f"{argument.text} If {argument.when.text}{contests}")
    if rule.penalty:
        yield from wrapped("penalty", rule.penalty)


def _parameters(pack: Pack, rule: Rule, day: date) -> Iterable[str]:
    text = " ".join(condition.text for condition in rule.conditions)
    for parameter in pack.parameters:
        if f"parameter.{parameter.id}" in text:
            yield from wrapped("where", f"parameter.{parameter.id} = {_value(parameter, day)}")


def _value(parameter: Parameter, day: date) -> str:
    value = parameter.on(day)
    if isinstance(value, date):
        return value.isoformat()
    return f"{value:g} {parameter.unit}".replace("e+", "e").strip()


def describe_tests(rule: Rule) -> Iterable[str]:
    """Describe a rule's test cases, line by line."""
    from steelyard.rules.rendering import show

    for case in rule.tests:
        facts = "; ".join(f"{fact.name} {show(fact.value)}" for fact in case.facts)
        day = f" on {case.as_of}" if case.as_of else ""
        yield from wrapped("test", f"{case.name}: {case.expect.verdict}{day}. {facts}")


def summary(rule: Rule, pack: Pack, day: date) -> Mapping[str, Any]:
    """Return a rule as data."""
    return {
        "id": rule.id,
        "title": rule.title,
        "jurisdiction": rule.jurisdiction,
        "instrument": pack.instrument or pack.title,
        "pack": pack.id,
        "status": rule.status.value,
        "state": state_on(rule, pack, day),
        "enacted": rule.enacted.isoformat() if rule.enacted else None,
        "applies_from": [_start(start, pack, day) for start in rule.applies_from],
        "enforceable_from": [_start(start, pack, day) for start in rule.enforceable_from],
        "until": rule.until.isoformat() if rule.until else None,
        "roles": list(rule.roles),
        "when": rule.when.text,
        "parameters": {
            f"parameter.{p.id}": _value(p, day)
            for p in pack.parameters
            if f"parameter.{p.id}" in " ".join(c.text for c in rule.conditions)
        },
        "exemptions": list(rule.exemptions),
        "concludes": rule.concludes,
        "certainty": rule.certainty.value,
        "duties": [
            {
                "id": duty.id,
                "text": duty.text,
                "satisfied_when": duty.satisfied_when.text,
                "deadline": duty.deadline.text if duty.deadline else None,
                "measure": duty.measure,
                "fix": duty.fix,
            }
            for duty in rule.duties
        ],
        "penalty": rule.penalty or None,
        "topic": rule.topic.value if rule.topic else None,
        "severity": rule.severity.value,
        "confidence": rule.confidence.value,
        "citation": rule.citation.text,
        "link": rule.citation.link,
        "reviewed": rule.reviewed.isoformat(),
        "tests": len(rule.tests),
    }


def _start(start: Start, pack: Pack, day: date) -> Mapping[str, Any]:
    return {
        "date": None if start.fact else start_day(start, pack, day).isoformat(),
        "fact": start.fact,
        "when": start.when.text if start.when.names else None,
        "reason": start.reason or None,
    }


def wrapped(label: str, text: str) -> Iterable[str]:
    """Write a label and a text, folded under it."""
    lines = textwrap.wrap(text, _WIDTH - _INDENT, break_on_hyphens=False) or [""]
    yield f"  {label:10}  {lines[0]}" if len(label) <= 10 else f"  {label}  {lines[0]}"
    for line in lines[1:]:
        yield f"{'':{_INDENT}}{line}"
