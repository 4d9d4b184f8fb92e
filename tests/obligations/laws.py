"""Two small laws that ask for the same thing on different days."""

from __future__ import annotations

from datetime import date

from steelyard.facts import Basis, Fact, FactBook, Value
from steelyard.rules import Finding, Pack, conclude, load_pack, rules_on

TODAY = date(2026, 11, 23)
_SOURCE = """\
    severity: error
    confidence: high
    citation: {text: "Example Act", link: "https://example.org/act"}
    reviewed: 2026-11-23
    tests:
      - {name: large, facts: {training.compute: 1e27, weights.public: no, release.date: 2026-01-01,
         release.publicly_available: yes}, expect: {verdict: does_not_apply, foreseen: applies}}
"""
EU = f"""\
id: law.one
title: First act
instrument: First Act
jurisdiction: eu
parameters:
  - id: size
    title: Compute above which a model is large
    unit: FLOP
    comparator: ">"
    values: [{{since: 2024-01-01, value: 1e25}}]
    citation: {{text: "First Act, Article 1", link: "https://example.org/1"}}
    topic: compute_threshold
rules:
  - id: one.free
    title: Small open models are free of the duties
    status: in_force
    enacted: 2024-01-01
    applies_from: 2025-08-02
    when: weights.public and training.compute <= parameter.size
    topic: exemption
{_SOURCE.replace("error", "note")}
  - id: one.report
    title: Large models come with a transparency report
    status: in_force
    enacted: 2024-01-01
    applies_from: 2025-08-02
    enforceable_from: 2026-08-02
    roles: [provider]
    when: training.compute > parameter.size
    exemptions: [one.free]
    topic: transparency_report
    duties:
      - id: report
        text: A transparency report is public.
        satisfied_when: measures.transparency_report
        fix: Publish it.
      - id: contact
        text: A contact is named.
        satisfied_when: card.contact
        fix: Name a contact in the card.
        deadline: {{within: 14 days, after: release.date, text: 14 days after the release}}
{_SOURCE}
"""
CALIFORNIA = f"""\
id: law.two
title: Second act
jurisdiction: us-ca
parameters:
  - id: size
    title: Compute above which a model is a frontier model
    unit: FLOP
    comparator: ">"
    values: [{{since: 2024-01-01, value: 1e26}}]
    citation: {{text: "Second Act, section 1", link: "https://example.org/2"}}
    topic: compute_threshold
rules:
  - id: two.report
    title: Frontier models come with a transparency report
    status: adopted
    enacted: 2025-09-29
    applies_from: 2027-01-01
    enforceable_from: 2027-01-01
    roles: [provider]
    when: training.compute > parameter.size
    topic: transparency_report
    duties:
      - id: report
        text: A transparency report is public before the model is deployed.
        satisfied_when: measures.transparency_report
        fix: Publish it.
{_SOURCE}
  - id: two.proposed
    title: A bill that asks for audits
    status: proposed
    enacted: 2026-01-01
    when: training.compute > parameter.size
    topic: audit
    duties:
      - id: audit
        text: An audit is made.
        satisfied_when: measures.independent_audit
        fix: Commission an audit.
{_SOURCE}
"""


def packs() -> tuple[Pack, ...]:
    return load_pack(EU, "one.yaml"), load_pack(CALIFORNIA, "two.yaml")


def book(facts: dict[str, Value]) -> FactBook:
    return FactBook(Fact(name, value, Basis.DECLARED) for name, value in facts.items())


def findings(facts: dict[str, Value], day: date = TODAY) -> tuple[Finding, ...]:
    return conclude(rules_on(packs(), day), book(facts)).findings
