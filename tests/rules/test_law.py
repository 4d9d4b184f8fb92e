"""Law as of a day: what stands, since when, for whom, unless what, and who disputes it."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.errors import PackError
from steelyard.facts import Basis, Fact, FactBook, Interval, Value, vocabulary
from steelyard.rules import (
    Finding,
    Side,
    Standing,
    State,
    Verdict,
    conclude,
    load_pack,
    rules_on,
    run_tests,
)

TODAY = date(2026, 11, 23)
PACK = """\
id: law.example
title: An example of a law
instrument: Example Act
jurisdiction: eu
parameters:
  - id: size
    title: Compute above which a model is large
    unit: FLOP
    comparator: ">"
    values: [{since: 2024-01-01, value: 1e25}, {since: 2026-07-01, value: 1e26}]
    citation: {text: "Example Act, Article 1", link: "https://example.org/1"}
    topic: compute_threshold
  - id: start
    title: Day from which the duties of large models apply
    values: [{since: 2024-01-01, value: 2026-08-02}, {since: 2026-07-27, value: 2027-12-02}]
    citation: {text: "Example Act, Article 9", link: "https://example.org/9"}
assumptions:
  - {fact: model.narrow, value: no, reason: A model is taken as general.}
rules:
  - id: ex.exempt
    title: Open models are exempt
    status: in_force
    enacted: 2024-01-01
    applies_from: 2025-08-02
    when: weights.public and license.use
    concludes: openness.eu_exemption
    topic: exemption
    severity: note
    confidence: high
    citation: &c {text: "Example Act, Article 3", link: "https://example.org/3"}
    reviewed: 2026-11-23
    tests:
      - {name: open, facts: {weights.public: yes, license.use: yes}, expect: {verdict: applies}}
  - id: ex.large
    title: A large model is one above the threshold
    status: in_force
    enacted: 2024-01-01
    applies_from: 2025-08-02
    when: training.compute > parameter.size and not model.narrow
    concludes: eu.systemic_risk
    certainty: presumed
    arguments:
      - side: against
        contests: yes
        when: low(training.compute) <= parameter.size and high(training.compute) > parameter.size
        text: The estimate lies on both sides of the threshold.
      - {side: for, when: model.parameters.total >= 1e9, text: It has many parameters.}
    topic: compute_threshold
    severity: note
    confidence: high
    citation: *c
    reviewed: 2026-11-23
    tests:
      - name: above
        facts: {training.compute: 2e26}
        expect: {verdict: applies, certainty: presumed, facts: {eu.systemic_risk: yes}}
  - id: ex.tell
    title: Large models are notified
    status: in_force
    enacted: 2024-01-01
    applies_from:
      - {date: 2027-08-02, when: 'release.eu_market_date < date("2025-08-02")', reason: Article 8}
      - {date: 2025-08-02}
    enforceable_from: 2026-08-02
    roles: [provider]
    when: eu.systemic_risk
    exemptions: [ex.exempt]
    duties:
      - id: notify
        text: The authority is notified.
        satisfied_when: measures.commission_notification
        fix: Notify the authority.
        deadline:
          {within: 14 days, after: release.date, text: 14 days after the release}
    penalty: Fine up to 3 % of turnover.
    topic: notification
    severity: error
    confidence: high
    citation: *c
    reviewed: 2026-11-23
    tests:
      - name: a new large model
        facts:
          {training.compute: 2e26, weights.public: no, release.eu_market_date: 2026-01-01,
           release.date: 2026-01-01, measures.commission_notification: no}
        expect:
          {verdict: applies, standing: enforceable, duties: {notify: unmet},
           due: {notify: 2026-01-15}}
  - id: ex.later
    title: Large models keep records
    status: adopted
    enacted: 2024-01-01
    applies_from: parameter.start
    when: eu.systemic_risk
    topic: records
    severity: warning
    confidence: medium
    citation: *c
    reviewed: 2026-11-23
    tests:
      - name: not yet
        facts: {training.compute: 2e26}
        expect: {verdict: does_not_apply, standing: upcoming, foreseen: applies}
