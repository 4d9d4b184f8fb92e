"""A plan for a person at a terminal."""

from __future__ import annotations

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from steelyard.obligations.plan import Plan
from steelyard.reports.console import drawn
from steelyard.reports.plans.words import closing, headline, steps


def render(plan: Plan, *, width: int = 80, color: bool = False) -> str:
    """Return the plan as text for a terminal of `width` columns, with or without color."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=3, no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for number, step in enumerate(steps(plan), 1):
        line = Text(step.title, style="bold")
        line.append(f"  {step.state}, {step.by}", style="yellow")
        table.add_row(Text(f"{number}."), line)
        for duty in step.satisfies:
            table.add_row("", Padding(Text(duty, style="dim"), (0, 0, 0, 2)))
    parts: list[RenderableType] = [Text(headline(plan), style="bold"), Text(""), table, Text("")]
    parts += [Text(line) for line in closing(plan)]
    parts.append(Text("Not legal advice. Each duty's source: steelyard rules show ID", style="dim"))
    return drawn(parts, width=width, color=color)
