"""The law packs: they load, fit together, pass their cases, and stay quiet where nothing binds."""

from __future__ import annotations

import re
from datetime import date
from functools import cache

import pytest

from steelyard.analyzers.derived import derive
from steelyard.assessing import assess, law_packs
from steelyard.facts import FactBook, Value, vocabulary
from steelyard.obligations.questions import open_questions
from steelyard.rules import (
    Confidence,
    Finding,
    Pack,
    Rule,
    Severity,
    Standing,
    Status,
    Verdict,
    load_packs,
    rules_on,
    run_tests,
)
from steelyard.rules.jurisdictions import jurisdictions

TODAY = date(2026, 11, 24)
WALK = (
    date(2024, 7, 1),
    date(2025, 8, 2),
    date(2026, 8, 2),
    date(2026, 12, 2),
    date(2027, 8, 2),
    date(2028, 8, 2),
)


@cache
def packs() -> tuple[Pack, ...]:
    return law_packs(load_packs())


def rules() -> list[Rule]:
    return [rule for pack in packs() for rule in pack.rules]


def ask(facts: dict[str, Value], day: date = TODAY) -> dict[str, Finding]:
    return {f.rule: f for f in assess(facts, as_of=day, packs=packs()).findings}


@pytest.mark.parametrize("pack", packs(), ids=lambda pack: pack.id)
def test_rules_pass_their_own_cases(pack: Pack) -> None:
    failures = run_tests(pack, among=packs(), derive=derive)
    assert [str(failure) for failure in failures] == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.id)
def test_rules_are_cited_dated_and_tested(rule: Rule) -> None:
    assert rule.is_law
    assert rule.jurisdiction in jurisdictions()
    assert rule.enacted is not None
    assert date(2026, 1, 1) <= rule.reviewed <= TODAY
    assert rule.topic is not None
    for start in rule.applies_from:
        assert start.date is None or start.date >= rule.enacted
    if rule.confidence is Confidence.LOW:
        assert rule.severity is not Severity.ERROR
    said = {case.expect.verdict for case in rule.tests}
    said |= {case.expect.foreseen for case in rule.tests if case.expect.foreseen}
    assert Verdict.APPLIES in said
    assert Verdict.DOES_NOT_APPLY in said
    if rule.duties and rule.status is not Status.PRINCIPLE:
        assert rule.message or all(duty.message for duty in rule.duties) or rule.severity == "note"


def test_the_unit_cases_of_the_law_digest_are_there() -> None:
    names = {found[0] for rule in rules() for case in rule.tests
             if (found := re.match(r"T\d+b?", case.name))}  # fmt: skip
    assert names >= {*(f"T{n}" for n in range(1, 41)), "T39b"}


def test_no_number_of_the_law_stands_in_two_packs_of_one_instrument() -> None:
    seen: dict[tuple[str, str], str] = {}
    for pack in packs():
        for parameter in pack.parameters:
            key = (pack.id, parameter.id)
            assert key not in seen
            seen[key] = pack.file


def test_every_measure_is_something_that_can_be_done() -> None:
    named = {duty.measure for rule in rules() for duty in rule.duties if duty.measure}
    assert all(vocabulary()[name].action for name in named)
    unused = {name for name in vocabulary() if name.startswith("measures.")} - named
    assert not unused, "a measure that no duty names is dead"


# --- what it must show --------------------------------------------------------------------

LARGE: dict[str, Value] = {
    "training.compute": 2e25,
    "model.parameters.total": 400 * 10**9,
    "model.modalities.input": frozenset({"text"}),
    "model.modalities.output": frozenset({"text"}),
    "license.effective": "Apache-2.0",
    "weights.public": True,
    "usage_info.public": True,
    "architecture.public": True,
    "release.monetized": False,
    "release.date": date(2026, 1, 15),
    "release.eu_market_date": date(2025, 8, 2),
    "actor.established_in": frozenset({"us"}),
    "actor.markets": frozenset({"eu"}),
    "actor.role": frozenset({"provider"}),
}


def standing(rule: str, facts: dict[str, Value]) -> list[Standing]:
    return [ask(facts, day)[rule].standing for day in WALK]


