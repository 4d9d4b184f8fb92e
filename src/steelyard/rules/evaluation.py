"""Rules applied to what is known of a model, as of a date.

`evaluate` asks each rule's condition, then each of its duties, and returns findings in a fixed
order: failing ones first, gravest first, then by id. `conclude` returns the facts that rules
settled on the way, too: whether a model is a general-purpose AI model, whether an exemption holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date

from steelyard.facts import Basis, Evidence, Fact, FactBook, Truth, disjoin
from steelyard.rules.answering import Answer, answer
from steelyard.rules.expression import Expression
from steelyard.rules.finding import (
    DutyResult,
    Finding,
    Location,
    Reason,
    Severity,
    Standing,
    State,
    Verdict,
)
from steelyard.rules.jurisdictions import covers
from steelyard.rules.law import BoundRule, Rulebook, rules_on
from steelyard.rules.loading import Pack
from steelyard.rules.pack import Duty
from steelyard.rules.rendering import render
from steelyard.rules.standing import Times, times

_VERDICTS = {True: Verdict.APPLIES, False: Verdict.DOES_NOT_APPLY, None: Verdict.UNDETERMINED}
_STATES = {True: State.MET, False: State.UNMET, None: State.UNKNOWN}
ROLE = "actor.role"
MARKETS = "actor.markets"


@dataclass(frozen=True, slots=True)
class Conclusions:
    """What rules say, and what is known after they were asked."""

    findings: tuple[Finding, ...]
    """One for each rule: failing ones first, gravest first, then by id."""
    book: FactBook
    """Everything that was known, and what rules assumed and concluded."""


def evaluate(packs: Iterable[Pack], book: FactBook, *, as_of: date) -> tuple[Finding, ...]:
    """Apply every rule of `packs`.

    Args:
        packs: The rules.
        book: What is known. Where it names roles and markets, only the rules for them apply.
        as_of: The day for which to answer, under the law of that day.

    Returns:
        One finding for each rule: failing ones first, gravest first, then by id.

    Raises:
        PackError: If rules rest on each other in a circle.
    """
    return conclude(rules_on(packs, as_of), book).findings


def conclude(rulebook: Rulebook, book: FactBook) -> Conclusions:
    """Apply the rules of a day; `book` itself stays as it is."""
    working = book.copy()
    working.extend(fact for fact in rulebook.assumptions if fact.name not in working)
    asking = _Asking(rulebook, working)
    findings = [asking.finding(item) for item in rulebook.rules]
    return Conclusions(tuple(sorted(findings, key=_order)), working)


def _order(finding: Finding) -> tuple[int, str]:
    rank = finding.severity.rank if finding.failing else len(Severity)
    return rank, finding.rule


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a rule's condition came to, whatever the day, the role and the market."""

    verdict: Verdict
    because: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    exempted_by: str | None = None


