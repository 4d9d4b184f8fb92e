"""A comparison of laws for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from steelyard.obligations.crosswalk import Crosswalk
from steelyard.reports.comparisons.words import RowWords, rows
from steelyard.reports.console import drawn


def render(said: Crosswalk, *, width: int = 80, color: bool = False) -> str:
    """Return the comparison as text for a terminal of `width` columns."""
    parts = [part for row in rows(said) for part in _row(row)]
    footer = Text(f"Law as of {said.as_of}. Not legal advice.", style="dim")
    return drawn([*parts, footer], width=width, color=color)


def _row(row: RowWords) -> Iterable[RenderableType]:
    yield Text(row.topic, style="bold")
    table = Table.grid(padding=(0, 1))
    table.add_column(width=8, no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for cell in row.cells:
        for number, entry in enumerate(cell.entries):
            line = Text(entry.text)
            line.append(f"  {entry.id}", style="dim")
            table.add_row(Text(f"  {cell.place}" if number == 0 else "", style="cyan"), line)
            if entry.details:
                details = Text("; ".join(entry.details), style="dim")
                table.add_row("", Padding(details, (0, 0, 0, 2)))
    yield table
    if row.disagreement:
        yield Text(f"  they disagree: {row.disagreement}", style="yellow")
    yield Text("")
