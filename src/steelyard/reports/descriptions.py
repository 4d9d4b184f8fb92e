"""Lines about a model that need more than one fact: its training compute, and what is open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from steelyard.compute import break_even
from steelyard.facts import Basis, FactBook, Interval
from steelyard.reports.claims import fact_text, value_text
from steelyard.reports.report import Report
from steelyard.reports.text import amount, plain

_LARGE: Final = 1e9
"""Below this many parameters no threshold is told: no plausible training crosses one."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One line about the model: what is said, on which basis, and where that stands."""

    label: str
    text: str
    basis: str
    places: str = ""


def compute(report: Report) -> Iterable[Statement]:
    """Tell the training compute, or at how many tokens it would cross the thresholds of laws."""
    fact = report.book.resolve("training.compute")
    if fact is not None and fact.basis is not Basis.ASSUMED:
        note = f"; {plain(fact.note, 160)}" if fact.note else ""
        yield Statement("Compute", f"{fact_text(fact)}{note}", fact.basis.value)
        return
    parameters = _parameters(report.book)
    if parameters is None or parameters < _LARGE or "training.tokens" in report.book:
        return
    crossings = [
        f"{amount(flop)} at {_tokens(break_even(flop, parameters))}"
        for flop in dict.fromkeys(threshold.flop for threshold in report.thresholds)
    ]
    if crossings:
        text = f"unknown: no token count; crosses {', '.join(crossings)} tokens"
        yield Statement("Compute", text, Basis.DERIVED.value)


def _parameters(book: FactBook) -> float | None:
    for name in ("model.parameters.active", "model.parameters.total"):
        value = book.value(name)
        if isinstance(value, Interval):
            return value.middle
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value) or None
    return None


def _tokens(count: float) -> str:
    for scale, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if count >= scale:
            number = count / scale
            return f"{number:.3g}{unit}" if number < 1000 else f"{number:,.0f}{unit}"
    return f"{count:.3g}"


def openness(book: FactBook) -> Iterable[Statement]:
    """Tell in one line what is open; what nobody knows is left out."""
    parts = []
    for name, word in (
        ("weights.public", "weights"),
        ("architecture.public", "architecture"),
        ("usage_info.public", "usage information"),
        ("data.public", "data"),
        ("code.public", "code"),
    ):
        value = book.value(name)
        if isinstance(value, bool):
            parts.append(f"{word} {value_text(value)}")
    tier = book.value("openness.g7_tier")
    if isinstance(tier, str):
        parts.append(f"G7 tier {tier}")
    found = book.value("openness.mof_class")
    missing = book.value("openness.mof_missing")
    if isinstance(found, str) and isinstance(missing, frozenset) and (parts or found != "none"):
        lacks = f", lacks {len(missing)} for the next" if missing else ""
        parts.append(f"MOF class {found}{lacks}")
    if parts:
        yield Statement("Open", " · ".join(parts), Basis.DERIVED.value)
