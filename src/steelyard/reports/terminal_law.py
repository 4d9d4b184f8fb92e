"""What a report says about law, drawn for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from steelyard.reports.law import DutyLine, LawLine, LawOutline
from steelyard.rules import State

_STYLE: Final = {State.MET: "green", State.UNMET: "red", State.UNKNOWN: "yellow"}


def law(said: LawOutline) -> Iterable[RenderableType]:
    """Draw what binds, what will, what is disputed, and one line for the rest."""
    if said.binding:
        yield from _rules("Binds you", said.binding, said.whom)
    else:
        yield listed("Binds you", [f"nothing found for {said.whom}"])
    if said.coming:
        yield from _rules("Later", said.coming)
    if said.contested:
        yield from _rules("Contested", said.contested)
    if said.classed:
        yield listed("Classed", said.classed)
    quiet = [*said.exempt, *([said.elsewhere] if said.elsewhere else [])]
    for heading, lines in (
        ("Not bound", quiet),
        ("Assumed", said.assumed),
        ("Principles", said.principles),
        ("Proposed", said.watched),
        ("Undecided", [said.undetermined] if said.undetermined else []),
    ):
        if lines:
            yield listed(heading, lines)


def _rules(heading: str, lines: Iterable[LawLine], whom: str = "") -> Iterable[RenderableType]:
    table = _grid()
    if whom:
        table.add_row(Text(f"  {heading}", style="bold"), Text(whom, style="dim"))
    first = not whom
    for line in lines:
        table.add_row(Text(f"  {heading}" if first else "", style="bold"), _rule(line))
        first = False
        # A single duty says what the rule's title says.
        for duty in line.duties if len(line.duties) > 1 else ():
            table.add_row("", Padding(_duty(duty), (0, 0, 0, 2)))
        for reason in line.reasons:
            table.add_row("", Padding(Text(reason, style="dim"), (0, 0, 0, 2)))
    table.add_row("", "")
    yield table


def _rule(line: LawLine) -> Text:
    text = Text()
    if line.duties:
        text.append(f"{line.state:7} ", style=_STYLE[line.state])
    text.append(f"{line.jurisdiction}  ", style="cyan")
    text.append(line.title)
    deadlines = [duty.deadline for duty in line.duties if duty.state is not State.MET]
    due = deadlines[0] if len(line.duties) == 1 and deadlines else ""
    trail = "  ".join(part for part in (line.certainty, line.dates, due, line.rule) if part)
    text.append(f"  {trail}", style="dim")
    return text


def _duty(duty: DutyLine) -> Text:
    text = Text(f"{duty.state:7} ", style=_STYLE[duty.state])
    text.append(duty.text, style="default")
    if duty.deadline and duty.state is not State.MET:
        text.append(f"  {duty.deadline}", style="dim")
    return text


def listed(heading: str, lines: Iterable[str]) -> Table:
    """Draw lines under a heading that stands at the left."""
    table = _grid()
    for n, line in enumerate(lines):
        table.add_row(Text(f"  {heading}" if n == 0 else "", style="bold"), Text(line))
    table.add_row("", "")
    return table


def _grid() -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=12, no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    return table
