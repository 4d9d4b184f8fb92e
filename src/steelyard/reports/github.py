"""The report as workflow commands: what is wrong becomes annotations in GitHub Actions.

GitHub shows ten annotations of each kind in one step. The gravest come first, and what does not
fit is counted and written as plain lines of the log. The rules of escaping are those of the runner
(`actions/toolkit`, `@actions/core`: command.ts).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from steelyard.reports.alerts import Alert, alerts, from_here, subject
from steelyard.reports.report import Report
from steelyard.reports.text import counted, plain
from steelyard.rules import Severity

MOST: Final = 10
"""Annotations of one kind that GitHub shows for a step."""
_KINDS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
_LONGEST: Final = 1000


def render(report: Report) -> str:
    """Return the report as lines that the runner of GitHub Actions reads."""
    found = alerts(report)
    notices = [f"{subject(report)}: {notice}" for notice in report.notices]
    shown: list[Alert] = []
    rest: list[Alert] = []
    for severity in Severity:
        own = [alert for alert in found if alert.severity is severity]
        # What is said about the audit itself takes one of the places of notes.
        room = MOST - 1 if severity is Severity.NOTE else MOST
        shown += own[:room]
        rest += own[room:]
    if rest:
        more = ", ".join(
            counted(count, severity.value)
            for severity in Severity
            if (count := sum(alert.severity is severity for alert in rest))
        )
        notices.append(f"{more} more: see the log of this step, or another format")
    lines = [_command(report, alert) for alert in shown]
    if notices:
        lines.append(f"::notice title=steelyard::{_data('; '.join(notices))}")
    lines += [_line(report, alert) for alert in rest]
    lines += _summary(report, found)
    return "".join(f"{line}\n" for line in lines)


def _command(report: Report, alert: Alert) -> str:
    place = alert.place
    properties = {"file": _property(from_here(report, place.file))}
    if place.line is not None:
        properties["line"] = str(place.line)
    properties["title"] = _property(f"{alert.rule} {alert.title}")
    said = ",".join(f"{name}={value}" for name, value in properties.items())
    at = "" if place.offset is None else f" (at byte {place.offset})"
    fixes = "".join(f"\nFix: {plain(fix, _LONGEST)}" for fix in alert.fixes)
    message = _data(f"{plain(alert.message, _LONGEST)}{at}{fixes}")
    return f"::{_KINDS[alert.severity]} {said}::{message}"


def _line(report: Report, alert: Alert) -> str:
    where = from_here(report, alert.place.file)
    return _quiet(f"{alert.severity.value} {alert.rule} {where}: {alert.message}")


def _summary(report: Report, found: Iterable[Alert]) -> Iterable[str]:
    severities = [alert.severity for alert in found]
    counts = ", ".join(counted(severities.count(one), one.value) for one in Severity)
    # The first word is ours: a line that begins with the model's name may begin a command.
    audited = f"Audited {subject(report)} as of {report.as_of} with steelyard {report.version}"
    yield _quiet(f"{audited}: {counts}")


def _quiet(text: str) -> str:
    """Write a line that is no command: the older kind, `##[name]`, is found anywhere in it."""
    return plain(text, 2 * _LONGEST).replace("##[", "## [")


def _data(text: str) -> str:
    """Escape what a command says."""
    lines = (plain(line, 2 * _LONGEST) for line in text.split("\n"))
    escaped = "%0A".join(line.replace("%", "%25").replace("\r", "%0D") for line in lines)
    return escaped.replace("##[", "## [")


def _property(text: str) -> str:
    """Escape a property of a command, which ends at a colon or a comma."""
    return _data(plain(text, _LONGEST)).replace(":", "%3A").replace(",", "%2C")
