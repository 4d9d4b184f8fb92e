"""Laws side by side: thresholds, roles, deadlines and exemptions, topic by topic."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from steelyard.rules import Finding, Pack, Parameter, Rule, Topic, Verdict
from steelyard.rules.jurisdictions import covers, jurisdictions


@dataclass(frozen=True, slots=True)
class Entry:
    """What one jurisdiction says on one topic, in one rule or value."""

    jurisdiction: str
    instrument: str
    id: str
    title: str
    status: str
    figure: str
    """A threshold with its comparator and unit; empty if the entry is no threshold."""
    roles: tuple[str, ...]
    starts: date | None
    enforceable: date | None
    deadlines: tuple[str, ...]
    exemptions: tuple[str, ...]
    citation: str
    link: str
    confidence: str
    verdict: str = ""
    """For a given model, what the rule says of it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One topic, with what each jurisdiction says."""

    topic: Topic
    cells: tuple[tuple[str, tuple[Entry, ...]], ...]
    """Jurisdiction and entries, in the order that was asked for; empty where it says nothing."""
    disagreement: str = ""
    """For a given model, where jurisdictions come to different answers."""


@dataclass(frozen=True, slots=True)
class Crosswalk:
    """A comparison as of a day."""

    as_of: date
    jurisdictions: tuple[str, ...]
    rows: tuple[Row, ...]


def crosswalk(
    packs: Iterable[Pack],
    places: Iterable[str] = (),
    *,
    as_of: date,
    findings: Iterable[Finding] | None = None,
) -> Crosswalk:
    """Set laws side by side.

    Args:
        packs: The rules.
        places: Codes of jurisdictions, each with what it lies in; all that have law if empty.
        as_of: The day whose law is compared.
        findings: What the rules say of one model; then disagreements are told.
    """
    packs = tuple(packs)
    verdicts = {finding.rule: finding for finding in findings} if findings is not None else {}
    entries = [entry for pack in packs for entry in _entries(pack, as_of, verdicts)]
    chosen = _chosen(places, {topic_entry[1].jurisdiction for topic_entry in entries})
    rows = []
    for topic in Topic:
        cells = tuple(
            (place, tuple(e for t, e in entries if t is topic and e.jurisdiction == place))
            for place in chosen
        )
        if any(found for _, found in cells):
            rows.append(Row(topic, cells, _disagreement(cells, verdicts)))
    return Crosswalk(as_of, chosen, tuple(rows))


def _chosen(places: Iterable[str], known: set[str]) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(places))
    order = [code for code in jurisdictions() if code in known]
    if not wanted:
        return tuple(order)
    named = [code for code in order if not jurisdictions()[code].everywhere or code in wanted]
    return tuple(code for code in named if covers(wanted, code))


def _entries(pack: Pack, day: date, verdicts: dict[str, Finding]) -> Iterable[tuple[Topic, Entry]]:
    for parameter in pack.parameters:
        users = _users(parameter, pack)
        stands = not users or any(_stands(rule, day) for rule in users)
        if parameter.topic and parameter.values[0].since <= day and stands:
            yield parameter.topic, _of_parameter(parameter, users, pack, day)
    for rule in pack.rules:
        if rule.is_law and rule.topic and _stands(rule, day):
            yield rule.topic, _of_rule(rule, pack, verdicts.get(rule.id))


def _stands(rule: Rule, day: date) -> bool:
    enacted = rule.enacted is None or rule.enacted <= day
    return enacted and (rule.until is None or day <= rule.until)


def _users(parameter: Parameter, pack: Pack) -> list[Rule]:
    """Return the rules whose condition names a parameter."""
    named = re.compile(rf"\bparameter\.{re.escape(parameter.id)}\b")
    return [rule for rule in pack.rules if named.search(rule.when.text)]


def _of_parameter(parameter: Parameter, users: list[Rule], pack: Pack, day: date) -> Entry:
    value = parameter.on(day)
    number = value.isoformat() if isinstance(value, date) else f"{value:,.0f}"
    if not isinstance(value, date) and value >= 1e12:
        number = f"{value:.3g}".replace("e+", "e")
    return Entry(
        jurisdiction=pack.jurisdiction,
        instrument=pack.instrument or pack.title,
        id=parameter.id,
        title=parameter.title,
        status="",
        figure=" ".join(part for part in (parameter.comparator, number, parameter.unit) if part),
        roles=tuple(sorted({role for rule in users for role in rule.roles})),
        starts=None,
        enforceable=None,
        deadlines=(),
        exemptions=(),
        citation=parameter.citation.text,
        link=parameter.citation.link,
        confidence="",
    )


def _of_rule(rule: Rule, pack: Pack, finding: Finding | None) -> Entry:
    def last(starts: Iterable[object]) -> date | None:
        days = [getattr(start, "date", None) for start in starts]
        return next((day for day in reversed(days) if isinstance(day, date)), None)

    verdict = ""
    if finding is not None:
        verdict = (finding.foreseen or finding.verdict).value
    return Entry(
        jurisdiction=rule.jurisdiction,
        instrument=pack.instrument or pack.title,
        id=rule.id,
        title=rule.title,
        status=rule.status.value,
        figure="",
        roles=rule.roles,
        starts=finding.applies_from if finding else last(rule.applies_from),
        enforceable=finding.enforceable_from if finding else last(rule.enforceable_from),
        deadlines=tuple(duty.deadline.text for duty in rule.duties if duty.deadline),
        exemptions=rule.exemptions,
        citation=rule.citation.text,
        link=rule.citation.link,
        confidence=rule.confidence.value,
        verdict=verdict,
    )


def _disagreement(
    cells: Iterable[tuple[str, tuple[Entry, ...]]], verdicts: dict[str, Finding]
) -> str:
    """Say which jurisdictions bind the model on this topic and which do not."""
    if not verdicts:
        return ""
    sides: dict[str, list[str]] = {}
    for place, entries in cells:
        said = {entry.verdict for entry in entries if entry.verdict}
        strongest = next((v.value for v in _STRONGEST if v.value in said), None)
        if strongest is not None:
            sides.setdefault(strongest, []).append(place)
    if len(sides) < 2:
        return ""
    return "; ".join(f"{', '.join(places)}: {_SAID[verdict]}" for verdict, places in sides.items())


_STRONGEST = (
    Verdict.APPLIES,
    Verdict.CONTESTED,
    Verdict.UNDETERMINED,
    Verdict.DOES_NOT_APPLY,
)
_SAID = {
    "applies": "binds",
    "contested": "contested",
    "undetermined": "undetermined",
    "does_not_apply": "does not bind",
}
