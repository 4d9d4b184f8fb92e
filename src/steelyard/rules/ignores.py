"""Findings that a person has decided to live with, for a reason and until a day.

An ignore without a reason or an expiry date does not load. When it expires the finding comes
back, and the report says so; an ignore that matches nothing is named too, so that lists do not
rot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase

from steelyard.rules.finding import Finding


@dataclass(frozen=True, slots=True)
class Ignore:
    """One decision to ignore a rule's findings."""

    rule: str
    """Rule id."""
    reason: str
    """Why; shown in every report."""
    expires: date
    """The last day on which it holds."""
    source: str = "*"
    """Pattern (as in `fnmatch`) that the source must match."""
    approved_by: str = ""


@dataclass(frozen=True, slots=True)
class IgnoredFinding:
    """A failing finding and the ignore that silences it."""

    finding: Finding
    ignore: Ignore


def apply_ignores(
    findings: Iterable[Finding], ignores: Sequence[Ignore], *, source: str, as_of: date
) -> tuple[tuple[Finding, ...], tuple[IgnoredFinding, ...], tuple[str, ...]]:
    """Set aside the failing findings that an unexpired ignore covers.

    Returns:
        The findings that remain, the ignored ones, and notices about ignores that have expired
        or match nothing.
    """
    relevant = [ignore for ignore in ignores if fnmatchcase(source, ignore.source)]
    live = {ignore.rule: ignore for ignore in relevant if ignore.expires >= as_of}
    kept: list[Finding] = []
    ignored: list[IgnoredFinding] = []
    for finding in findings:
        if finding.failing and finding.rule in live:
            ignored.append(IgnoredFinding(finding, live[finding.rule]))
        else:
            kept.append(finding)
    notices = _notices(relevant, kept, ignored, as_of)
    return tuple(kept), tuple(ignored), tuple(notices)


def _notices(
    relevant: Sequence[Ignore],
    kept: Sequence[Finding],
    ignored: Sequence[IgnoredFinding],
    as_of: date,
) -> list[str]:
    failing = {finding.rule for finding in kept if finding.failing}
    used = {item.finding.rule for item in ignored}
    notices = []
    for ignore in relevant:
        if ignore.expires < as_of:
            state = "its finding is back" if ignore.rule in failing else "remove it"
            notices.append(f"the ignore of {ignore.rule} expired on {ignore.expires}; {state}")
        elif ignore.rule not in used:
            notices.append(f"the ignore of {ignore.rule} matches no finding; remove it")
        elif (ignore.expires - as_of).days <= 30:
            notices.append(f"the ignore of {ignore.rule} expires on {ignore.expires}")
    return sorted(set(notices))
