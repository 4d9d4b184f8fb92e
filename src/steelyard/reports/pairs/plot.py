"""The picture as shapes for an SVG: a heat map of roles and layers for each stack."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Final

from steelyard.reports.pairs.figures import share
from steelyard.reports.pairs.parts import stack_name
from steelyard.reports.pairs.picture import (
    BOUNDS,
    LEVELS,
    Column,
    Origin,
    Picture,
    Row,
    StackPicture,
    level,
)
from steelyard.reports.text import plain

_LEFT: Final = 150
_WIDTH: Final = 900
_HEIGHT: Final = 20
_GAP: Final = 4
_NARROWEST: Final = 4.0
_WIDEST: Final = 32.0
_LONGEST_LABEL: Final = 20
_ORIGINS: Final = {
    Origin.SAME: "from the base's layer of that number",
    Origin.MOVED: "from another layer of the base",
    Origin.NONE: "from no layer of the base",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One rectangle, and what to say when it is pointed at."""

    x: float
    y: float
    width: float
    css: str
    """`h0` to `h8` by level, `same`, `moved` or `none` by origin, `unread`."""
    title: str
    mark: str = ""
    """A character inside, so that no meaning rests on color alone."""


@dataclass(frozen=True, slots=True)
class Label:
    """A text beside or below the cells."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class RoleLine:
    """One role in numbers, for those who do not see the picture."""

    role: str
    least: str
    median: str
    most: str
    where: str
    """The layer of the largest change."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One stack."""

    id: str
    name: str
    width: float
    height: float
    cells: tuple[Cell, ...]
    labels: tuple[Label, ...]
    ticks: tuple[Label, ...]
    description: str
    roles: tuple[RoleLine, ...]
    map: str
    note: str
    """What else a reader has to know: marks, and columns of several layers."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the scale."""

    css: str
    text: str


def plots(said: Picture) -> tuple[Plot, ...]:
    """Draw every stack in which there is something to see."""
    return tuple(_plot(stack, n) for n, stack in enumerate(said.stacks) if not stack.is_quiet)


def scale() -> tuple[Step, ...]:
    """Explain the levels."""
    texts = ["equal", *(f"to {share(bound)}" for bound in BOUNDS), f"over {share(BOUNDS[-1])}"]
    return tuple(Step(f"h{grade}", texts[grade]) for grade in range(LEVELS))


def _plot(stack: StackPicture, number: int) -> Plot:
    count = len(stack.columns)
    wide = round(min(max(_WIDTH / count, _NARROWEST), _WIDEST), 2)
    all_rows = [*stack.rows, *(Row(role, (0.0,) * count) for role in stack.equal)]
    origins = any(column.origin not in (Origin.SAME, None) for column in stack.columns)
    top = _HEIGHT + _GAP if origins else 0
    cells = list(_origin_cells(stack.columns, wide)) if origins else []
    labels = [Label(_LEFT - 8, 14, "origin")] if origins else []
    for line, row in enumerate(all_rows):
        y = top + line * _HEIGHT
        labels.append(Label(_LEFT - 8, y + 14, plain(row.role, _LONGEST_LABEL)))
        cells += _row_cells(row, stack.columns, y, wide)
    bottom = top + len(all_rows) * _HEIGHT
    every = max(round(count / 16) or 1, -(-24 // int(wide) or 1))
    return Plot(
        f"plot{number}",
        stack_name(stack.name),
        _LEFT + count * wide + 24,
        bottom + 20,
        tuple(cells),
        tuple(labels),
        tuple(
            Label(round(_LEFT + (place + 0.5) * wide, 2), bottom + 15, str(column.first))
            for place, column in enumerate(stack.columns)
            if place % every == 0
        ),
        _description(stack, all_rows),
        tuple(_role_line(row, stack.columns) for row in all_rows),
        stack.map,
        _note(stack),
    )


def _note(stack: StackPicture) -> str:
    told = []
    found = {column.origin for column in stack.columns}
    if Origin.MOVED in found:
        told.append("> marks a layer that was another layer of the base.")
    if Origin.NONE in found:
        told.append("x marks a layer that comes from none.")
    if stack.each > 1:
        told.append(f"Each column stands for {stack.each} layers, the largest change of them.")
    return " ".join(told)


def _origin_cells(columns: tuple[Column, ...], wide: float) -> Iterable[Cell]:
    for place, column in enumerate(columns):
        if column.origin is not None:
            css = column.origin.name.lower()
            title = f"{column.name}: {_ORIGINS[column.origin]}"
            mark = column.origin.value if wide >= 7 and column.origin is not Origin.SAME else ""
            yield Cell(round(_LEFT + place * wide, 2), 0, wide, css, title, mark)


def _row_cells(row: Row, columns: tuple[Column, ...], y: float, wide: float) -> Iterable[Cell]:
    for place, (value, column) in enumerate(zip(row.values, columns, strict=True)):
        if value is None:
            css, told = "unread", "not read"
        else:
            css, told = f"h{level(value)}", share(value) if value else "equal"
        x = round(_LEFT + place * wide, 2)
        yield Cell(x, y, wide, css, f"{row.role}, {column.name}: {told}")


def _description(stack: StackPicture, rows: list[Row]) -> str:
    """Say in a sentence or two what the picture shows."""
    told = [f"{len(stack.columns):,} {stack_name(stack.name, len(stack.columns))}"]
    if stack.each > 1:
        told = [f"{stack_name(stack.name)} in {len(stack.columns):,} columns"]
    for line in (_role_line(row, stack.columns) for row in rows):
        told.append(f"{line.role} from {line.least} to {line.most}, most in {line.where}")
    return "; ".join(told) + "."


def _role_line(row: Row, columns: tuple[Column, ...]) -> RoleLine:
    known = [(value, column) for value, column in zip(row.values, columns, strict=True)
             if value is not None]  # fmt: skip
    values = [value for value, _ in known] or [0.0]
    largest, where = max(known, key=lambda item: item[0], default=(0.0, columns[0]))
    if not largest:
        return RoleLine(row.role, "equal", "equal", "equal", "none")
    return RoleLine(row.role, share(min(values)), share(median(values)), share(largest), where.name)
