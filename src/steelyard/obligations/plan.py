"""A plan: the duties of all jurisdictions, merged into the fewest actions.

One document or process often satisfies duties of several laws. Duties name the measure that
fulfills them; those of one measure are one action, which is due when the first of them can be
enforced.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from steelyard.facts import term
from steelyard.rules import DutyResult, Finding, Standing, State, Verdict


@dataclass(frozen=True, slots=True)
class PlannedDuty:
    """A duty that an action satisfies."""

    rule: str
    duty: str
    jurisdiction: str
    text: str
    state: State
    standing: Standing
    starts: date | None
    """The day from which it applies; None where the rule states none."""
    enforceable: date | None
    deadline: str
    due: date | None
    fix: str
    citation: str
    link: str


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do, and every duty that it satisfies."""

    id: str
    """The measure, or `rule/duty` where no measure is shared."""
    title: str
    state: State
    """Unmet where some duty is known to be unmet, else unknown."""
    duties: tuple[PlannedDuty, ...]
    by: date | None
    """The earliest day on which one of the duties is due or can be enforced."""

    @property
    def jurisdictions(self) -> tuple[str, ...]:
        """Name the jurisdictions that ask for it."""
        return tuple(sorted({duty.jurisdiction for duty in self.duties}))


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in order."""

    as_of: date
    actions: tuple[Action, ...]
    done: tuple[Action, ...]
    """Measures that satisfy all that is asked of them already."""
    open: tuple[Finding, ...]
    """Rules that may bind, once their questions are answered."""


def make_plan(findings: Iterable[Finding], *, as_of: date) -> Plan:
    """Merge the duties of the law that binds, now or later, into actions.

    Principles and proposals ask for nothing and are left out; so are rules that concern others.
    """
    findings = tuple(findings)
    groups: dict[str, list[PlannedDuty]] = {}
    for finding in findings:
        if _binds(finding):
            for duty in finding.duties:
                key = duty.measure or f"{finding.rule}/{duty.id}"
                groups.setdefault(key, []).append(_planned(finding, duty))
    actions = [_action(key, duties) for key, duties in groups.items()]
    ordered = sorted(actions, key=lambda a: (a.by or date.max, -len(a.duties), a.id))
    return Plan(
        as_of,
        tuple(action for action in ordered if action.state is not State.MET),
        tuple(action for action in ordered if action.state is State.MET),
        tuple(f for f in findings if f.is_law and f.verdict is Verdict.UNDETERMINED),
    )


def _binds(finding: Finding) -> bool:
    if not finding.is_law or finding.is_principle or finding.standing is Standing.PROPOSED:
        return False
    return Verdict.APPLIES in (finding.verdict, finding.foreseen)


def _planned(finding: Finding, duty: DutyResult) -> PlannedDuty:
    return PlannedDuty(
        rule=finding.rule,
        duty=duty.id,
        jurisdiction=finding.jurisdiction,
        text=duty.text,
        state=duty.state,
        standing=finding.standing,
        starts=finding.applies_from,
        enforceable=finding.enforceable_from,
        deadline=duty.deadline,
        due=duty.due,
        fix=duty.fix,
        citation=finding.citation,
        link=finding.link,
    )


def _action(key: str, duties: list[PlannedDuty]) -> Action:
    states = {duty.state for duty in duties}
    state = next(s for s in (State.UNMET, State.UNKNOWN, State.MET) if s in states)
    open_duties = [duty for duty in duties if duty.state is not State.MET] or duties
    days = [day for duty in open_duties if (day := _day(duty)) is not None]
    ordered = sorted(duties, key=lambda d: (_day(d) or date.max, d.rule, d.duty))
    title = duties[0].fix if "/" in key else term(key).action or term(key).meaning
    return Action(key, title, state, tuple(ordered), min(days, default=None))


def _day(duty: PlannedDuty) -> date | None:
    """Return the day that counts for the order: when it is due, else can be enforced or applies."""
    return duty.due or duty.enforceable or duty.starts
