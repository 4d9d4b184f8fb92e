"""What a report for people says about law: what binds, what will, what is open, what does not.

The reader's own rules come first, by jurisdiction; those that do not concern them are one line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

from steelyard.facts import Basis, FactBook
from steelyard.reports.claims import fact_text
from steelyard.reports.text import counted, plain
from steelyard.rules import Certainty, DutyResult, Finding, Standing, State, Verdict

_TOLD: Final = frozenset({"actor.role"})
"""Assumptions that are always told."""


@dataclass(frozen=True, slots=True)
class DutyLine:
    """One duty, for a person."""

    text: str
    state: State
    deadline: str


@dataclass(frozen=True, slots=True)
class LawLine:
    """One rule, for a person."""

    jurisdiction: str
    rule: str
    title: str
    dates: str
    certainty: str
    """`presumed` or `indicated`; empty where the answer is definite."""
    state: State
    """Unmet where a duty is, unknown where one is open, else met."""
    duties: tuple[DutyLine, ...]
    reasons: tuple[str, ...] = ()
    """What speaks for and against a contested answer."""
    penalty: str = ""


@dataclass(frozen=True, slots=True)
class LawOutline:
    """Everything that a report for people says about law."""

    whom: str
    """For whom the law was asked: `provider in eu, us-ca`."""
    classed: tuple[str, ...]
    """What the model is in the terms of law: above a threshold, general-purpose, exempt."""
    binding: tuple[LawLine, ...]
    coming: tuple[LawLine, ...]
    contested: tuple[LawLine, ...]
    undetermined: str
    """One line: how many rules wait for how many answers."""
    elsewhere: str
    """One line: what does not bind."""
    exempt: tuple[str, ...]
    """Which exemption frees from which rules."""
    principles: tuple[str, ...]
    watched: tuple[str, ...]
    """Proposals that would bind."""
    assumed: tuple[str, ...]
    """What was assumed and decided something that binds or may bind."""


def law_outline(findings: Iterable[Finding], book: FactBook) -> LawOutline | None:
    """Arrange what law says; None where nobody asked about law."""
    law = [finding for finding in findings if finding.is_law]
    if not law:
        return None
    ruling = [finding for finding in law if not finding.is_principle]
    binding = [f for f in ruling if f.verdict is Verdict.APPLIES]
    coming = [
        f for f in ruling if f.foreseen is Verdict.APPLIES and f.standing is not Standing.PROPOSED
    ]
    contested = [f for f in ruling if Verdict.CONTESTED in (f.verdict, f.foreseen)]
    return LawOutline(
        whom=_whom(book),
        classed=tuple(
            _classed(f) for f in _sorted(binding) if f.concludes and f.topic != "exemption"
        ),
        binding=tuple(_line(f) for f in _sorted(binding) if f.duties),
        coming=tuple(_line(f) for f in _by_day(coming) if f.duties),
        contested=tuple(_line(f) for f in _sorted(contested)),
        undetermined=_undetermined(law, ruling),
        elsewhere=_elsewhere(ruling, binding, coming, contested),
        exempt=tuple(_exempt(ruling)),
        principles=_principles(f for f in law if f.is_principle and f.duties),
        watched=tuple(
            f"{f.jurisdiction} {plain(f.title)} ({f.rule})"
            for f in ruling
            if f.standing is Standing.PROPOSED and f.foreseen is Verdict.APPLIES
        ),
        assumed=tuple(_assumed(law, book)),
    )


def _classed(finding: Finding) -> str:
    said = "" if finding.certainty is Certainty.DEFINITE else f" ({finding.certainty})"
    return f"{finding.jurisdiction}: {plain(finding.title)}{said}, {finding.rule}"


def _assumed(law: Iterable[Finding], book: FactBook) -> Iterable[str]:
    """Name the assumptions on which something that binds, or may bind, rests."""
    concerned = [f for f in law if f.duties and f.verdict is not Verdict.DOES_NOT_APPLY]
    deciding = {name for finding in concerned for name in finding.because}
    for fact in book:
        if fact.basis is Basis.ASSUMED and (fact.name in deciding or fact.name in _TOLD):
            yield f"{fact.name} = {fact_text(fact)}: {plain(fact.note)}"


def _whom(book: FactBook) -> str:
    roles, markets = book.resolve("actor.role"), book.resolve("actor.markets")
    who = "whoever it concerns"
    if roles is not None and isinstance(roles.value, frozenset):
        assumed = " (assumed)" if roles.basis.value == "assumed" else ""
        who = f"{', '.join(sorted(roles.value))}{assumed}"
    where = "all jurisdictions"
    if markets is not None and isinstance(markets.value, frozenset):
        where = ", ".join(sorted(markets.value))
    return plain(f"{who} in {where}")


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    """Put rules with open duties first, then by jurisdiction and rule."""
    return sorted(
        findings,
        key=lambda f: (f.jurisdiction, all(d.state is State.MET for d in f.duties), f.rule),
    )


def _by_day(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda f: (f.applies_from or date.max, f.jurisdiction, f.rule))


def _line(finding: Finding) -> LawLine:
    said = finding.certainty is not Certainty.DEFINITE
    contested = Verdict.CONTESTED in (finding.verdict, finding.foreseen)
    return LawLine(
        jurisdiction=finding.jurisdiction,
        rule=finding.rule,
        title=plain(finding.title),
        dates=_dates(finding),
        certainty=finding.certainty.value if said else "",
        state=_state(finding),
        duties=tuple(_duty(duty) for duty in finding.duties),
        reasons=tuple(f"{r.side}: {plain(r.text)}" for r in finding.reasons) if contested else (),
        penalty=plain(finding.penalty),
    )


def _state(finding: Finding) -> State:
    states = {duty.state for duty in finding.duties}
    return next((s for s in (State.UNMET, State.UNKNOWN) if s in states), State.MET)


def _duty(duty: DutyResult) -> DutyLine:
    due = f"due {duty.due}" if duty.due else plain(duty.deadline)
    return DutyLine(plain(duty.text), duty.state, due)


def _dates(finding: Finding) -> str:
    if finding.standing in (Standing.UPCOMING, Standing.TRANSITION):
        words = f"from {finding.applies_from}" if finding.applies_from else "later"
        return f"{words} (transition)" if finding.standing is Standing.TRANSITION else words
    since = f"since {finding.applies_from}" if finding.applies_from else ""
    if finding.enforceable_from is None or finding.enforceable_from == finding.applies_from:
        return since
    verb = "enforced since" if finding.standing is Standing.ENFORCEABLE else "enforced from"
    return ", ".join(part for part in (since, f"{verb} {finding.enforceable_from}") if part)


def _undetermined(law: Iterable[Finding], ruling: Iterable[Finding]) -> str:
    waiting = [f for f in ruling if f.verdict is Verdict.UNDETERMINED and f.questions]
    asked = {name for finding in law for name in finding.questions}
    if not asked:
        return ""
    if not waiting:
        return f"{counted(len(asked), 'answer')} would settle which duties are met: --interview"
    return (
        f"{counted(len(asked), 'answer')} would settle {counted(len(waiting), 'rule')} and the "
        "duties that are open: --interview"
    )


def _elsewhere(ruling: Iterable[Finding], *concerned: Iterable[Finding]) -> str:
    told = {finding.rule for group in concerned for finding in group}
    quiet = [f for f in ruling if f.verdict is Verdict.DOES_NOT_APPLY and f.rule not in told]
    if not quiet:
        return ""
    why = Counter(_reason(finding) for finding in quiet)
    parts = [f"{count} {reason}" for reason, count in sorted(why.items(), key=lambda i: -i[1])]
    return f"{counted(len(quiet), 'rule')} do not bind: {', '.join(parts)}"


def _reason(finding: Finding) -> str:
    if finding.because == ("actor.role",):
        return "for other roles"
    if finding.because == ("actor.markets",):
        return "of other markets"
    if finding.exempted_by:
        return "by exemption"
    if finding.standing in (Standing.ENDED, Standing.NOT_ENACTED, Standing.PROPOSED):
        return "not law on that day"
    return "by their conditions"


def _exempt(ruling: Iterable[Finding]) -> Iterable[str]:
    freed: dict[str, list[str]] = {}
    for finding in ruling:
        if finding.exempted_by:
            freed.setdefault(finding.exempted_by, []).append(finding.rule)
    for exemption, rules in freed.items():
        yield f"{exemption} frees from {', '.join(sorted(rules))}"


def _principles(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Say in one line how much of what principles ask for is documented."""
    found = list(findings)
    points = [duty for finding in found for duty in finding.duties]
    if not points:
        return ()
    documented = sum(1 for duty in points if duty.state is State.MET)
    names = ", ".join(finding.rule for finding in found)
    return (f"{documented} of {counted(len(points), 'point')} documented: {names}",)
