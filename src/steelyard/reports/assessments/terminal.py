"""What law says of facts, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from steelyard.obligations.questions import open_questions
from steelyard.reports.assessments.rows import AssessedRow, AssessedTable, Cell
from steelyard.reports.claims import fact_text
from steelyard.reports.console import drawn
from steelyard.reports.law import law_outline
from steelyard.reports.terminal_law import law, listed
from steelyard.reports.text import amount, plain

_MOST_QUESTIONS = 5
_TOLD = ("eu.gpai_model", "eu.systemic_risk", "openness.eu_exemption")


def render(table: AssessedTable, *, width: int = 80, color: bool = False) -> str:
    """Return one set of facts in full, or a line for each row of a table."""
    parts = _one(table.rows[0]) if len(table.rows) == 1 else _many(table)
    footer = Text(f"As of {table.as_of} · not legal advice", style="dim")
    return drawn([*parts, footer], width=width, color=color)


def _one(row: AssessedRow) -> Iterable[RenderableType]:
    yield Text(plain(row.label), style="bold")
    yield Text("")
    compute = row.book.resolve("training.compute")
    if compute is not None:
        note = f": {plain(compute.note)}" if compute.note else ""
        yield listed("Compute", [f"{fact_text(compute)}, {compute.basis}{note}"])
    said = law_outline(row.findings, row.book)
    if said is not None:
        yield from law(said)
    questions = open_questions(row.findings)
    if questions:
        lines = [f"{q.term.question} ({q.term.name})" for q in questions[:_MOST_QUESTIONS]]
        yield listed("Unknown", lines)


def _many(table: AssessedTable) -> Iterable[RenderableType]:
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("row", "compute", "GPAI", "systemic", "exempt", "binds", "later", "open"):
        grid.add_column(heading, overflow="fold")
    for line in table.lines:
        told = [_shown(line.get(name)) for name in _TOLD]
        counts = [_shown(line[name]) for name in ("binding", "coming", "open")]
        grid.add_row(plain(str(line["row"]), 40), _compute(line), *told, *counts)
    yield grid
    yield Text("")


def _compute(line: Mapping[str, Cell]) -> str:
    low, high = line.get("training.compute.low"), line.get("training.compute.high")
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return "?"
    return amount(low) if low == high else f"{amount(low)} to {amount(high)}"


def _shown(value: Cell) -> str:
    if value is None:
        return "?"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
