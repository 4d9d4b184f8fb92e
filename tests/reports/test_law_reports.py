"""Reports about law: what binds comes first, what does not is one line, principles never fail."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import jsonschema
import pytest

from steelyard.assessing import assess
from steelyard.facts import Basis, Fact, FactBook, Value
from steelyard.reports import json as json_report
from steelyard.reports import markdown, terminal
from steelyard.reports.assessments import csv as csv_table
from steelyard.reports.assessments import json as json_table
from steelyard.reports.assessments import terminal as terminal_table
from steelyard.reports.assessments.rows import AssessedRow, AssessedTable, flat
from steelyard.reports.law import law_outline
from steelyard.reports.report import Report
from steelyard.rules import State, Status
from tests.obligations.laws import packs
from tests.reports import golden
from tests.reports.samples import sample

DAY = date(2026, 11, 23)
BOUND: dict[str, Value] = {
    "training.compute": 1e27,
    "weights.public": False,
    "release.date": date(2026, 11, 1),
    "card.contact": False,
    "actor.role": frozenset({"provider"}),
    "actor.markets": frozenset({"eu", "us-ca"}),
}
FREE: dict[str, Value] = {**BOUND, "training.compute": 1e20, "weights.public": True}


def report(facts: dict[str, Value]) -> Report:
    book = FactBook(Fact(name, value, Basis.DECLARED) for name, value in facts.items())
    said = assess(book, as_of=DAY, packs=packs())
    return replace(sample(), book=said.book, findings=said.findings)


def table(*rows: dict[str, Value]) -> AssessedTable:
    said = [(facts, assess(facts, as_of=DAY, packs=packs())) for facts in rows]
    found = [
        AssessedRow(f"=row{n}", {"note": "+1"}, one.book, one.findings)
        for n, (_, one) in enumerate(said, 1)
    ]
    return AssessedTable(DAY, [flat(row) for row in found], found)


@pytest.mark.parametrize(("name", "facts"), [("bound", BOUND), ("free", FREE)])
def test_golden(name: str, facts: dict[str, Value]) -> None:
    golden.check(f"law-{name}.txt", terminal.render(report(facts), width=80))
    golden.check(f"law-{name}.md", markdown.render(report(facts)))


def test_json_is_valid_and_complete_about_law() -> None:
    said = json.loads(json_report.render(report(BOUND)))
    jsonschema.validate(said, json.loads(json_report.shipped_schema()))
    found = {finding["rule"]: finding for finding in said["findings"]}
    assert found["one.report"]["standing"] == "enforceable"
    assert found["two.report"]["foreseen"] == "applies"
    assert found["two.report"]["verdict"] == "does_not_apply"
    assert found["two.proposed"]["standing"] == "proposed"
    contact = found["one.report"]["duties"][1]
    assert (contact["state"], contact["due"]) == ("unmet", "2026-11-15")


def test_what_does_not_bind_is_one_line() -> None:
    outline = law_outline(report(FREE).findings, report(FREE).book)
    assert outline is not None
    assert (outline.binding, outline.coming, outline.contested) == ((), (), ())
    assert "do not bind" in outline.elsewhere
    assert outline.undetermined == ""
    assert "nothing found for provider in eu, us-ca" in terminal.render(report(FREE))


def test_nothing_is_said_about_law_where_nobody_asked() -> None:
    assert law_outline(sample().findings, sample().book) is None
    assert "Binds you" not in terminal.render(sample())


def test_principles_are_documented_or_not_and_never_fail() -> None:
    (unmet,) = (f for f in report(BOUND).findings if f.failing)
    principle = replace(unmet, status=Status.PRINCIPLE)
    assert not principle.failing
    outline = law_outline([principle], report(BOUND).book)
    assert outline is not None
    assert outline.principles == ("0 of 2 points documented: one.report",)
    assert outline.binding == ()


def test_lines_fit() -> None:
    for facts in (BOUND, FREE):
        for line in terminal.render(report(facts), width=72).splitlines():
            assert len(line) <= 72
            assert line == line.rstrip()


def test_unmet_duties_of_law_fail_the_report() -> None:
    failing = report(BOUND).failing
    assert [finding.rule for finding in failing] == ["one.report"]
    assert State.UNMET in {duty.state for duty in failing[0].duties}
    assert "Name a contact in the card." in report(BOUND).next_steps()


def test_a_duty_whose_day_is_still_to_come_does_not_fail_yet() -> None:
    early = report({**BOUND, "release.date": date(2026, 11, 20)})
    assert early.failing == ()
    assert "due 2026-12-04" in terminal.render(early)


def test_tables_have_a_row_for_each_row_and_run_no_formulas() -> None:
    text = csv_table.render(table(BOUND, FREE))
    lines = text.splitlines()
    assert len(lines) == 3
    assert "one.report" in lines[0]
    assert lines[1].startswith("'=row1,'+1,")
    assert "later applies" in lines[1]
    listed = json.loads(json_table.render(table(BOUND, FREE)))
    assert [row["row"] for row in listed] == ["=row1", "=row2"]
    assert {f["rule"] for f in listed[0]["findings"]} == {f["rule"] for f in listed[1]["findings"]}
    assert "=row2" in terminal_table.render(table(BOUND, FREE))
    assert "Binds you" in terminal_table.render(table(BOUND))
