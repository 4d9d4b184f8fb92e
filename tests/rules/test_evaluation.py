"""Rules applied to facts: verdicts, duties, order, messages, places, dates and roles."""

from __future__ import annotations

from datetime import date

import pytest

from steelyard.facts import Basis, Evidence, Fact, FactBook, Interval, Value
from steelyard.rules import (
    Finding,
    Location,
    Severity,
    State,
    Verdict,
    evaluate,
    load_pack,
    run_tests,
)
from steelyard.rules.rendering import render, show

TODAY = date(2026, 11, 23)


def rule(name: str = "EX001", **fields: str) -> str:
    given = {
        "title": "What is asked",
        "message": '"What is wrong."',
        "when": "weights.present",
        "severity": "warning",
        "satisfied_when": "card.present",
        **fields,
    }
    duty = given.pop("satisfied_when")
    lines = [f"  - id: {name}", *(f"    {key}: {value}" for key, value in given.items())]
    return "\n".join(
        [
            *lines,
            "    duties:",
            f"      - {{id: it, text: It holds., satisfied_when: '{duty}', fix: Do it.}}",
            "    confidence: high",
            "    citation: {text: A page, link: 'https://example.org/a'}",
            "    reviewed: 2026-11-23",
            "    tests: [{name: none, facts: {}, expect: {verdict: undetermined}}]",
            "",
        ]
    )


def book(**facts: Value) -> FactBook:
    return FactBook(
        Fact(name.replace("__", "."), value, Basis.MEASURED) for name, value in facts.items()
    )


def find(text: str, facts: FactBook, as_of: date = TODAY) -> tuple[Finding, ...]:
    pack = load_pack("id: a.b\ntitle: Abc\nrules:\n" + text, "x.yaml")
    return evaluate([pack], facts, as_of=as_of)


def test_a_duty_unmet_fails() -> None:
    (found,) = find(rule(), book(weights__present=True, card__present=False))
    assert found.failing
    assert (found.rule, found.verdict, found.severity) == (
        "EX001",
        Verdict.APPLIES,
        Severity.WARNING,
    )
    assert (found.message, found.title) == ("What is wrong.", "What is asked")
    assert (found.because, found.missing, found.questions) == (("weights.present",), (), ())
    (duty,) = found.duties
    assert (duty.id, duty.state, duty.because, duty.fix) == (
        "it",
        State.UNMET,
        ("card.present",),
        "Do it.",
    )
    assert (found.citation, found.link, found.reviewed) == (
        "A page",
        "https://example.org/a",
        TODAY,
    )
    assert found.at_least(Severity.NOTE)
    assert found.at_least(Severity.WARNING)
    assert not found.at_least(Severity.ERROR)


def test_a_duty_met_is_quiet() -> None:
    (found,) = find(rule(), book(weights__present=True, card__present=True))
    assert (found.verdict, found.failing, found.message) == (
        Verdict.APPLIES,
        False,
        "What is asked",
    )
    assert not found.at_least(Severity.NOTE)


def test_what_is_unknown_is_asked() -> None:
    (found,) = find(rule(), book(weights__present=True))
    assert (found.verdict, found.failing) == (Verdict.APPLIES, False)
    assert found.duties[0].state is State.UNKNOWN
    assert (found.missing, found.questions) == ((), ("card.present",))
    (found,) = find(rule(), book())
    assert found.verdict is Verdict.UNDETERMINED
    assert found.because == ()
    assert (found.missing, found.questions) == (
        ("weights.present",),
        ("weights.present", "card.present"),
    )


def test_nothing_is_asked_when_it_would_not_matter() -> None:
    (found,) = find(rule(), book(card__present=True))
    assert (found.verdict, found.questions) == (Verdict.UNDETERMINED, ())
    (found,) = find(rule(), book(weights__present=False))
    assert found.verdict is Verdict.DOES_NOT_APPLY
    assert (found.duties, found.questions, found.failing) == ((), (), False)


def test_order_is_by_gravity_then_id() -> None:
    text = "".join(
        [
            rule("A1", severity="note"),
            rule("B1", severity="error", satisfied_when="card.valid"),
            rule("C2", severity="error"),
            rule("C1", severity="error"),
            rule("A0", severity="warning"),
            rule("A9", when="card.contact"),
        ]
    )
    facts = book(weights__present=True, card__present=False)
    assert [f.rule for f in find(text, facts)] == ["C1", "C2", "A0", "A1", "A9", "B1"]
    assert find(text, facts) == find(text, facts)


def test_dates() -> None:
    text = rule(applies_from="2026-08-02", until="2026-12-01")
    facts = book(weights__present=True, card__present=False)
    for day, applies in [
        (date(2026, 8, 1), False),
        (date(2026, 8, 2), True),
        (date(2026, 12, 1), True),
        (date(2026, 12, 2), False),
    ]:
        assert find(text, facts, day)[0].failing is applies


