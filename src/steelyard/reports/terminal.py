"""The report for a person at a terminal: short, what is wrong first, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from steelyard.reports.console import drawn
from steelyard.reports.descriptions import Statement
from steelyard.reports.outline import Issue, Outline, basis_places, outline
from steelyard.reports.report import Report
from steelyard.reports.terminal_law import law, listed
from steelyard.reports.text import counted

_STYLE = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_MOST_QUESTIONS = 3
_MOST_STEPS = 5


def render(report: Report, *, width: int = 80, color: bool = False) -> str:
    """Return the report as text for a terminal of `width` columns, with or without color."""
    return drawn(_parts(outline(report)), width=width, color=color)


def _parts(said: Outline) -> Iterable[RenderableType]:
    yield Text(said.title, style="bold")
    yield Text(said.headline)
    yield Text("")
    if said.issues:
        yield _issues(said.issues)
        yield Text("")
    elif said.weighed:
        yield Text("  Nothing wrong was found.", style="green")
        yield Text("")
    if said.statements:
        yield _statements(said.statements)
        yield Text("")
    if said.law is not None:
        yield from law(said.law)
    for heading, lines in (("Ignored", said.ignored), ("Notice", said.notices)):
        if lines:
            yield listed(heading, lines)
    if said.questions:
        yield listed("Unknown", _shortened(said.questions, _MOST_QUESTIONS, "question"))
    if said.next_steps:
        steps = [f"{n}. {step}" for n, step in enumerate(said.next_steps, 1)]
        yield listed("Next", _shortened(steps, _MOST_STEPS, "step"))
    yield Text(said.footer, style="dim")


def _issues(issues: Iterable[Issue]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=9, no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for issue in issues:
        style = _STYLE[issue.severity]
        message = Text()
        if issue.contradiction:
            message.append("CONTRADICTION ", style=style)
        message.append(issue.message)
        trail = "  ".join(part for part in (issue.rule, issue.location) if part)
        if trail:
            message.append(f"  {trail}", style="dim")
        table.add_row(Text(f"  {issue.severity}", style=style), message)
        for claim in issue.claims:
            line = Text()
            line.append(f"{claim.basis} ", style="dim")
            line.append(claim.text)
            if claim.places:
                line.append(f"  {claim.places}", style="dim")
            table.add_row("", Padding(line, (0, 0, 0, 2)))
    return table


def _statements(statements: Iterable[Statement]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=12, no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for statement in statements:
        line = Text(statement.text)
        line.append(f"  {basis_places(statement)}", style="dim")
        table.add_row(Text(f"  {statement.label}", style="bold"), line)
    return table


def _shortened(lines: Iterable[str], most: int, what: str) -> list[str]:
    kept = list(lines)
    rest = len(kept) - most
    return (
        [*kept[:most], f"and {counted(rest, f'more {what}')}: --format json"] if rest > 0 else kept
    )
