"""What is open, for a person at a terminal."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from steelyard.reports.console import drawn
from steelyard.reports.openness.words import OpennessReport, components, missing, verdicts
from steelyard.reports.text import plain

_STYLE = {"included": "green", "missing": "dim", "invalid": "red", "unlicensed": "yellow"}


def render(report: OpennessReport, *, width: int = 80, color: bool = False) -> str:
    """Return a table of components and the verdicts, for a terminal of `width` columns."""
    parts: list[RenderableType] = [Text(plain(report.title), style="bold"), Text("")]
    if report.said.mof is not None:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("component", "class", "state", "license", "where"):
            table.add_column(heading, overflow="fold")
        for line in components(report.said.mof):
            state = Text(line.state, style=_STYLE[line.state])
            where = "; ".join(part for part in (line.place, line.note) if part)
            table.add_row(line.name, line.needed_for, state, line.license, where)
        parts += [table, Text(""), Text(missing(report.said.mof)), Text("")]
    else:
        parts += [Text("No component was found or stated."), Text("")]
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=9, no_wrap=True)
    grid.add_column(ratio=1, overflow="fold")
    for label, text in verdicts(report):
        grid.add_row(Text(label, style="bold"), text)
    return drawn([*parts, grid], width=width, color=color)