"""
PACK = PACK.replace("&c ", "").replace(
    "*c", '{text: "Example Act, Article 3", link: "https://example.org/3"}'
)


def find(rule: str, facts: dict[str, Value], day: date = TODAY, text: str = PACK) -> Finding:
    book = FactBook(Fact(name, value, Basis.MEASURED) for name, value in facts.items())
    said = conclude(rules_on([load_pack(text, "law.yaml")], day), book)
    return next(found for found in said.findings if found.rule == rule)


def test_the_cases_in_the_pack_pass() -> None:
    assert run_tests(load_pack(PACK, "law.yaml")) == ()


def test_a_failing_case_says_what_it_got() -> None:
    wrong = PACK.replace("due: {notify: 2026-01-15}", "due: {notify: 2026-01-16}").replace(
        "facts: {eu.systemic_risk: yes}", "facts: {eu.systemic_risk: no}, certainty: indicated"
    )
    wrong = wrong.replace("certainty: presumed, facts", "facts")
    got = [str(failure) for failure in run_tests(load_pack(wrong, "law.yaml"))]
    assert any("expected notify due 2026-01-16, got notify due 2026-01-15" in text for text in got)
    assert any("eu.systemic_risk False" in text for text in got)
    assert any("certainty indicated" in text for text in got)
    assert all(text.startswith("law.yaml:") for text in got)


# --- time ---------------------------------------------------------------------------------

NEW: dict[str, Value] = {
    "training.compute": 2e26,
    "weights.public": False,
    "release.eu_market_date": date(2026, 1, 1),
}


@pytest.mark.parametrize(
    ("day", "standing", "verdict", "foreseen"),
    [
        (date(2023, 12, 31), Standing.NOT_ENACTED, Verdict.DOES_NOT_APPLY, None),
        (date(2024, 1, 1), Standing.UPCOMING, Verdict.DOES_NOT_APPLY, Verdict.APPLIES),
        (date(2025, 8, 1), Standing.UPCOMING, Verdict.DOES_NOT_APPLY, Verdict.APPLIES),
        (date(2025, 8, 2), Standing.APPLICABLE, Verdict.APPLIES, None),
        (date(2026, 8, 1), Standing.APPLICABLE, Verdict.APPLIES, None),
        (date(2026, 8, 2), Standing.ENFORCEABLE, Verdict.APPLIES, None),
    ],
)
def test_a_rule_walks_through_its_days(
    day: date, standing: Standing, verdict: Verdict, foreseen: Verdict | None
) -> None:
    found = find("ex.tell", NEW, day)
    assert (found.standing, found.verdict, found.foreseen) == (standing, verdict, foreseen)
    assert (found.applies_from, found.enforceable_from) == (date(2025, 8, 2), date(2026, 8, 2))


@pytest.mark.parametrize(
    ("market", "standing"),
    [(date(2025, 8, 1), Standing.TRANSITION), (date(2025, 8, 2), Standing.ENFORCEABLE)],
)
def test_a_transition_ends_on_its_day(market: date, standing: Standing) -> None:
    facts: dict[str, Value] = {**NEW, "release.eu_market_date": market}
    assert find("ex.tell", facts).standing is standing
    assert find("ex.tell", facts, date(2027, 8, 2)).standing is Standing.ENFORCEABLE


def test_an_unknown_market_date_is_a_question_only_while_it_matters() -> None:
    facts: dict[str, Value] = {"training.compute": 2e26, "weights.public": False}
    found = find("ex.tell", facts)
    assert (found.verdict, found.standing) == (Verdict.UNDETERMINED, Standing.UNSETTLED)
    assert found.questions == ("release.eu_market_date",)
    assert find("ex.tell", facts, date(2027, 8, 2)).verdict is Verdict.APPLIES
    assert find("ex.tell", {**facts, "training.compute": 1e20}).missing == ()


def test_parameters_have_the_value_of_the_day() -> None:
    facts: dict[str, Value] = {"training.compute": 5e25}
    assert find("ex.large", facts, date(2026, 6, 30)).verdict is Verdict.APPLIES
    assert find("ex.large", facts, date(2026, 7, 1)).verdict is Verdict.DOES_NOT_APPLY
    later = {"training.compute": 2e26}
    assert find("ex.later", dict(later), date(2026, 7, 26)).applies_from == date(2026, 8, 2)
    assert find("ex.later", dict(later), date(2026, 7, 27)).applies_from == date(2027, 12, 2)


def test_what_ended_is_over() -> None:
    ended = PACK.replace("    status: adopted", "    until: 2026-06-30\n    status: rescinded")
    facts: dict[str, Value] = {"training.compute": 2e26}
    assert find("ex.later", facts, date(2026, 7, 1), ended).standing is Standing.ENDED
    assert find("ex.later", facts, date(2026, 6, 30), ended).standing is Standing.UPCOMING


def test_a_proposal_never_applies() -> None:
    text = PACK.replace("    status: adopted", "    status: proposed")
    found = find("ex.later", {"training.compute": 2e26}, date(2030, 1, 1), text)
    assert (found.standing, found.verdict) == (Standing.PROPOSED, Verdict.DOES_NOT_APPLY)
    assert found.foreseen is Verdict.APPLIES


# --- conclusions, exemptions, disputes ----------------------------------------------------


def test_an_exemption_is_named() -> None:
    found = find("ex.tell", {**NEW, "weights.public": True, "license.use": True})
    assert (found.verdict, found.exempted_by) == (Verdict.DOES_NOT_APPLY, "ex.exempt")
    assert set(found.because) == {"weights.public", "license.use"}


def test_questions_go_through_conclusions_and_exemptions() -> None:
    found = find("ex.tell", {"release.eu_market_date": date(2026, 1, 1)})
    assert found.verdict is Verdict.UNDETERMINED
    assert set(found.missing) == {"training.compute", "weights.public", "license.use"}


def test_what_straddles_is_contested_with_both_sides() -> None:
    straddling: dict[str, Value] = {
        "training.compute": Interval(8e25, 2e26),
        "model.parameters.total": 10**10,
        "weights.public": False,
        "release.eu_market_date": date(2026, 1, 1),
    }
    found = find("ex.large", straddling)
    assert found.verdict is Verdict.CONTESTED
    assert {reason.side for reason in found.reasons} == {Side.FOR, Side.AGAINST}
    assert "training.compute" in found.because
    assert find("ex.tell", straddling).verdict is Verdict.CONTESTED, "it rests on what is disputed"


def test_a_no_is_not_contested_but_keeps_its_reasons() -> None:
    found = find("ex.large", {"training.compute": 1e20, "model.parameters.total": 10**10})
    assert found.verdict is Verdict.DOES_NOT_APPLY
    assert [reason.side for reason in found.reasons] == [Side.FOR]


def test_assumptions_are_named_and_give_way() -> None:
    book = FactBook([Fact("training.compute", 2e26, Basis.MEASURED)])
    said = conclude(rules_on([load_pack(PACK, "law.yaml")], TODAY), book)
    assumed = said.book.resolve("model.narrow")
    assert assumed is not None
    assert (assumed.basis, assumed.value) == (Basis.ASSUMED, False)
    assert "model.narrow" not in book, "the book that was given stays as it was"
    facts: dict[str, Value] = {"training.compute": 2e26, "model.narrow": True}
    assert find("ex.large", facts).verdict is Verdict.DOES_NOT_APPLY


def test_a_stated_conclusion_stands_where_rules_cannot_tell() -> None:
    found = find("ex.tell", {**NEW, "eu.systemic_risk": True, "training.compute": 1e20})
    assert found.verdict is Verdict.APPLIES


def test_role_and_market_tell_whom_it_concerns() -> None:
    adopter: dict[str, Value] = {**NEW, "actor.role": frozenset({"adopter"})}
    found = find("ex.tell", adopter)
    assert (found.verdict, found.because) == (Verdict.DOES_NOT_APPLY, ("actor.role",))
    elsewhere: dict[str, Value] = {**NEW, "actor.markets": frozenset({"kr"})}
    assert find("ex.tell", elsewhere).because == ("actor.markets",)
    member: dict[str, Value] = {**NEW, "actor.markets": frozenset({"de"})}
    assert find("ex.tell", member).verdict is Verdict.APPLIES


def test_duties_are_asked_about_once_they_bind() -> None:
    assert find("ex.tell", NEW).questions == ("measures.commission_notification",)
    unknown = {k: v for k, v in NEW.items() if k != "training.compute"}
    assert find("ex.tell", unknown).questions == ("training.compute",)
    met: dict[str, Value] = {**NEW, "measures.commission_notification": True}
    assert find("ex.tell", met).duties[0].state is State.MET


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("exemptions: [ex.exempt]", "exemptions: [ex.nothing]", "no exemption"),
        ("exemptions: [ex.exempt]", "concludes: eu.systemic_risk", "circle"),
        ("parameter.size and not", "parameter.sise and not", "parameter.sise"),
        ("applies_from: parameter.start", "applies_from: parameter.size", "no date parameter"),
        ("applies_from: parameter.start", "applies_from: soon", "not a date"),
        ("within: 14 days", "within: two weeks", "not a time"),
        ("within: 14 days, ", "", "belong together"),
        ("concludes: eu.systemic_risk", "concludes: training.compute", "yes or no"),
        ('comparator: ">"', 'comparator: "~"', "compares nothing"),
        ("{since: 2026-07-01, value: 1e26}", "{since: 2023-07-01, value: 1e26}", "order"),
        ("{since: 2026-07-01, value: 1e26}", "{since: 2026-07-01, value: much}", "not a number"),
        ("fact: model.narrow, value: no", "fact: model.narrow, value: perhaps", "assumption"),
        ("jurisdiction: eu\n", "jurisdiction: eu\nlaw: yes\n", "unknown key"),
    ],
)  # fmt: skip
def test_wrong_packs_are_refused_with_file_and_line(old: str, new: str, what: str) -> None:
    assert old in PACK
    with pytest.raises(PackError) as caught:
        rules_on([load_pack(PACK.replace(old, new, 1), "law.yaml")], TODAY)
    assert what in caught.value.what
    assert caught.value.location.startswith("law.yaml:")
    assert caught.value.fix


# --- laws of the engine -------------------------------------------------------------------

_NAMES = ("training.compute", "weights.public", "license.use", "release.eu_market_date",
          "model.parameters.total")  # fmt: skip


@st.composite
def facts(draw: st.DrawFn) -> dict[str, Value]:
    amounts = st.floats(1e20, 1e28)
    found: dict[str, Value] = {}
    for name in draw(st.sets(st.sampled_from(_NAMES))):
        kind = vocabulary()[name].kind
        if kind == "bool":
            found[name] = draw(st.booleans())
        elif kind == "date":
            found[name] = draw(st.dates(date(2024, 1, 1), date(2028, 1, 1)))
        elif kind == "count":
            found[name] = draw(st.integers(1, 10**12))
        else:
            found[name] = draw(amounts)
    return found


@given(facts(), facts(), st.dates(date(2023, 1, 1), date(2029, 1, 1)))
def test_learning_a_fact_never_flips_a_definite_answer(
    known: dict[str, Value], more: dict[str, Value], day: date
) -> None:
    # Exact amounts only: what asks about bounds (`low`, `high`) asks about knowledge itself.
    definite = (Verdict.APPLIES, Verdict.DOES_NOT_APPLY)
    rulebook = rules_on([load_pack(PACK, "law.yaml")], day)
    before, after = (
        {found.rule: found for found in conclude(rulebook, book(given)).findings}
        for given in (known, {**more, **known})
    )
    for rule, found in before.items():
        if found.verdict in definite and not found.foreseen:
            assert after[rule].verdict is found.verdict
        if found.foreseen in definite:
            assert after[rule].foreseen in (found.foreseen, None)


def book(given: dict[str, Value]) -> FactBook:
    return FactBook(Fact(name, value, Basis.MEASURED) for name, value in given.items())


@given(facts(), st.dates(date(2023, 1, 1), date(2029, 1, 1)))
def test_every_unknown_says_what_would_settle_it(known: dict[str, Value], day: date) -> None:
    for found in conclude(rules_on([load_pack(PACK, "x")], day), book(known)).findings:
        if found.verdict is Verdict.UNDETERMINED:
            assert found.missing
            assert not set(found.missing) & known.keys()
        else:
            assert found.verdict is Verdict.DOES_NOT_APPLY or not found.missing
