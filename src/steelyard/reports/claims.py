"""Words for facts: how their values and places read in reports for people."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date

from steelyard.facts import Basis, Evidence, Fact, Interval, Value, term
from steelyard.reports.text import LONGEST, amount, plain, size


def value_text(value: Value, unit: str = "", longest: int = LONGEST) -> str:
    """Write a value for a person."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Interval):
        text = f"{amount(value.low)} to {amount(value.high)}"
        if value.high == math.inf:
            text = f"at least {amount(value.low)}"
        return f"{text} {unit}".strip()
    if isinstance(value, int | float):
        return size(int(value)) if unit == "bytes" else f"{amount(value)} {unit}".strip()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, frozenset):
        return plain(", ".join(sorted(value)), longest) if value else "none"
    return plain(value, longest)


def fact_text(fact: Fact) -> str:
    """Write a fact's value with its unit."""
    return value_text(fact.value, term(fact.name).unit)


def place(evidence: Evidence) -> str:
    """Write where a fact comes from."""
    return plain(evidence.place, 100)


def places(fact: Fact, most: int = 2) -> str:
    """Write where a fact comes from, the first few places only.

    A measurement names its files; a declaration the line or field, too.
    """
    measured = fact.basis is Basis.MEASURED
    shown = (replace(e, field=None) if measured and e.file else e for e in fact.evidence)
    named = [text for text in dict.fromkeys(map(place, shown)) if text]
    rest = f" and {len(named) - most} more" if len(named) > most else ""
    return ", ".join(named[:most]) + rest