@dataclass(slots=True)
class _Asking:
    rulebook: Rulebook
    book: FactBook
    asked: dict[str, _Asked] = field(default_factory=dict)
    """By rule."""
    settled: dict[str, list[_Asked]] = field(default_factory=dict)
    """By concluded fact: what the rules said that conclude it."""
    asked_for: Counter[str] = field(default_factory=Counter)
    """By concluded fact: how many of the rules that may conclude it were asked."""
    concluded: set[str] = field(default_factory=set)

    def finding(self, item: BoundRule) -> Finding:
        rule, day = item.rule, self.rulebook.day
        when = times(item, self.book, day)
        reasons = tuple(self._reasons(item))
        asked = self._ask(item, reasons)
        self.asked[rule.id] = asked
        if rule.concludes:
            stands = when.standing not in (Standing.NOT_ENACTED, Standing.ENDED)
            self._settle(rule.concludes, rule.id, asked if stands else None)
        outside = self._outside(item)
        verdict, foreseen, because, missing = _placed(asked, when, outside)
        concerned = (foreseen or verdict) is not Verdict.DOES_NOT_APPLY
        duties = tuple(self._weigh(*duty) for duty in item.duties) if concerned else ()
        unmet = {duty.id for duty in duties if duty.state is State.UNMET}
        return Finding(
            rule=rule.id,
            title=rule.title,
            pack=item.pack.id,
            jurisdiction=rule.jurisdiction,
            verdict=verdict,
            severity=rule.severity,
            message=_message(item, unmet if verdict is Verdict.APPLIES else set(), self.book),
            because=because,
            missing=missing,
            duties=duties,
            citation=rule.citation.text,
            link=rule.citation.link,
            reviewed=rule.reviewed,
            location=_locate(rule.location, self.book),
            tags=rule.tags,
            confidence=rule.confidence,
            status=rule.status,
            standing=when.standing,
            foreseen=foreseen,
            applies_from=when.applies_from,
            enforceable_from=when.enforceable_from,
            until=rule.until,
            roles=rule.roles,
            certainty=rule.certainty,
            exempted_by=asked.exempted_by,
            reasons=reasons,
            penalty=rule.penalty,
            topic=rule.topic.value if rule.topic else None,
            concludes=rule.concludes,
        )

    def _ask(self, item: BoundRule, reasons: Iterable[Reason]) -> _Asked:
        found, contested = self._answer(item.when)
        if found.truth is False:
            return _Asked(Verdict.DOES_NOT_APPLY, found.because)
        against = [reason for reason in reasons if reason.contests]
        exempt = self._exemption(item)
        if exempt is not None and exempt.verdict is Verdict.APPLIES:
            no = Verdict.DOES_NOT_APPLY
            return _Asked(no, exempt.because, exempted_by=exempt.exempted_by)
        if against or contested or (exempt and exempt.verdict is Verdict.CONTESTED):
            names = [*found.because, *(name for reason in against for name in reason.because)]
            return _Asked(Verdict.CONTESTED, tuple(dict.fromkeys(names)))
        open_names = [*found.missing, *(exempt.missing if exempt else ())]
        stated = self.book.value(item.rule.concludes) if item.rule.concludes else None
        if found.truth is None and isinstance(stated, bool):
            # What facts do not tell, somebody may have stated: that a model is general-purpose.
            verdict = Verdict.APPLIES if stated else Verdict.DOES_NOT_APPLY
            return _Asked(verdict, (str(item.rule.concludes),))
        if found.truth is None or exempt is not None:
            return _Asked(Verdict.UNDETERMINED, missing=tuple(dict.fromkeys(open_names)))
        return _Asked(Verdict.APPLIES, found.because)

    def _answer(self, expression: Expression) -> tuple[Answer, bool]:
        """Ask a condition; tell also whether only contested conclusions keep it open.

        Facts that rules conclude are never asked for: what would settle them is.
        """
        found = answer(expression, self.book)
        if found.truth is not None:
            return found, False
        names: dict[str, None] = {}
        contested = False
        for name in found.missing:
            said = self.settled.get(name, [])
            contested = contested or any(s.verdict is Verdict.CONTESTED for s in said)
            deeper = [n for s in said for n in s.missing]
            names |= dict.fromkeys(deeper if said else [name])
        return Answer(None, missing=tuple(names)), contested and not names

    def _exemption(self, item: BoundRule) -> _Asked | None:
        """Return the exemption that decides, or that keeps the answer open; None if none does."""
        standing = [(name, self.asked[name]) for name in item.rule.exemptions if self._stands(name)]
        for verdict in (Verdict.APPLIES, Verdict.UNDETERMINED, Verdict.CONTESTED):
            for name, asked in standing:
                if asked.verdict is verdict:
                    return _Asked(verdict, asked.because, asked.missing, name)
        return None

    def _stands(self, name: str) -> bool:
        rule = next(item.rule for item in self.rulebook.rules if item.rule.id == name)
        day = self.rulebook.day
        enacted = rule.enacted is None or rule.enacted <= day
        return enacted and (rule.until is None or day <= rule.until)

    def _settle(self, name: str, rule: str, asked: _Asked | None) -> None:
        """Conclude a fact: yes once one rule says so, no once every rule has been asked."""
        self.asked_for[name] += 1
        said = self.settled.setdefault(name, [])
        said += [asked] if asked else []
        truth: Truth = disjoin(
            {Verdict.APPLIES: True, Verdict.DOES_NOT_APPLY: False}.get(one.verdict) for one in said
        )
        complete = self.asked_for[name] == len(self.rulebook.concluded[name])
        if truth is None or not said or name in self.concluded or not (truth or complete):
            return
        self.concluded.add(name)
        parents = tuple(dict.fromkeys(n for one in said for n in one.because))
        evidence = (Evidence(parents=parents),)
        self.book.add(Fact(name, truth, Basis.DERIVED, evidence, note=f"concluded by {rule}"))

    def _reasons(self, item: BoundRule) -> Iterable[Reason]:
        for argument, when in item.arguments:
            found, _ = self._answer(when)
            if found.truth:
                yield Reason(argument.side, argument.text, found.because, argument.contests)

    def _outside(self, item: BoundRule) -> tuple[str, ...]:
        """Name the fact by which the rule concerns others: other markets, other roles."""
        markets, roles = self.book.value(MARKETS), self.book.value(ROLE)
        law = item.rule.is_law
        if law and isinstance(markets, frozenset) and not covers(markets, item.rule.jurisdiction):
            return (MARKETS,)
        if item.rule.roles and isinstance(roles, frozenset) and not roles & {*item.rule.roles}:
            return (ROLE,)
        return ()

    def _weigh(self, duty: Duty, when: Expression) -> DutyResult:
        asked, _ = self._answer(when)
        deadline = duty.deadline
        event = self.book.value(deadline.after) if deadline and deadline.after else None
        due = deadline.due(event if isinstance(event, date) else None) if deadline else None
        return DutyResult(
            id=duty.id,
            text=duty.text,
            state=_STATES[asked.truth],
            because=asked.because,
            missing=asked.missing,
            fix=duty.fix,
            deadline=deadline.text if deadline else "",
            due=due,
            pending=due is not None and self.rulebook.day <= due,
            measure=duty.measure,
        )


