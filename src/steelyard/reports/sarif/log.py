"""The SARIF log of one audit: one run, its rules, results, files, and what to know about it.

Only what is wrong is a result. What passes is left out, for GitHub shows it as a problem; what is
undetermined is told as a notification, for a result that is not a failure has no level (3.27.9);
what was ignored is left out unless asked for, for GitHub heeds no `suppressions`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from steelyard.reports.alerts import Alert, Place, alerts, from_here, subject
from steelyard.reports.report import FileInfo, Report
from steelyard.reports.sarif.rules import MOST_TAGS, descriptor, tags
from steelyard.reports.sarif.wording import message, text, uri
from steelyard.reports.text import counted

VERSION: Final = "2.1.0"
SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
MOST_RESULTS: Final = 25_000
"""More in one run, and GitHub refuses the file."""
_MOST_FILES: Final = 10_000


def render(report: Report, *, suppressed: bool = False, most: int = MOST_RESULTS) -> str:
    """Return the report as a SARIF log: two-space indent, ASCII, one newline at the end.

    Args:
        report: What an audit says.
        suppressed: Add what was ignored, as suppressed results.
        most: How many results are kept, the gravest first.
    """
    found = alerts(report, ignored=suppressed)
    log = {"$schema": SCHEMA, "version": VERSION, "runs": [_run(report, found, most, suppressed)]}
    return json.dumps(log, indent=2) + "\n"


def _run(report: Report, found: Sequence[Alert], most: int, suppressed: bool) -> dict[str, Any]:
    kept = found[:most]
    by_rule: dict[str, Alert] = {}
    for alert in kept:
        by_rule.setdefault(alert.rule, alert)
    rules = {rule: number for number, rule in enumerate(sorted(by_rule))}
    files = _files(report, kept)
    places = {path: number for number, path in enumerate(files)}
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "steelyard",
                "version": report.version,
                "rules": [descriptor(by_rule[rule]) for rule in rules],
            }
        },
        "automationDetails": {"id": f"steelyard/{text(subject(report))}/"},
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [
                    {"level": "note", "message": message(notice)}
                    for notice in _notices(report, found, most, suppressed)
                ],
            }
        ],
        "artifacts": [_artifact(report, path, info) for path, info in files.items()],
        "results": [_result(report, alert, rules, places) for alert in kept],
        "properties": _properties(report),
    }
    return run


def _result(
    report: Report, alert: Alert, rules: Mapping[str, int], files: Mapping[str, int]
) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": alert.rule,
        "ruleIndex": rules[alert.rule],
        "kind": "fail",
        "level": alert.severity.value,
        "message": message(alert.message),
        "locations": [_location(report, alert.place, files)],
        "partialFingerprints": {
            "steelyard/v1": alert.identity,
            # GitHub knows an alert again by this alone; its form is a hash and a counter.
            "primaryLocationLineHash": f"{alert.identity[:16]}:1",
        },
    }
    if alert.also:
        result["relatedLocations"] = [
            {
                "id": number,
                **_location(report, place, files, related=True),
                "message": message(place.says),
            }
            for number, place in enumerate(alert.also)
        ]
    if alert.ignore is not None:
        result["suppressions"] = [
            {
                "kind": "external",
                "status": "accepted",
                "justification": text(
                    f"{alert.ignore.reason} (until {alert.ignore.expires}"
                    + (f", {alert.ignore.approved_by})" if alert.ignore.approved_by else ")")
                ),
            }
        ]
    return result


def _location(
    report: Report, place: Place, files: Mapping[str, int], *, related: bool = False
) -> dict[str, Any]:
    artifact: dict[str, Any] = {"uri": uri(from_here(report, place.file))}
    if place.file in files:
        artifact["index"] = files[place.file]
    region: dict[str, Any] = {}
    if place.line is not None:
        region["startLine"] = max(place.line, 1)
    elif not related:
        # GitHub wants a line in the place of every result, in files without lines as well.
        region["startLine"] = 1
    if place.offset is not None:
        region["byteOffset"] = place.offset
    physical = {"artifactLocation": artifact} | ({"region": region} if region else {})
    return {"physicalLocation": physical}


def _files(report: Report, kept: Sequence[Alert]) -> dict[str, FileInfo]:
    """Return the files to describe: those that results name, then the others, up to a limit."""
    there = {file.path: file for file in report.files}
    named = {place.file for alert in kept for place in (alert.place, *alert.also)}
    order = sorted(there, key=lambda path: (path not in named, path))[:_MOST_FILES]
    return {path: there[path] for path in sorted(order)}


def _artifact(report: Report, path: str, info: FileInfo) -> dict[str, Any]:
    artifact: dict[str, Any] = {
        "location": {"uri": uri(from_here(report, path))},
        "length": info.size,
    }
    if info.role != "other":
        artifact["roles"] = ["analysisTarget"]
    if info.sha256:
        artifact["hashes"] = {"sha-256": info.sha256}
        artifact["properties"] = {"sha256Basis": info.sha256_basis}
    return artifact


def _notices(report: Report, found: Sequence[Alert], most: int, suppressed: bool) -> list[str]:
    """Say what the reader should know about the run itself, and what is not in it."""
    said = list(report.notices)
    if report.questions:
        names = ", ".join(question.term.name for question in report.questions)
        rules = counted(len(report.undetermined), "rule")
        said.append(f"{rules} undetermined; these facts would settle what is open: {names}")
    if report.ignored and not suppressed:
        said.append(f"{counted(len(report.ignored), 'finding')} ignored and left out")
    if len(found) > most:
        left = counted(len(found) - most, "result")
        said.append(f"{left} left out: no more than {most:,} are read")
    for rule, count in sorted({(one.rule, len(tags(one.finding))) for one in found}):
        if count > MOST_TAGS:
            said.append(f"{rule} has {count} tags, of which {MOST_TAGS} are kept")
    left_out = len(report.files) - _MOST_FILES
    if left_out > 0:
        said.append(f"{counted(left_out, 'file')} not listed among the artifacts")
    return said


def _properties(report: Report) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "asOf": report.as_of.isoformat(),
        "source": text(report.source.spec),
        "packs": [{"id": pack.id, "digest": pack.digest} for pack in report.packs],
        "undetermined": sorted(finding.rule for finding in report.undetermined),
    }
    if report.source.revision:
        properties["revision"] = text(report.source.revision)
    if report.only:
        properties["only"] = list(report.only)
    return properties
