"""What a rule is, as SARIF describes it: `reportingDescriptor` (3.49)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from steelyard.reports.alerts import Alert
from steelyard.reports.sarif.wording import markdown, message, text
from steelyard.rules import Finding, Severity

MOST_TAGS: Final = 20
"""More on one rule, and GitHub refuses the file."""
_SECURITY: Final = "security"
_SCORES: Final = {Severity.ERROR: "9.3", Severity.WARNING: "5.5", Severity.NOTE: "2.0"}
"""How GitHub ranks alerts about security: above 9.0 critical, from 4.0 medium, below that low."""
_RANKS: Final = {
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.NOTE: "recommendation",
}
_ABOUT_CONTRADICTIONS: Final = (
    "Two statements about one fact, read from different places, cannot both be true. The "
    "stronger one was used: what is measured goes before what is derived, and that before what "
    "is declared."
)


def descriptor(alert: Alert) -> dict[str, Any]:
    """Describe the rule of an alert: what it asks for, why, and how to fulfill it."""
    finding = alert.finding
    about = _about(finding) if finding else [_ABOUT_CONTRADICTIONS]
    # Of every duty, met or not: a rule reads the same whatever model it was asked of.
    fixes = list(dict.fromkeys(duty.fix for duty in finding.duties)) if finding else alert.fixes
    source = _source(finding)
    lines = [*about, *(f"Fix: {fix}" for fix in fixes), *([source] if source else [])]
    described: dict[str, Any] = {
        "id": alert.rule,
        "shortDescription": message(alert.title),
        "fullDescription": message(" ".join(about)),
        "help": {"text": text("\n".join(lines)), "markdown": _help(alert, about, fixes)},
        "defaultConfiguration": {"level": alert.severity.value},
        "properties": _properties(alert, finding),
    }
    if finding is not None and finding.link:
        described["helpUri"] = finding.link
    return described


def tags(finding: Finding | None) -> list[str]:
    """Return every tag of a rule; those of law have their jurisdiction, too."""
    if finding is None:
        return [CONTRADICTION_TAG]
    found = [*finding.tags, *([finding.jurisdiction] if finding.is_law else [])]
    return list(dict.fromkeys(found))


CONTRADICTION_TAG: Final = "contradiction"


def _about(finding: Finding) -> list[str]:
    return list(dict.fromkeys(duty.text for duty in finding.duties)) or [finding.title]


def _source(finding: Finding | None) -> str:
    if finding is None:
        return ""
    reviewed = f"reviewed {finding.reviewed}, confidence {finding.confidence.value}"
    return f"Source: {finding.citation} ({reviewed})"


def _help(alert: Alert, about: Iterable[str], fixes: Sequence[str]) -> str:
    finding = alert.finding
    lines = [f"**{markdown(alert.title)}**", "", *(f"- {markdown(duty)}" for duty in about)]
    if fixes:
        lines += ["", "**Fix**", "", *(f"- {markdown(fix)}" for fix in fixes)]
    if finding is not None:
        where = f"[source](<{finding.link}>), " if finding.link else ""
        said = f"reviewed {finding.reviewed}, confidence {finding.confidence.value}"
        lines += ["", f"{markdown(finding.citation)} ({where}{said})"]
        if not finding.is_law:
            lines += ["", f"`steelyard explain {alert.rule}` says more."]
    return "\n".join(lines)


def _properties(alert: Alert, finding: Finding | None) -> dict[str, Any]:
    found = tags(finding)
    properties: dict[str, Any] = {
        "problem.severity": _RANKS[alert.severity],
        "precision": finding.confidence.value if finding else "high",
        "tags": found[:MOST_TAGS],
    }
    if _SECURITY in found:
        properties["security-severity"] = _SCORES[alert.severity]
    return properties
