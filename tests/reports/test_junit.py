"""JUnit XML: valid, and a case fails where the audit does."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from xml.etree import ElementTree as Tree

import pytest
import xmlschema
from hypothesis import given, settings

from steelyard.facts import Basis, Evidence, Fact
from steelyard.reports.junit import render
from steelyard.rules import Severity
from steelyard.rules.ignores import Ignore
from tests.auditing import weigh
from tests.containers import model_folder
from tests.reports import golden
from tests.reports.hostile import names, spoiled, texts
from tests.reports.samples import FACTS, sample
from tests.reports.schemas import check_junit, junit_schema, require


def read(text: str) -> Tree.Element:
    """Parse a report that Jenkins' schema accepts."""
    check_junit(text)
    return Tree.fromstring(text)  # noqa: S314  our own report, just written


def outcomes(root: Tree.Element) -> dict[str, str]:
    """Return by rule `failure`, `skipped` or nothing."""
    return {
        str(case.get("name")).split()[0]: next((child.tag for child in case), "")
        for case in root.iter("testcase")
    }


def test_the_schema_of_jenkins_is_at_hand() -> None:
    require(junit_schema())
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        check_junit("<testsuites><testcase/></testsuites>")


def test_golden() -> None:
    text = render(sample())
    read(text)
    golden.check("report.xml", text)


@pytest.mark.parametrize(
    ("fail_on", "expected"),
    [
        (Severity.ERROR, {"LIC900": "failure", "DOC900": "skipped"}),
        (Severity.WARNING, {"LIC900": "failure", "DOC900": "failure"}),
        (None, {"LIC900": "skipped", "DOC900": "skipped"}),
    ],
)
def test_a_case_fails_where_the_audit_does(
    fail_on: Severity | None, expected: dict[str, str]
) -> None:
    root = read(render(sample(), fail_on=fail_on))
    assert outcomes(root) == {**expected, "CMP900": "skipped"}
    suite = root.find("testsuite")
    assert suite is not None
    failures = sum(outcome == "failure" for outcome in expected.values())
    assert suite.get("failures") == root.get("failures") == str(failures)
    assert suite.get("tests") == "3"


def test_what_is_undetermined_fails_when_strict() -> None:
    found = outcomes(read(render(sample(), fail_on=Severity.NOTE, strict=True)))
    assert found["CMP900"] == "failure"
    assert outcomes(read(render(sample(), strict=True)))["CMP900"] == "skipped"


def test_what_is_ignored_is_skipped_with_its_reason() -> None:
    report = sample(Ignore("LIC900", "is being settled", date(2027, 3, 31)))
    root = read(render(report))
    (case,) = [c for c in root.iter("testcase") if str(c.get("name")).startswith("LIC900")]
    skipped = case.find("skipped")
    assert skipped is not None
    assert str(skipped.get("message")).startswith("ignored until 2027-03-31, is being settled")
    assert root.get("failures") == "0"


def test_a_contradiction_that_no_rule_tells_has_a_suite_of_its_own() -> None:
    other = Fact("model.layers", 5, Basis.DECLARED, (Evidence("own.json"),))
    root = read(render(sample(facts=(*FACTS, other))))
    assert [suite.get("name") for suite in root] == [
        "Sample practice: models/tiny", "Contradictions: models/tiny",
    ]  # fmt: skip


def test_what_passes_is_a_case_and_what_does_not_apply_is_none(tmp_path: Path) -> None:
    report = weigh(model_folder(tmp_path / "tiny"), only=["card"])
    root = read(render(report))
    found = outcomes(root)
    assert found["DOC001"] == ""
    assert "DOC012" not in found
    (noted,) = [p for p in root.iter("property") if p.get("name") == "notice.1"]
    assert "only card was asked for" in str(noted.get("value"))


@settings(max_examples=150, deadline=None)
@given(texts, names)
def test_hostile_text_stays_text(text: str, name: str) -> None:
    plain = outcomes(read(render(sample())))
    root = read(render(spoiled(text, name)))
    assert outcomes(root).keys() - {"The"} == plain.keys()
    for element in root.iter():
        assert element.tag in {
            "testsuites", "testsuite", "properties", "property", "testcase", "failure", "skipped",
        }  # fmt: skip


def test_the_same_report_gives_the_same_bytes() -> None:
    report = replace(sample(), notices=("b", "a"))
    assert render(report) == render(report)