def test_a_new_systemic_model_walks_through_the_law() -> None:
    assert standing("eu.aiact.55.1.a", LARGE) == [
        Standing.NOT_ENACTED,
        Standing.APPLICABLE,
        *([Standing.ENFORCEABLE] * 4),
    ]
    today = ask(LARGE)
    binding = {name for name, f in today.items() if f.verdict is Verdict.APPLIES and f.duties}
    assert binding >= {
        *(f"eu.aiact.53.1.{letter}" for letter in "abcd"),
        *(f"eu.aiact.55.1.{letter}" for letter in "abcd"),
        *("eu.aiact.52.1", "eu.aiact.53.3", "eu.aiact.54.1"),
    }
    assert today["eu.aiact.oss_exemption"].verdict is Verdict.DOES_NOT_APPLY


def test_a_legacy_model_has_until_the_end_of_the_transition() -> None:
    legacy = {**LARGE, "release.eu_market_date": date(2024, 7, 23)}
    assert standing("eu.aiact.53.1.c", legacy) == [
        Standing.NOT_ENACTED,
        *([Standing.TRANSITION] * 3),
        Standing.ENFORCEABLE,
        Standing.ENFORCEABLE,
    ]


def test_high_risk_days_moved_when_the_amendment_entered_into_force() -> None:
    facts: dict[str, Value] = {
        "system.placed": True,
        "system.annex_iii_areas": frozenset({"employment"}),
        "system.narrow_procedural": False,
    }
    assert ask(facts, date(2026, 7, 26))["eu.aiact.6.2"].applies_from == date(2026, 8, 2)
    assert ask(facts, date(2026, 7, 27))["eu.aiact.6.2"].applies_from == date(2027, 12, 2)


def test_below_the_threshold_an_open_model_is_exempt_and_keeps_two_duties() -> None:
    found = ask({**LARGE, "training.compute": 5e24})
    assert found["eu.aiact.oss_exemption"].verdict is Verdict.APPLIES
    for rule in ("eu.aiact.53.1.a", "eu.aiact.53.1.b", "eu.aiact.54.1"):
        assert found[rule].exempted_by == "eu.aiact.oss_exemption"
    for rule in ("eu.aiact.53.1.c", "eu.aiact.53.1.d", "eu.aiact.53.3"):
        assert found[rule].verdict is Verdict.APPLIES


@pytest.mark.parametrize("role", ["provider", "adopter", "modifier"])
def test_a_small_open_model_is_quiet(role: str) -> None:
    small: dict[str, Value] = {
        "model.parameters.total": 22_713_216,
        "model.modalities.input": frozenset({"text"}),
        "model.modalities.output": frozenset({"embedding"}),
        "license.effective": "Apache-2.0",
        "actor.role": frozenset({role}),
        "actor.markets": frozenset({"eu", "us-ca", "us-ny", "gb", "jp"}),
    }
    found = ask(small)
    binding = [f.rule for f in found.values() if f.verdict is Verdict.APPLIES and f.duties]
    assert [rule for rule in binding if not found[rule].is_principle] == []
    assert [question.term.name for question in open_questions(found.values())] == []


def test_no_open_weight_model_is_a_frontier_model_by_its_size_alone() -> None:
    found = ask(
        {"model.parameters.total": 8 * 10**9, "model.modalities.output": frozenset({"text"})}
    )
    for rule in ("us.ca.sb53.frontier_model", "us.ny.raise.frontier_model", "kr.aiba.32.safety"):
        assert found[rule].verdict is Verdict.DOES_NOT_APPLY


def test_rules_fit_together_on_every_day_of_change() -> None:
    from steelyard.obligations.timeline import days_of_change

    days = days_of_change(packs())
    assert len(days) > 30
    for day in days:
        rulebook = rules_on(packs(), day)
        assert len(rulebook.rules) == len(rules())


def test_law_says_nothing_of_an_empty_book_but_asks() -> None:
    found = assess(FactBook(), as_of=TODAY, packs=packs())
    assert not [f for f in found.findings if f.failing]
