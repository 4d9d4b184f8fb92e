"""Rules applied to what is known of a model, as of a date.

`evaluate` asks each rule's condition, then each of its duties, and returns findings in a fixed
order: failing ones first, gravest first, then by id. `run_tests` does the same with the cases
that each rule carries and reports where a rule does not say what its author expects.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import date

from steelyard.facts import FactBook
from steelyard.rules.answering import Answer, answer
from steelyard.rules.finding import (
    DutyResult,
    Finding,
    Location,
    Severity,
    State,
    TestFailure,
    Verdict,
)
from steelyard.rules.loading import Pack
from steelyard.rules.pack import Case, Duty, Rule
from steelyard.rules.rendering import render

_VERDICTS = {True: Verdict.APPLIES, False: Verdict.DOES_NOT_APPLY, None: Verdict.UNDETERMINED}
_STATES = {True: State.MET, False: State.UNMET, None: State.UNKNOWN}


def evaluate(packs: Iterable[Pack], book: FactBook, *, as_of: date) -> tuple[Finding, ...]:
    """Apply every rule of `packs`.

    Args:
        packs: The rules.
        book: What is known.
        as_of: The day for which to answer.

    Returns:
        One finding for each rule: failing ones first, gravest first, then by id.
    """
    findings = [_apply(rule, pack, book, as_of) for pack in packs for rule in pack.rules]
    return tuple(sorted(findings, key=_order))


def _order(finding: Finding) -> tuple[int, str]:
    rank = finding.severity.rank if finding.failing else len(Severity)
    return rank, finding.rule


def _apply(rule: Rule, pack: Pack, book: FactBook, as_of: date) -> Finding:
    asked = _scope(rule, book, as_of)
    verdict = _VERDICTS[asked.truth]
    duties: tuple[DutyResult, ...] = ()
    if verdict is not Verdict.DOES_NOT_APPLY:
        duties = tuple(_weigh(duty, book) for duty in rule.duties)
    unmet = {duty.id for duty in duties if duty.state is State.UNMET}
    return Finding(
        rule=rule.id,
        title=rule.title,
        pack=pack.id,
        jurisdiction=rule.jurisdiction,
        verdict=verdict,
        severity=rule.severity,
        message=_message(rule, unmet if verdict is Verdict.APPLIES else set(), book),
        because=asked.because,
        missing=asked.missing,
        duties=duties,
        citation=rule.citation.text,
        link=rule.citation.link,
        reviewed=rule.reviewed,
        location=_locate(rule.location, book),
        tags=rule.tags,
    )


def _scope(rule: Rule, book: FactBook, as_of: date) -> Answer:
    """Ask whether the rule concerns the model, on that day, for that role."""
    if not rule.in_time(as_of):
        return Answer(False)
    return answer(rule.scope, book)


def _weigh(duty: Duty, book: FactBook) -> DutyResult:
    asked = answer(duty.satisfied_when, book)
    return DutyResult(
        id=duty.id,
        text=duty.text,
        state=_STATES[asked.truth],
        because=asked.because,
        missing=asked.missing,
        fix=duty.fix,
    )


def _message(rule: Rule, unmet: AbstractSet[str], book: FactBook) -> str:
    """Say what is wrong: the rule's own message, then those of its unmet duties."""
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


def run_tests(pack: Pack) -> tuple[TestFailure, ...]:
    """Run the test cases that the rules of `pack` carry; return those that fail."""
    return tuple(
        failure
        for rule in pack.rules
        for index, case in enumerate(rule.tests)
        for failure in _run(rule, case, pack, pack.line(rule.id, "tests", index))
    )


def _run(rule: Rule, case: Case, pack: Pack, line: int | None) -> Sequence[TestFailure]:
    finding = _apply(rule, pack, FactBook(case.facts), case.as_of or rule.reviewed)
    states = {duty.id: duty.state for duty in finding.duties}
    pairs = [(str(case.expect.verdict), str(finding.verdict))]
    pairs += [
        (f"{duty} {state}", f"{duty} {states.get(duty, 'not asked')}")
        for duty, state in case.expect.duties.items()
    ]
    return [
        TestFailure(rule.id, case.name, expected, got, pack.file, line)
        for expected, got in pairs
        if expected != got
    ]
