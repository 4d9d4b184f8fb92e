"""A comparison of two models for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from steelyard.lineage.relation import Related
from steelyard.reports.console import drawn
from steelyard.reports.pairs.edits import EditWords
from steelyard.reports.pairs.heat import Line, label_width, legend, lines, origin_legend
from steelyard.reports.pairs.picture import picture
from steelyard.reports.pairs.words import CHANGE, PairReport, PairWords, rounding, words

_STYLE: Final = {
    Related.RELATED: "bold green",
    Related.SHARES_COMPONENT: "bold yellow",
    Related.NOT_FOUND: "bold",
    Related.CANNOT_TELL: "bold yellow",
}
_HEAT: Final = ("dim", "blue", "blue", "cyan", "cyan", "yellow", "yellow", "red", "red")
_INDENT: Final = 2
_MARGIN: Final = 12
_TO_ASCII: Final = str.maketrans(
    {"·": "-", "…": "~", "\N{MULTIPLICATION SIGN}": "x", "\u2013": "-", "\u2212": "-"}
)


def render(said: PairReport, *, width: int = 80, color: bool = False) -> str:
    """Return the comparison as text for a terminal of `width` columns, with or without color."""
    width = max(width, 40)
    told = words(said.comparison)
    parts = [*_told(told), *_picture(said, width), *_grounds(told)]
    text = drawn(parts, width=width, color=color)
    if said.only_ascii:
        text = text.translate(_TO_ASCII).encode("ascii", "replace").decode()
    return text


def _told(told: PairWords) -> Iterable[RenderableType]:
    yield Text(told.title, style="bold")
    yield Text("")
    verdict = _grid(len(told.tag) + _INDENT + 1)
    style = _STYLE[told.verdict]
    verdict.add_row(Text(f"  {told.tag.upper()}", style=style), Text(told.sentence))
    yield verdict
    yield Text("")
    axes = _grid()
    axes.add_row(_label("Encoding:"), Text(told.encoding))
    if not told.edits:
        axes.add_row(_label("Edits:"), Text(told.no_edits))
    for number, edit in enumerate(told.edits):
        axes.add_row(_label("" if number else "Edits:"), _edit(edit))
        for caveat in edit.caveats:
            axes.add_row("", Padding(Text(caveat, style="dim"), (0, 0, 0, 2)))
    yield axes
    yield Text("")


def _edit(edit: EditWords) -> Text:
    style = "bold red" if edit.warns else "bold"
    return Text.assemble((f"{edit.label}: ", style), edit.text)


def _picture(said: PairReport, width: int) -> Iterable[RenderableType]:
    seen = picture(said.comparison)
    drawing = lines(seen, width=width - _INDENT, only_ascii=said.only_ascii)
    if not drawing:
        return
    yield Text(f"  {CHANGE}{rounding(said.comparison.encoding)}", style="bold")
    table = _grid(label_width(seen) + _INDENT - 1)
    for line in drawing:
        table.add_row(_line_label(line), _heat(line))
    yield table
    if any(any(line.levels) for line in drawing):
        yield Text(f"  {legend(only_ascii=said.only_ascii)}", style="dim")
    if explained := origin_legend(seen):
        yield Text(f"  {explained}", style="dim")
    yield Text("")


def _line_label(line: Line) -> Text:
    return Text(f"  {line.label}", style="dim" if line.heading else "")


def _heat(line: Line) -> Text:
    text = Text(line.text, style="dim" if line.heading else "")
    for place, grade in enumerate(line.levels):
        if grade is not None:
            text.stylize(_HEAT[grade], place, place + 1)
    return text


def _grounds(told: PairWords) -> Iterable[RenderableType]:
    for heading, said in (
        ("Evidence", told.evidence),
        ("Assumes", told.assumptions),
        ("Notes", told.notes),
        ("Read", (told.read,)),
    ):
        if said:
            yield _listed(heading, said)


def _listed(heading: str, said: Sequence[str]) -> Table:
    table = _grid()
    for number, line in enumerate(said):
        table.add_row(_label("" if number else heading), Text(line))
    return table


def _label(text: str) -> Text:
    return Text(f"  {text}" if text else "", style="bold")


def _grid(margin: int = _MARGIN) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=margin, no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    return table
