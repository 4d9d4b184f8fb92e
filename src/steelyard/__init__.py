"""Steelyard: what an open-weight AI model is, and what follows from it.

    from datetime import date
    from steelyard import audit

    report = audit("path/to/model", as_of=date(2026, 11, 23))
    for finding in report.failing:
        print(finding.severity, finding.message)
    print(report.book.value("model.parameters.total"))

Everything named here is public and stays; each name is imported when it is first used, so that
`import steelyard` costs nothing. The other modules may change between releases.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steelyard.assessing import Assessment, assess
    from steelyard.auditing import Options, audit
    from steelyard.errors import SteelyardError
    from steelyard.facts import Basis, Contradiction, Evidence, Fact, FactBook, Interval
    from steelyard.reports.report import Report
    from steelyard.rules import Certainty, Finding, Severity, Standing, State, Verdict
    from steelyard.rules.ignores import Ignore
    from steelyard.sources import Network

_PUBLIC = {
    "Assessment": "steelyard.assessing",
    "Basis": "steelyard.facts",
    "Certainty": "steelyard.rules",
    "Contradiction": "steelyard.facts",
    "Evidence": "steelyard.facts",
    "Fact": "steelyard.facts",
    "FactBook": "steelyard.facts",
    "Finding": "steelyard.rules",
    "Ignore": "steelyard.rules.ignores",
    "Interval": "steelyard.facts",
    "Network": "steelyard.sources",
    "Options": "steelyard.auditing",
    "Report": "steelyard.reports.report",
    "Severity": "steelyard.rules",
    "Standing": "steelyard.rules",
    "State": "steelyard.rules",
    "SteelyardError": "steelyard.errors",
    "Verdict": "steelyard.rules",
    "assess": "steelyard.assessing",
    "audit": "steelyard.auditing",
}

__all__ = [
    "Assessment",
    "Basis",
    "Certainty",
    "Contradiction",
    "Evidence",
    "Fact",
    "FactBook",
    "Finding",
    "Ignore",
    "Interval",
    "Network",
    "Options",
    "Report",
    "Severity",
    "Standing",
    "State",
    "SteelyardError",
    "Verdict",
    "assess",
    "audit",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'steelyard' has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
