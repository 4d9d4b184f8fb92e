"""Results of a table: for each row of facts one row, with a verdict for each rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from steelyard.facts import FactBook, Interval, Value
from steelyard.obligations.questions import open_questions
from steelyard.rules import Finding, Verdict

Cell = str | int | float | bool | None
_DERIVED = (
    "training.compute",
    "eu.gpai_model",
    "eu.systemic_risk",
    "openness.eu_exemption",
)
"""Facts that analysts ask for first, told beside the verdicts."""


@dataclass(frozen=True, slots=True)
class AssessedRow:
    """One row and what law says of it."""

    label: str
    other: Mapping[str, str]
    """The columns that were no facts, carried along."""
    book: FactBook
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class AssessedTable:
    """All rows, as of a day."""

    as_of: date
    lines: Sequence[Mapping[str, Cell]]
    """Each row as one line of a table."""
    rows: Sequence[AssessedRow] = ()
    """Each row in full, where that is wanted: it takes a thousand times the memory of a line."""


def flat(row: AssessedRow) -> dict[str, Cell]:
    """Return a row as one line of a table.

    `binding` counts the rules that apply, `open` those that wait for facts; `coming` those that
    will apply. Each rule has a column of its own with the verdict; a rule to come says
    `does_not_apply, later applies`.
    """
    verdicts = [finding.verdict for finding in row.findings]
    cells: dict[str, Cell] = {"row": row.label, **row.other}
    for name in _DERIVED:
        value = row.book.value(name)
        if isinstance(value, Interval):
            cells[f"{name}.low"], cells[f"{name}.high"] = value.low, value.high
        elif name == "training.compute":
            number = cell(value)
            cells[f"{name}.low"] = cells[f"{name}.high"] = number
        else:
            cells[name] = cell(value)
    cells["binding"] = verdicts.count(Verdict.APPLIES)
    cells["contested"] = verdicts.count(Verdict.CONTESTED)
    cells["open"] = verdicts.count(Verdict.UNDETERMINED)
    cells["coming"] = sum(1 for f in row.findings if f.foreseen is Verdict.APPLIES)
    first = next(iter(open_questions(row.findings)), None)
    cells["first_question"] = first.term.name if first else None
    for finding in sorted(row.findings, key=lambda f: f.rule):
        later = finding.foreseen not in (None, Verdict.DOES_NOT_APPLY)
        cells[finding.rule] = (
            f"{finding.verdict}, later {finding.foreseen}" if later else str(finding.verdict)
        )
    return cells


def cell(value: Value | None) -> Cell:
    """Write a value in a cell."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Interval):
        return f"{value.low:g}..{value.high:g}"
    if isinstance(value, frozenset):
        return ",".join(sorted(value))
    return value.isoformat()
