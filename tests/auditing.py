"""Audit a source as of one day, without a network unless one is given."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from steelyard.auditing import Options, audit
from steelyard.reports.report import Report
from steelyard.sources import Network

AS_OF = date(2026, 11, 23)
OFFLINE = Network(offline=True)


def weigh(source: Path | str, **options: Any) -> Report:
    return audit(source, as_of=AS_OF, options=Options(**{"network": OFFLINE, **options}))
