"""The report as JUnit XML, as Jenkins and GitLab read it: a suite a pack, a case a rule.

A case fails where the audit does. What is wrong and does not make it fail, what is ignored and what
is undetermined are skipped cases that say so: none of them is shown as passed. Rules that do not
apply are left out. The shape is that of Jenkins' `junit-10.xsd`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as Tree

from steelyard.reports.alerts import Alert, alerts, from_here, subject
from steelyard.reports.report import Report
from steelyard.reports.text import plain
from steelyard.rules import Finding, Severity, Verdict

_LONGEST: Final = 2000
_CONTRADICTIONS: Final = "contradictions"


@dataclass(frozen=True, slots=True)
class _Case:
    suite: str
    name: str
    outcome: str = ""
    """`failure` or `skipped`; empty where it passes."""
    kind: str = ""
    message: str = ""
    details: tuple[str, ...] = ()


def render(
    report: Report, *, fail_on: Severity | None = Severity.ERROR, strict: bool = False
) -> str:
    """Return the report as JUnit XML.

    Args:
        report: What an audit says.
        fail_on: The least severity that fails a case; None if nothing does.
        strict: Let what is undetermined fail too.
    """
    cases = [*_wrong(report, fail_on), *_others(report, fail_on, strict)]
    suites = [*(pack.id for pack in report.packs), _CONTRADICTIONS]
    titles = {pack.id: pack.title for pack in report.packs}
    totals = _counts("steelyard", cases)
    del totals["skipped"]  # the schema has it for suites alone
    root = Tree.Element("testsuites", totals)
    for suite in suites:
        own = sorted((case for case in cases if case.suite == suite), key=lambda case: case.name)
        if own:
            title = f"{titles.get(suite, 'Contradictions')}: {subject(report)}"
            element = Tree.SubElement(root, "testsuite", _counts(plain(title), own))
            _describe(element, report)
            for case in own:
                _write(element, case)
    Tree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{Tree.tostring(root, "unicode")}\n'


def _wrong(report: Report, fail_on: Severity | None) -> Iterable[_Case]:
    for alert in alerts(report, ignored=True):
        finding = alert.finding
        suite = finding.pack if finding else _CONTRADICTIONS
        name = alert.rule if finding is None else f"{alert.rule} {alert.title}"
        if finding is None:
            name = alert.message.partition(":")[0]
        details = tuple(_details(report, alert))
        if alert.ignore is not None:
            why = f"ignored until {alert.ignore.expires}, {alert.ignore.reason}"
            yield _Case(suite, name, "skipped", "ignored", f"{why}: {alert.message}", details)
        elif finding is not None and fail_on is not None and finding.at_least(fail_on):
            yield _Case(suite, name, "failure", alert.severity.value, alert.message, details)
        else:
            said = f"{alert.severity.value}, does not fail the audit: {alert.message}"
            yield _Case(suite, name, "skipped", alert.severity.value, said, details)


def _others(report: Report, fail_on: Severity | None, strict: bool) -> Iterable[_Case]:
    """Yield the cases of rules that apply, or may apply, and are not failing."""
    waiting = {id(finding) for finding in report.undetermined}
    for finding in report.findings:
        if finding.failing or finding.verdict is Verdict.DOES_NOT_APPLY:
            continue
        name = f"{finding.rule} {finding.title}"
        if id(finding) in waiting:
            fails = strict and fail_on is not None and finding.severity.rank <= fail_on.rank
            said = f"undetermined; would be settled by: {', '.join(finding.questions)}"
            outcome = "failure" if fails else "skipped"
            yield _Case(finding.pack, name, outcome, "undetermined", said)
        elif finding.verdict in (Verdict.UNDETERMINED, Verdict.CONTESTED):
            yield _Case(finding.pack, name, "skipped", finding.verdict.value, _verdict(finding))
        else:
            yield _Case(finding.pack, name)


def _verdict(finding: Finding) -> str:
    return f"{finding.verdict.value}: {finding.citation}"


def _details(report: Report, alert: Alert) -> Iterable[str]:
    place = alert.place
    where = from_here(report, place.file)
    if place.line is not None:
        where = f"{where}:{place.line}"
    elif place.offset is not None:
        where = f"{where} at byte {place.offset}"
    yield f"{alert.severity.value} {alert.rule} in {where}"
    yield alert.message
    yield from (f"Fix: {fix}" for fix in alert.fixes)
    if alert.finding is not None:
        yield f"Source: {alert.finding.citation} {alert.finding.link}"


def _counts(name: str, cases: Sequence[_Case]) -> dict[str, str]:
    outcomes = [case.outcome for case in cases]
    return {
        "name": name,
        "tests": str(len(cases)),
        "failures": str(outcomes.count("failure")),
        "errors": "0",
        "skipped": str(outcomes.count("skipped")),
    }


def _describe(suite: Tree.Element, report: Report) -> None:
    properties = Tree.SubElement(suite, "properties")
    said = [
        ("steelyard", report.version),
        ("as_of", report.as_of.isoformat()),
        ("source", report.source.spec),
        ("revision", report.source.revision or ""),
        ("only", ", ".join(report.only)),
        *((f"notice.{number}", notice) for number, notice in enumerate(report.notices, 1)),
    ]
    for name, value in said:
        if value:
            Tree.SubElement(properties, "property", {"name": name, "value": _clean(value)})


def _write(suite: Tree.Element, case: _Case) -> None:
    names = {"name": _clean(case.name), "classname": f"steelyard.{case.suite}"}
    element = Tree.SubElement(suite, "testcase", names)
    if case.outcome:
        said = {"message": _clean(case.message), "type": case.kind}
        outcome = Tree.SubElement(element, case.outcome, said)
        outcome.text = "\n".join(map(_clean, case.details)) or None


def _clean(text: str) -> str:
    """Leave out what XML 1.0 cannot hold, and keep to one line."""
    return plain(text, _LONGEST)