@pytest.mark.parametrize(
    ("roles", "verdict"),
    [
        (frozenset({"provider"}), Verdict.APPLIES),
        (frozenset({"adopter", "modifier"}), Verdict.APPLIES),
        (frozenset({"adopter"}), Verdict.DOES_NOT_APPLY),
        (None, Verdict.APPLIES),
    ],
)
def test_roles(roles: frozenset[str] | None, verdict: Verdict) -> None:
    facts = book(weights__present=True)
    if roles is not None:
        facts.add(Fact("actor.role", roles, Basis.DECLARED))
    (found,) = find(rule(roles="[provider, modifier]"), facts)
    assert found.verdict is verdict
    assert found.roles == ("provider", "modifier")
    assert found.missing == ()


def test_location_is_the_first_evidence_with_a_file() -> None:
    evidence = (Evidence(field="x"), Evidence(file="README.md", line=3, offset=40))
    facts = book(weights__present=True, card__present=False)
    facts.add(Fact("card.placeholders", frozenset({"Uses"}), Basis.MEASURED, evidence))
    (found,) = find(rule(location="card.placeholders"), facts)
    assert found.location == Location("README.md", 3, 40)
    (found,) = find(rule(location="card.sections"), facts)
    assert found.location is None


def test_location_may_name_several_facts() -> None:
    facts = book(weights__present=True, card__placeholders=frozenset())
    facts.add(Fact("card.valid", False, Basis.MEASURED, (Evidence(file="README.md", line=2),)))
    (found,) = find(rule(location="[card.sections, card.placeholders, card.valid]"), facts)
    assert found.location == Location("README.md", 2)


def test_unmet_duties_add_their_own_message() -> None:
    facts = book(weights__present=True, card__present=False)
    text = rule().replace("fix: Do it.", "fix: Do it., message: 'Card {card.present}.'")
    assert find(text, facts)[0].message == "What is wrong. Card no."
    silent = text.replace('    message: "What is wrong."\n', "")
    assert find(silent, facts)[0].message == "Card no."
    assert find(silent, book(weights__present=True))[0].message == "What is asked"
    assert find(silent.replace(", message: 'Card {card.present}.'", ""), facts)[0].message == (
        "What is asked"
    )


def test_location_of_a_contradiction_is_the_weaker_claim() -> None:
    facts = book(weights__present=True, card__present=False)
    facts.add(Fact("model.layers", 32, Basis.MEASURED, (Evidence(file="a.safetensors"),)))
    facts.add(Fact("model.layers", 30, Basis.DECLARED, (Evidence(file="config.json", line=9),)))
    (found,) = find(rule(location="model.layers"), facts)
    assert found.location == Location("config.json", 9)


def test_messages_are_filled_in() -> None:
    facts = book(
        weights__present=True,
        card__present=False,
        model__layers=1234567,
        card__placeholders=frozenset({"b", "a"}),
    )
    message = '"{model.layers} and {card.placeholders}, {license.declared}, {card.present}"'
    (found,) = find(rule(message=message), facts)
    assert found.message == "1,234,567 and a, b, unknown, no"


def test_hostile_values_stay_text() -> None:
    nasty = "{model.layers}\x1b[31m\n\u202eIT" + "x" * 500
    text = render("License {license.declared}.", book(license__declared=nasty, model__layers=3))
    assert text.startswith("License {model.layers} [31m  ITxxx")
    assert len(text) < 120
    assert text.isprintable()


def test_claims_are_set_side_by_side() -> None:
    facts = FactBook(
        [
            Fact("model.layers", 30, Basis.DECLARED, (Evidence(file="config.json", field="n"),)),
            Fact("model.layers", 30, Basis.DECLARED),
            Fact("model.layers", 32, Basis.MEASURED),
        ]
    )
    assert (
        render("{model.layers:claims}", facts)
        == "32 (measured) against 30 (declared, config.json n)"
    )
    assert render("{model.heads:claims}", facts) == "unknown"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1_100_048_384, "1,100,048,384"),
        (0.25, "0.25"),
        (1234.5, "1,234"),
        (1e25, "1e25"),
        (6.54321e24, "6.543e24"),
        (Interval(6.5e9, 7.5e9), "6,500,000,000 to 7,500,000,000"),
        (Interval(1e24, 3e24), "1e24 to 3e24"),
        (Interval(7, 7), "7"),
        (10**400, "more than 1e308"),
        (Interval(1, float("inf")), "1 to more than 1e308"),
        (True, "yes"),
        (date(2026, 8, 2), "2026-08-02"),
        (frozenset[str](), "none"),
        (frozenset("abcdef"), "a, b, c, d and 2 more"),
    ],
)
def test_values_are_shown_for_people(value: Value, text: str) -> None:
    assert show(value) == text


def test_a_failing_case_is_told_with_its_line() -> None:
    pack = load_pack("id: a.b\ntitle: Abc\nrules:\n" + rule(when="True"), "x.yaml")
    (failure,) = run_tests(pack)
    assert (failure.rule, failure.case, failure.expected, failure.got) == (
        "EX001",
        "none",
        "undetermined",
        "applies",
    )
    assert str(failure) == "x.yaml:14: EX001, none: expected undetermined, got applies"