def _placed(
    asked: _Asked, when: Times, outside: tuple[str, ...]
) -> tuple[Verdict, Verdict | None, tuple[str, ...], tuple[str, ...]]:
    """Place an answer in time, market and role: verdict, what is to come, because, missing."""
    no = Verdict.DOES_NOT_APPLY
    if outside:
        return no, None, outside, ()
    if when.standing.in_time or asked.verdict is no:
        foreseen = no if when.standing.to_come else None
        return asked.verdict, foreseen, asked.because, asked.missing
    if when.standing is Standing.UNSETTLED:
        missing = tuple(dict.fromkeys((*asked.missing, *when.missing)))
        return Verdict.UNDETERMINED, asked.verdict, (), missing
    if when.standing.to_come:
        return no, asked.verdict, asked.because, asked.missing
    return no, None, (), ()


def _message(item: BoundRule, unmet: AbstractSet[str], book: FactBook) -> str:
    """Say what is wrong: the rule's own message, then those of its unmet duties."""
    rule = item.rule
    texts = [rule.message, *(duty.message for duty in rule.duties if duty.id in unmet)]
    said = " ".join(render(text, book) for text in texts if text)
    return said if unmet and said else rule.title


def _locate(names: Iterable[str], book: FactBook) -> Location | None:
    """Point at the evidence for a fact; where claims disagree, at the weakest: it is to correct."""
    for name in names:
        against = book.contradiction(name)
        for claim in reversed(against.claims) if against else book.claims(name):
            for item in claim.evidence:
                if item.file is not None:
                    return Location(item.file, item.line, item.offset)
    return None
