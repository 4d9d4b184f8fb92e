"""The test cases that rules carry, run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from functools import cache

from steelyard.facts import Fact, FactBook, Interval
from steelyard.rules.evaluation import Conclusions, conclude
from steelyard.rules.finding import Finding, TestFailure
from steelyard.rules.law import Rulebook, rules_on
from steelyard.rules.loading import Pack
from steelyard.rules.pack import Case, Expectation, Rule

Derive = Callable[[FactBook], Iterable[Fact]]
"""Compute facts from facts."""


def run_tests(
    pack: Pack, *, among: Iterable[Pack] = (), derive: Derive | None = None
) -> tuple[TestFailure, ...]:
    """Run the test cases that the rules of `pack` carry; return those that fail.

    Args:
        pack: The rules.
        among: Packs whose rules may conclude facts and grant exemptions for these rules.
        derive: What to compute from the facts of a case before the rules are asked.
    """
    others = [other for other in among if other.id != pack.id]

    @cache
    def on(day: date) -> Rulebook:
        return rules_on([pack, *others], day)

    failures: list[TestFailure] = []
    for rule in pack.rules:
        for index, case in enumerate(rule.tests):
            book = FactBook(case.facts)
            if derive is not None:
                book.extend(derive(book))
            said = conclude(on(case.as_of or rule.reviewed), book)
            line = pack.line(rule.id, "tests", index)
            failures += _compare(rule, case, said, pack.file, line)
    return tuple(failures)


def _compare(
    rule: Rule, case: Case, said: Conclusions, file: str, line: int | None
) -> Sequence[TestFailure]:
    finding = next(found for found in said.findings if found.rule == rule.id)
    pairs = [*_finding_pairs(case.expect, finding), *_duty_pairs(case.expect, finding)]
    pairs += [_fact_pair(fact, said.book) for fact in case.expect.facts]
    missed = sorted(set(case.expect.missing) - {*finding.missing, *finding.questions})
    pairs += [(f"a question for {name}", "none") for name in missed]
    return [
        TestFailure(rule.id, case.name, expected, got, file, line)
        for expected, got in pairs
        if expected != got
    ]


def _finding_pairs(expect: Expectation, finding: Finding) -> Iterable[tuple[str, str]]:
    why = f" (missing: {', '.join(finding.missing)})" if finding.missing else ""
    got = str(finding.verdict)
    yield str(expect.verdict), got if got == expect.verdict else got + why
    for field in ("standing", "foreseen", "certainty", "exempted_by"):
        wanted = getattr(expect, field)
        if wanted is not None:
            yield f"{field} {wanted}", f"{field} {getattr(finding, field)}"


def _duty_pairs(expect: Expectation, finding: Finding) -> Iterable[tuple[str, str]]:
    duties = {duty.id: duty for duty in finding.duties}
    for name, state in expect.duties.items():
        yield f"{name} {state}", f"{name} {duties[name].state if name in duties else 'not asked'}"
    for name, day in expect.due.items():
        due = duties[name].due if name in duties else None
        yield f"{name} due {day}", f"{name} due {due}"


def _fact_pair(wanted: Fact, book: FactBook) -> tuple[str, str]:
    """Compare a fact; where an interval is expected, it must hold what is known."""
    value = book.value(wanted.name)
    holds = value == wanted.value
    if isinstance(wanted.value, Interval) and isinstance(value, Interval | int | float):
        known = Interval.of(value)
        holds = wanted.value.low <= known.low and known.high <= wanted.value.high
    expected = f"{wanted.name} {wanted.value}"
    return expected, expected if holds else f"{wanted.name} {value}"
