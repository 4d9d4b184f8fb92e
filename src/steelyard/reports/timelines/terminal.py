"""A timeline for a person at a terminal."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from steelyard.obligations.timeline import Change, Timeline
from steelyard.reports.console import drawn
from steelyard.reports.text import plain


def render(said: Timeline, *, width: int = 80, color: bool = False) -> str:
    """Return the timeline as text for a terminal of `width` columns."""
    parts: list[RenderableType] = [Text(plain(said.subject), style="bold"), Text("")]
    table = Table.grid(padding=(0, 1))
    table.add_column(width=10, no_wrap=True)
    table.add_column(width=7, no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for item in said.days:
        for number, change in enumerate(item.changes):
            day = Text(str(item.day) if number == 0 else "", style="bold")
            table.add_row(day, Text(change.jurisdiction, style="cyan"), _line(change))
        if not item.changes:
            table.add_row(Text(str(item.day), style="bold"), "", Text("no change", style="dim"))
        table.add_row("", "", "")
    return drawn([*parts, table, Text("Not legal advice.", style="dim")], width=width, color=color)


def _line(change: Change) -> Text:
    before = f" (was: {change.told})" if change.told else ""
    line = Text(f"{plain(change.title)} ")
    line.append(change.after.words, style="yellow")
    line.append(f"{before}  {change.rule}", style="dim")
    return line
