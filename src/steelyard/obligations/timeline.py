"""The same facts under the law of several days: what changes, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from steelyard.rules import Certainty, Finding, Pack, Rule, Standing, Topic, Verdict
from steelyard.rules.pack import Start

_QUIET: Final = ("does not bind", "has ended", "is not enacted")


@dataclass(frozen=True, slots=True)
class State:
    """Where one rule stands on one day."""

    verdict: Verdict
    standing: Standing
    certainty: Certainty

    @property
    def words(self) -> str:
        """Say it for a person."""
        match self.verdict, self.standing:
            case Verdict.APPLIES, Standing.ENFORCEABLE:
                return "binds and can be enforced"
            case Verdict.APPLIES, _:
                return "binds"
            case (Verdict.CONTESTED | Verdict.UNDETERMINED) as open_verdict, _:
                return open_verdict.value
            case _, Standing.UPCOMING:
                return "will bind"
            case _, Standing.TRANSITION:
                return "will bind after the transition"
            case _, Standing.ENDED:
                return "has ended"
            case _, Standing.NOT_ENACTED:
                return "is not enacted"
            case _, Standing.PROPOSED:
                return "is proposed"
        return "does not bind"


@dataclass(frozen=True, slots=True)
class Change:
    """A rule that stands otherwise than the day before."""

    rule: str
    title: str
    jurisdiction: str
    before: State | None
    after: State

    @property
    def told(self) -> str:
        """Say how it stood before; empty where it did not concern the model then."""
        quiet = self.before is None or self.before.words in _QUIET
        return "" if quiet or self.before is None else self.before.words


@dataclass(frozen=True, slots=True)
class Day:
    """What changes on a day."""

    day: date
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """What changes for one model, or for whomever law concerns."""

    subject: str
    days: tuple[Day, ...]


def days_of_change(packs: Iterable[Pack]) -> tuple[date, ...]:
    """Return every day on which some rule of `packs` changes, for whatever model."""
    found: set[date] = set()
    for pack in packs:
        for parameter in pack.parameters:
            found |= {item.since for item in parameter.values}
            found |= {item.value for item in parameter.values if isinstance(item.value, date)}
        for rule in pack.rules:
            found |= set(_days(rule))
    return tuple(sorted(found))


def _days(rule: Rule) -> Iterable[date]:
    starts: Iterable[Start] = (*rule.applies_from, *rule.enforceable_from)
    yield from (start.date for start in starts if start.date is not None)
    if rule.enacted is not None:
        yield rule.enacted
    if rule.until is not None:
        yield rule.until + timedelta(days=1)


def timeline(
    ask: Callable[[date], Sequence[Finding]], days: Iterable[date], *, every: bool = False
) -> tuple[Day, ...]:
    """Ask on each day and keep what changed since the one before.

    Args:
        ask: Return the findings of a day.
        days: The days, in any order.
        every: Keep days without a change, too.

    Returns:
        The days on which something changed. On the first, all that concerns the model.
    """
    before: dict[str, State] = {}
    found: list[Day] = []
    for day in sorted(set(days)):
        findings = [finding for finding in ask(day) if _binding(finding)]
        states = {finding.rule: _state(finding) for finding in findings}
        changes = tuple(
            Change(f.rule, f.title, f.jurisdiction, before.get(f.rule), states[f.rule])
            for f in sorted(findings, key=lambda f: (f.jurisdiction, f.rule))
            if _matters(before.get(f.rule), states[f.rule])
        )
        if changes or every:
            found.append(Day(day, changes))
        before = states
    return tuple(found)


def _binding(finding: Finding) -> bool:
    """Leave out what binds nobody: good practice, principles, policies, exemptions that fail."""
    if not finding.is_law or finding.is_principle or finding.topic == Topic.POLICY:
        return False
    return finding.topic != Topic.EXEMPTION or Verdict.APPLIES in (
        finding.verdict,
        finding.foreseen,
    )


def _state(finding: Finding) -> State:
    coming = finding.foreseen is not None and finding.foreseen is not Verdict.DOES_NOT_APPLY
    over = finding.standing in (Standing.ENDED, Standing.NOT_ENACTED)
    # A rule that does not concern the model stands nowhere in time for it.
    standing = finding.standing
    if finding.verdict is Verdict.DOES_NOT_APPLY and not coming and not over:
        standing = Standing.APPLICABLE
    return State(finding.verdict, standing, finding.certainty)


def _matters(before: State | None, after: State) -> bool:
    if before is None or before.words in _QUIET:
        return after.words not in _QUIET
    return before.words != after.words
